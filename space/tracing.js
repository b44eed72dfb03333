/**
 * <ecg-tracing data-ecg data-saliency>: an ECG on millimetre paper, to be panned, zoomed and measured with a caliper.
 *
 * space/tracing.py writes the element with its controls; `ecg_of` there says what `data-ecg` holds, as JSON, and
 * `data-saliency` is base64 of int8 (leads, samples). All drawing is in millimetres of paper, which the SVG's size
 * makes pixels. Text is set by textContent alone.
 */
"use strict";
{
  const PX_PER_MM = 96 / 25.4; // as CSS has it
  const MIN_ZOOM = 0.25, MAX_ZOOM = 6, FINER = 1.25;
  const TOP = 8, BOTTOM = 14, RIGHT = 5, GAP = 3; // mm
  const LABEL = 5, LABEL_EVERY = 62.5; // mm: height of a lead's name, and where a long strip repeats it
  const MARK = 2; // mm to either side of the trace
  const SNAP_PX = 7; // how near to a mark a tap counts as one on it
  const SHADES = 5; // of a saliency
  const WIDE_PX = 600; // from here on an ECG is shown as a whole at first, below at true size
  const KEYS = { "+": "in", "=": "in", "-": "out", 0: "true", f: "fit" };

  const round = (mm) => Math.round(mm * 100) / 100;
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const quantile = (sorted, share) => sorted[Math.round(share * (sorted.length - 1))];
  const decode = (text, kind) => new kind(Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)).buffer);

  /** A signal through second-order sections forth and back, as scipy.signal.sosfiltfilt does it. */
  function forthAndBack(signal, sections, pad) {
    const n = signal.length, x = new Float64Array(n + 2 * pad);
    x.set(signal, pad);
    for (let i = 1; i <= pad; i++) {
      x[pad - i] = 2 * signal[0] - signal[i];
      x[pad + n - 1 + i] = 2 * signal[n - 1] - signal[n - 1 - i];
    }
    for (let way = 0; way < 2; way++) {
      const start = x[0];
      for (const [b0, b1, b2, a1, a2, z1, z2] of sections) {
        let s1 = z1 * start, s2 = z2 * start;
        for (let i = 0; i < x.length; i++) {
          const y = b0 * x[i] + s1;
          s1 = b1 * x[i] - a1 * y + s2;
          s2 = b2 * x[i] - a2 * y;
          x[i] = y;
        }
      }
      x.reverse();
    }
    return x.subarray(pad, pad + n);
  }

  function draw(parent, tag, attributes, text = "") {
    const one = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
    one.textContent = text;
    return parent.appendChild(one);
  }

  class EcgTracing extends HTMLElement {
    static observedAttributes = ["data-ecg", "data-saliency"];

    zoom = 1;
    legs = []; // of the caliper: lead and sample
    active = 0; // the leg that keys move

    connectedCallback() {
      this.onchange = ({ target }) => (target.name === "caliper" ? this.measure(target.checked) : this.redraw());
      this.onclick = (event) => (this.sheet.contains(event.target) ? this.tap(event) : this.press(event.target.name));
      this.onkeydown = (event) => event.target === this.sheet && this.key(event);
      this.sheet.onpointerdown = (event) => this.grab(event);
      for (const [kind, act] of [["wheel", this.wheel], ["touchstart", this.pinch], ["touchmove", this.pinch]])
        this.sheet.addEventListener(kind, act.bind(this), { passive: false });
      new ResizeObserver(() => this.resize()).observe(this.sheet);
    }

    /** A change of both attributes is one drawing. */
    attributeChangedCallback(name, before, value) {
      if (name === "data-ecg") this.load(JSON.parse(value));
      else this.saliency = value ? decode(value, Int8Array) : null;
      this.waiting ??= requestAnimationFrame(() => {
        this.waiting = null;
        this.redraw();
        if (this.isNew) this.show();
      });
    }

    load(ecg) {
      const counts = decode(ecg.samples, Int16Array), n = counts.length / ecg.leads.length;
      const mv = (_, i) => Float64Array.from(counts.subarray(i * n, (i + 1) * n), (count) => count * ecg.step);
      Object.assign(this, { ecg, n, legs: [], isNew: true, viewed: [ecg.leads.map(mv)] });
    }

    /** Brings a new ECG into sight, where it is not. */
    show() {
      this.isNew = false;
      this.fits = this.sheet.clientWidth >= WIDE_PX;
      this.zoom = 1;
      this.resize();
      const place = this.closest("#result, .ec-pair") ?? this, { top } = place.getBoundingClientRect();
      if (top < 0 || top > innerHeight / 2) place.scrollIntoView();
    }

    get sheet() {
      return this.querySelector(".ec-sheet");
    }

    control(name) {
      return this.querySelector(`[name=${name}]`);
    }

    /** The leads in mV, a Float64Array each, through the filter that was chosen. */
    get signals() {
      const { views, pad } = this.ecg, view = Number(this.control("view").value);
      this.viewed[view] ??= this.viewed[0].map((lead) => forthAndBack(lead, views[view - 1].sections, pad));
      return this.viewed[view];
    }

    redraw() {
      this.speed = Number(this.control("speed").value);
      this.left = 10 + 0.2 * this.speed; // beside the calibration pulse of 0.2 s
      this.svg = this.sheet.firstElementChild;
      this.svg.replaceChildren();
      this.place(Number(this.control("gain").value));
      this.drawPaper();
      if (this.saliency) this.pieces.forEach((piece) => this.drawSaliency(piece));
      this.pieces.forEach((piece) => this.drawTrace(piece));
      if (this.control("marks").checked) this.drawMarks();
      this.pieces.forEach((piece) => this.drawLabels(piece));
      this.drawTimes();
      this.caliper = draw(this.svg, "g", {});
      this.drawCaliper();
      this.resize();
    }

    /** Where the pieces of the layout lie: rows move apart for tall complexes. */
    place(gain) {
      const layout = this.ecg.layouts[this.control("layout").value], signals = this.signals;
      const rows = [];
      this.pieces = layout.pieces.map(([lead, row, first, last, second]) => {
        const mv = signals[lead], values = mv.slice(first, last + 1).sort(), x = this.left + second * this.speed;
        const middle = quantile(values, 0.5);
        rows[row] ??= { high: 1, low: -0.4 }; // at least the pulse
        // Single spikes may cross into the next row.
        rows[row].high = Math.max(rows[row].high, quantile(values, 0.998) - middle);
        rows[row].low = Math.min(rows[row].low, quantile(values, 0.002) - middle);
        const y = (sample) => rows[row].base - (mv[Math.round(sample)] - middle) * gain;
        return { lead, row, first, last, x, y, end: x + ((last - first) / this.ecg.rate) * this.speed };
      });
      let below = TOP;
      for (const row of rows) {
        row.base = below + LABEL + row.high * gain;
        below = row.base - row.low * gain + GAP;
      }
      const right = Math.max(...this.pieces.map((piece) => piece.end)) + RIGHT;
      const whole = (mm) => Math.ceil(mm / 5) * 5; // squares
      Object.assign(this, { gain, rows, note: layout.note, width: whole(right), height: whole(below + BOTTOM) });
      this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    }

    drawPaper() {
      for (const [kind, every] of [["minor", 1], ["major", 5]]) {
        let d = "";
        for (let x = 0; x <= this.width; x += every) d += `M${x} 0V${this.height}`;
        for (let y = 0; y <= this.height; y += every) d += `M0 ${y}H${this.width}`;
        draw(this.svg, "path", { class: kind, d });
      }
      const { gain, speed } = this, view = this.control("view").selectedOptions[0].text;
      const pulses = this.rows.map(({ base }) => `M4 ${round(base)}h2v${-gain}h${0.2 * speed}v${gain}h2`);
      draw(this.svg, "path", { class: "trace", d: pulses.join("") });
      const facts = `${speed} mm/s    ${gain} mm/mV    filter: ${view}    ${this.ecg.rate} Hz    ${this.note}`;
      draw(this.svg, "text", { x: 5, y: this.height - 2.5 }, facts);
    }

    /** Place of a sample, or of a time between two, in mm from the left. */
    x(piece, sample) {
      return piece.x + ((sample - piece.first) / this.ecg.rate) * this.speed;
    }

    line(piece, first, last) {
      let d = "M";
      for (let i = first; i <= last; i++) d += `${round(this.x(piece, i))} ${round(piece.y(i))} `;
      return d;
    }

    drawTrace(piece) {
      const d = this.line(piece, piece.first, piece.last), base = this.rows[piece.row].base;
      draw(this.svg, "path", { class: "trace", "data-lead": this.ecg.leads[piece.lead], d });
      const tick = `M${round(piece.x)} ${round(base - 3)}v6`; // parts it from the column before
      if (piece.x > this.left) draw(this.svg, "path", { class: "trace", d: tick });
    }

    /** The trace underlaid, the denser the stronger. */
    drawSaliency(piece) {
      const shade = (i) => {
        const strength = this.saliency[piece.lead * this.n + i] / 127, size = Math.abs(strength);
        return size < this.ecg.min_drawn ? 0 : Math.sign(strength) * Math.ceil(size * SHADES);
      };
      const paths = {};
      for (let i = piece.first; i < piece.last; ) {
        const first = i, level = shade(i);
        while (i < piece.last && shade(i) === level) i++;
        if (level) paths[level] = (paths[level] ?? "") + this.line(piece, first, i);
      }
      for (const [level, d] of Object.entries(paths)) {
        const opacity = (0.65 * Math.abs(level)) / SHADES;
        draw(this.svg, "path", { class: `shade ${level > 0 ? "for" : "against"}`, opacity, d });
      }
    }

    drawMarks() {
      const paths = {};
      for (const piece of this.pieces)
        for (const [sample, wave, point] of this.ecg.marks[piece.lead])
          if (point !== "peak" && sample >= piece.first && sample <= piece.last) {
            const d = `M${round(this.x(piece, sample))} ${round(piece.y(sample) - MARK)}v${2 * MARK}`;
            paths[wave] = (paths[wave] ?? "") + d;
          }
      for (const [wave, d] of Object.entries(paths)) draw(this.svg, "path", { class: `mark ${wave}`, d });
    }

    /** A lead's name above whatever lies under it, once and again along a long strip. */
    drawLabels(piece) {
      const samples = (mm) => Math.round((mm / this.speed) * this.ecg.rate);
      for (let mm = 0; mm === 0 || piece.x + mm < piece.end - 25; mm += LABEL_EVERY) {
        let y = this.rows[piece.row].base;
        const first = piece.first + samples(mm);
        for (let i = first; i <= Math.min(piece.last, first + samples(9)); i++) y = Math.min(y, piece.y(i));
        const place = { class: mm ? "lead again" : "lead", x: round(piece.x + mm + 1), y: round(y - MARK - 0.7) };
        draw(this.svg, "text", place, this.ecg.leads[piece.lead]);
      }
    }

    /** Seconds of the recording, above the first row and below the last. */
    drawTimes() {
      const { rate, start } = this.ecg;
      for (const piece of this.pieces)
        for (const [row, y, up] of [[0, 4, 0.8], [this.rows.length - 1, this.height - 7, -4.2]])
          for (let second = Math.ceil(start + piece.first / rate - 1e-6); piece.row === row; second++) {
            const x = round(this.x(piece, (second - start) * rate));
            if (x > piece.end) break;
            draw(this.svg, "path", { class: "trace", d: `M${x} ${y + up}v1.5` });
            draw(this.svg, "text", { class: "time", x, y }, `${second} s`);
          }
    }

    press(name) {
      const zooms = { in: this.zoom * FINER, out: this.zoom / FINER, true: 1 };
      if (name in zooms) this.scale(zooms[name]);
      else if (name === "fit") {
        this.fits = true;
        this.resize();
      }
    }

    /** Zooms around a point of the window; the middle where none is given. */
    scale(zoom, clientX, clientY) {
      const { sheet } = this, { scrollLeft, scrollTop } = sheet, box = sheet.getBoundingClientRect();
      const x = (clientX ?? box.left + box.width / 2) - box.left, y = (clientY ?? box.top + box.height / 2) - box.top;
      const times = clamp(zoom, MIN_ZOOM, MAX_ZOOM) / this.zoom;
      Object.assign(this, { fits: false, zoom: this.zoom * times });
      this.resize();
      sheet.scrollTo((scrollLeft + x) * times - x, (scrollTop + y) * times - y);
    }

    resize() {
      const across = this.sheet.clientWidth;
      if (!this.width || !across) return; // not drawn yet, or hidden
      if (this.fits) this.zoom = clamp(across / (this.width * PX_PER_MM), MIN_ZOOM, 1);
      this.svg.setAttribute("width", this.width * PX_PER_MM * this.zoom);
      this.svg.setAttribute("height", this.height * PX_PER_MM * this.zoom);
      // A window onto enlarged paper; up to true size nothing scrolls up and down but the page.
      this.sheet.style.maxHeight = `${this.height * PX_PER_MM * Math.min(1, this.zoom) + 20}px`;
      this.svg.classList.toggle("far", this.zoom < 0.7);
      this.querySelector("output").textContent = `${Math.round(100 * this.zoom)} %`;
    }

    key(event) {
      const on = this.control("caliper").checked, key = event.key.length > 1 ? event.key : event.key.toLowerCase();
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (key in KEYS) this.press(KEYS[key]);
      else if (key === "c" || (on && key === "Escape")) this.measure(!on);
      else if (on && key.startsWith("Arrow")) this.step(key, event.shiftKey);
      else if (on && key === "Enter") {
        if (this.legs.length === 1) this.legs.push({ ...this.legs[0] });
        this.active = this.legs.length > 1 ? 1 - this.active : 0;
        this.drawCaliper();
      } else return; // the browser scrolls by arrows
      event.preventDefault();
    }

    wheel(event) {
      if (event.shiftKey || !(event.ctrlKey || document.activeElement === this.sheet)) return;
      event.preventDefault();
      this.scale(this.zoom * Math.exp(-0.002 * event.deltaY), event.clientX, event.clientY);
    }

    pinch(event) {
      if (event.touches.length !== 2) return;
      event.preventDefault();
      const [a, b] = event.touches, apart = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
      if (event.type === "touchstart") this.pinched = this.zoom / apart;
      else this.scale(this.pinched * apart, (a.clientX + b.clientX) / 2, (a.clientY + b.clientY) / 2);
    }

    /** A mouse drags the paper; fingers scroll it by themselves. */
    grab({ pointerType, button, clientX, clientY }) {
      this.dragged = false;
      if (pointerType !== "mouse" || button !== 0) return;
      const left = this.sheet.scrollLeft + clientX, top = this.sheet.scrollTop + clientY;
      const move = (event) => {
        this.dragged ||= Math.hypot(event.clientX - clientX, event.clientY - clientY) > 4;
        this.sheet.scrollTo(left - event.clientX, top - event.clientY);
      };
      addEventListener("pointermove", move);
      addEventListener("pointerup", () => removeEventListener("pointermove", move), { once: true });
    }

    measure(on) {
      this.control("caliper").checked = on;
      Object.assign(this, { legs: [], active: 0 });
      this.drawCaliper();
    }

    tap(event) {
      if (!this.control("caliper").checked || this.dragged) return;
      const box = this.svg.getBoundingClientRect(), mm = PX_PER_MM * this.zoom;
      const x = (event.clientX - box.left) / mm, y = (event.clientY - box.top) / mm;
      const under = this.pieces.filter((piece) => x >= piece.x - 1 && x <= piece.end + 1).map((piece) => {
        const sample = Math.round(piece.first + ((x - piece.x) / this.speed) * this.ecg.rate);
        const leg = { lead: piece.lead, sample: clamp(sample, piece.first, piece.last) };
        return { leg, away: Math.abs(piece.y(leg.sample) - y) };
      });
      if (!under.length) return;
      const { leg } = under.reduce((best, one) => (one.away < best.away ? one : best));
      const away = (sample) => Math.abs(sample - leg.sample), reach = (SNAP_PX / mm / this.speed) * this.ecg.rate;
      const [near] = this.stops(leg).map(([sample]) => sample).sort((a, b) => away(a) - away(b));
      if (away(near) <= reach) leg.sample = near;
      if (this.legs.length > 1) this.legs = [];
      this.active = this.legs.push(leg) - 1;
      this.drawCaliper();
    }

    /** The marks of a leg's lead: sample, wave, point; none while they are hidden. */
    stops(leg) {
      return this.control("marks").checked ? this.ecg.marks[leg.lead] : [];
    }

    /** Moves the active leg by a key: by a sample, a mark, or a lead. */
    step(key, far) {
      if (!this.legs.length) {
        const mm = this.sheet.scrollLeft / (PX_PER_MM * this.zoom) + 15;
        const piece = this.pieces.find((one) => one.end > mm) ?? this.pieces[0];
        const sample = Math.round(piece.first + ((mm - piece.x) / this.speed) * this.ecg.rate);
        this.legs = [{ lead: piece.lead, sample: clamp(sample, piece.first, piece.last) }];
      }
      const leg = this.legs[this.active], way = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
      if (key === "ArrowUp" || key === "ArrowDown") leg.lead = clamp(leg.lead + way, 0, this.ecg.leads.length - 1);
      else if (far) {
        const next = this.stops(leg).map(([sample]) => sample).filter((sample) => (sample - leg.sample) * way > 0.01);
        if (next.length) leg.sample = way > 0 ? Math.min(...next) : Math.max(...next);
      } else leg.sample = clamp(Math.round(leg.sample) + way, 0, this.n - 1);
      this.drawCaliper();
      this.caliper.querySelector(".active").scrollIntoView({ block: "nearest", inline: "nearest" });
    }

    /** What two legs are apart: ms, beats a minute and, within a lead, mV. */
    span([from, to]) {
      if (!to) return "";
      const ms = (1000 * Math.abs(to.sample - from.sample)) / this.ecg.rate, signals = this.signals;
      const mv = ({ lead, sample }) => signals[lead][Math.round(sample)];
      return `${ms.toFixed(0)} ms` + (ms ? `, ${(60000 / ms).toFixed(0)} bpm` : "") +
        (from.lead === to.lead ? `, ${(mv(to) - mv(from)).toFixed(2)} mV` : "");
    }

    drawCaliper() {
      const { leads, rate, start } = this.ecg, span = this.span(this.legs), on = this.control("caliper").checked;
      this.sheet.classList.toggle("ec-measuring", on);
      this.caliper.replaceChildren();
      const places = this.legs.map((leg, i) => {
        const { lead, sample } = leg;
        const holds = (piece) => piece.lead === lead && sample >= piece.first && sample <= piece.last;
        for (const piece of this.pieces.filter(holds)) {
          const x = round(this.x(piece, sample)), y = piece.y(sample), kind = i === this.active ? "leg active" : "leg";
          draw(this.caliper, "path", { class: kind, d: `M${x} ${round(y - 10)}v18` });
          if (i) draw(this.caliper, "text", { class: "span", x: x + 1.5, y: round(y + 8) }, span);
        }
        const [, wave, point] = this.stops(leg).find(([stop]) => Math.abs(stop - sample) < 0.01) ?? [];
        return `${leads[lead]} at ${(start + sample / rate).toFixed(3)} s` + (wave ? `, ${wave} ${point}` : "");
      });
      const between = `${span}${span && " from "}${places.join(" to ")}`;
      const found = places.length ? between : "tap where to begin, then where to end";
      this.querySelector(".ec-said").textContent = on ? `Caliper: ${found}` : "";
    }
  }

  customElements.define("ecg-tracing", EcgTracing);
}
