"""The live tracing in a browser, on a page that holds nothing else; `test_widths.py` drives the whole page."""

import re
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal

from modeling_ecgclip import EcgRecord
from space.example_list import EXAMPLES
from space.tracing import CSS, script, tracing
from space.uploads import Form, read_upload
from tests.browser import WIDTHS, chromium, sync_api


MM = 96 / 25.4  # CSS pixels
# Places, in pixels of the window, of a time in a lead: of its first piece, or of the last one, the rhythm strip.
PLACE = """([lead, second, last]) => {
    const ecg = document.querySelector("ecg-tracing");
    const sample = second * ecg.ecg.rate, of = ecg.ecg.leads.indexOf(lead);
    const pieces = ecg.pieces.filter(one => one.lead === of && one.first <= sample && sample <= one.last);
    const piece = last ? pieces.at(-1) : pieces[0];
    const box = ecg.svg.getBoundingClientRect(), scale = box.width / ecg.width;
    return [box.left + scale * ecg.x(piece, sample), box.top + scale * piece.y(Math.round(sample))];
}"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def example(analyser):
    """The analysis of a simulated normal rhythm, with P, QRS and T."""
    return analyser.analyse(*read_upload(EXAMPLES[0].paths, Form()))


@pytest.fixture
def show(browser):
    """Draws an analysis in a window of some width."""
    contexts = []

    def draw(analysis, width=1440):
        contexts.append(browser.new_context(**WIDTHS[width]))
        page = contexts[-1].new_page()
        page.set_content(
            f'<meta name="viewport" content="width=device-width"><style>body {{ margin: 8px }} {CSS}</style>'
            f"<h1>Above</h1>{tracing(analysis)}<script>{script().decode()}</script>"
        )
        page.locator("path[data-lead]").first.wait_for()
        return page

    yield draw
    for context in contexts:
        context.close()


def said(page):
    return page.locator(".ec-said").inner_text()


def size(page):
    """Width of the drawing in pixels, and what the page says of its zoom."""
    return page.locator(".ec-sheet svg").bounding_box()["width"], page.locator("output").inner_text()


def tap(page, *place):
    page.mouse.click(*page.evaluate(PLACE, place))


def interval(page):
    return float(re.search(r"Caliper: (\d+) ms", said(page))[1])


def middle(page):
    """Place of the middle of the window onto the paper, as far as it is in sight."""
    box = page.locator(".ec-sheet").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + min(box["height"], page.viewport_size["height"] - box["y"]) / 2


def share(page, x, y):
    """What of the paper lies under a place: as shares of its width and height."""
    box = page.locator(".ec-sheet svg").bounding_box()
    return (x - box["x"]) / box["width"], (y - box["y"]) / box["height"]


def beats(analysis, wave, point, lead=1):
    """Times in seconds from the first sample that is shown."""
    times = analysis.marked_measurements.marks_s[:, lead, wave, point]
    return times[np.isfinite(times) & (times > 0.2)]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_window_shows_the_whole_and_a_phone_true_size(show, example, width):
    page = show(example, width)
    paper_mm = page.evaluate("document.querySelector('ecg-tracing').width")
    assert paper_mm == pytest.approx(15 + 256 + 5, abs=5)
    drawn, percent = size(page)
    inside = page.evaluate("document.querySelector('.ec-sheet').clientWidth")
    if width == 390:
        assert percent == "100 %" and drawn == pytest.approx(paper_mm * MM, rel=1e-4)
        page.locator(".ec-sheet").evaluate("sheet => sheet.scrollTo(1e6, 0)")
        assert page.locator(".ec-sheet").evaluate("sheet => sheet.scrollLeft") == pytest.approx(drawn - inside, abs=2)
    else:
        assert drawn == pytest.approx(min(inside, paper_mm * MM), abs=1)
        assert percent == f"{100 * drawn / (paper_mm * MM):.0f} %"
    assert page.evaluate("[document.documentElement.scrollWidth, scrollY]") == [width, 0]
    assert page.locator("path[data-lead]").count() == 13
    roles = {"combobox": ("Layout", "Speed", "Gain", "Filter"), "checkbox": ("Marks of P QRS T", "Caliper")}
    roles["button"] = ("Smaller", "Larger", "True size", "Fit the width")
    for role, names in roles.items():
        assert all(page.get_by_role(role, name=name, exact=True).count() == 1 for name in names)
        assert page.get_by_role(role).count() == len(names)
    assert page.get_by_role("application", name="Tracing", description="Arrow keys pan").count() == 1


def test_paper_is_true_to_scale_at_any_speed_gain_and_layout(show, example):
    page = show(example)
    page.get_by_label("True size").click()
    seconds = "document.querySelector('ecg-tracing').pieces.at(-1)"

    def apart(lead):
        first, second = (page.evaluate(PLACE, [lead, at, True])[0] for at in (1.0, 2.0))
        return second - first

    assert apart("II") == pytest.approx(25 * MM, abs=0.1)
    page.get_by_label("Speed").select_option("50 mm/s")
    assert apart("II") == pytest.approx(50 * MM, abs=0.1)
    for gain in (5, 10, 20):
        page.get_by_label("Gain").select_option(f"{gain} mm/mV")
        height = page.evaluate("document.querySelector('path.trace').getAttribute('d')")
        assert f"v-{gain}h10v{gain}" in height  # 0.2 s
        mv = page.evaluate(
            f"(() => {{ const e = document.querySelector('ecg-tracing'), p = {seconds}, s = e.signals[p.lead];"
            "return (p.y(400) - p.y(500)) / (s[500] - s[400]) })()"
        )
        assert mv == pytest.approx(gain)
    for layout, pieces in (("6x2", 12), ("12x1", 12), ("3x4 + rhythm strip", 13)):
        page.get_by_label("Layout").select_option(layout)
        assert page.locator("path[data-lead]").count() == pieces


def test_zoom_by_buttons_keys_and_wheel(show, example):
    page = show(example, 1024)
    fitting = size(page)[0]
    page.get_by_label("Larger").click()
    assert size(page)[0] == pytest.approx(1.25 * fitting)
    page.get_by_role("application").focus()
    page.keyboard.press("0")
    assert size(page)[1] == "100 %"
    for _ in range(2):
        page.keyboard.press("+")
    assert size(page)[1] == "156 %"
    # What lies under the pointer stays there.
    x, y = middle(page)
    before = share(page, x, y)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -200)
    page.wait_for_function("parseInt(document.querySelector('output').textContent) > 200")
    assert share(page, x, y) == pytest.approx(before, abs=0.002)
    at = page.locator(".ec-sheet").evaluate("sheet => sheet.scrollLeft")
    page.keyboard.press("ArrowRight")  # after what is measured: the browser scrolls in several steps
    page.wait_for_function(f"document.querySelector('.ec-sheet').scrollLeft > {at}")
    page.keyboard.press("f")
    assert size(page)[0] == pytest.approx(fitting)
    page.get_by_label("Layout").focus()
    page.mouse.wheel(0, -200)
    page.wait_for_timeout(100)
    assert size(page)[0] == pytest.approx(fitting)  # the page scrolls, where the tracing was not clicked


def test_a_mouse_drags_the_paper(show, example):
    page = show(example)
    for _ in range(3):
        page.get_by_label("Larger").click()
    page.get_by_label("Caliper").check()
    x, y = middle(page)
    left = page.locator(".ec-sheet").evaluate("sheet => sheet.scrollLeft")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y, steps=3)
    page.mouse.up()
    assert page.locator(".ec-sheet").evaluate("sheet => sheet.scrollLeft") == pytest.approx(left + 60, abs=1)
    assert said(page) == "Caliper: tap where to begin, then where to end"  # a drag is no tap


def test_fingers_pinch(show, example):
    page = show(example, 390)
    x, y = page.evaluate(PLACE, ["II", 1.0, False])
    session = page.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 40), ("touchMove", 60), ("touchMove", 80)):
        points = [{"x": x - apart / 2, "y": y, "id": 0}, {"x": x + apart / 2, "y": y, "id": 1}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function("document.querySelector('output').textContent === '200 %'")
    assert page.evaluate("[visualViewport.scale, document.documentElement.scrollWidth]") == [1, 390]


@pytest.mark.parametrize("width", WIDTHS)
def test_caliper_measures_a_known_interval(show, analyser, signal, width):
    """Beats of this signal are a second apart."""
    page = show(analyser.analyse(EcgRecord(signal, 400.0, None, "mV", "ecg.npy")), width)
    page.get_by_label("Caliper").check()
    tap(page, "II", 0.51, True)  # beside the mark at 0.5 s
    assert "QRS peak" in said(page)
    tap(page, "II", 1.49, True)
    assert interval(page) == pytest.approx(1000, abs=4)
    assert "60 bpm" in said(page)
    # Without marks it takes the place itself, as exactly as pixels are.
    page.get_by_label("Marks of").uncheck()
    for _ in range(6):
        page.get_by_label("Larger").click()
    page.locator(".ec-sheet").evaluate("sheet => sheet.scrollTo(0, sheet.scrollHeight)")
    tap(page, "II", 0.1, True)
    tap(page, "II", 0.2, True)
    assert interval(page) == pytest.approx(100, abs=4)
    bpm = float(re.search(r"(\d+) bpm", said(page))[1])
    assert bpm == pytest.approx(60_000 / interval(page), rel=0.01) and "QRS" not in said(page)


def test_caliper_by_keys(show, example):
    page = show(example)
    sheet = page.get_by_role("application")
    sheet.focus()
    onset = beats(example, 0, 0)[0]
    page.keyboard.press("c")
    page.keyboard.press("ArrowRight")
    assert re.fullmatch(r"Caliper: I at 0\.\d{3} s", said(page))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+ArrowRight")
    assert "Caliper: II at" in said(page)
    while "P onset" not in said(page):
        page.keyboard.press("Shift+ArrowRight")
    begin = float(re.search(r"II at ([\d.]+) s, P onset", said(page))[1])
    assert np.abs(beats(example, 0, 0) - begin).min() < 0.001 and onset > 0
    page.keyboard.press("Enter")
    while "QRS onset" not in said(page):
        page.keyboard.press("Shift+ArrowRight")
    qrs = beats(example, 1, 0)
    assert interval(page) == pytest.approx(1000 * (qrs[qrs > begin][0] - begin), abs=1)
    before = interval(page)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert before - 5.1 <= interval(page) < before  # two samples of 2.5 ms
    page.keyboard.press("ArrowDown")
    assert "mV" not in said(page)  # of two leads
    page.keyboard.press("Escape")
    assert said(page) == "" and page.locator(".leg").count() == 0


def test_filters_are_scipys(show, example):
    page = show(example)
    views = page.evaluate("document.querySelector('ecg-tracing').ecg.views")
    pad = page.evaluate("document.querySelector('ecg-tracing').ecg.pad")
    shown = "Array.from(document.querySelector('ecg-tracing').signals[1])"
    drawn = page.locator("path[data-lead=II]").last
    unfiltered, before = np.array(page.evaluate(shown)), drawn.get_attribute("d")
    for view in views:
        page.get_by_label("Filter").select_option(view["name"])
        sos = np.insert(np.array(view["sections"])[:, :5], 3, 1.0, axis=1)
        expected = scipy.signal.sosfiltfilt(sos, unfiltered, padlen=pad)
        np.testing.assert_allclose(page.evaluate(shown), expected, atol=1e-9)
        assert drawn.get_attribute("d") != before
        assert page.get_by_text(f"filter: {view['name']}").count() == 1
    page.get_by_label("Filter").select_option("none")
    assert drawn.get_attribute("d") == before


@pytest.mark.parametrize("kind", ["twelve", "one_lead"])
def test_names_of_leads_hide_no_beat(show, example, analysis_of, kind):
    page = show(example if kind == "twelve" else analysis_of(kind)[1])
    for gain in ("5 mm/mV", "20 mm/mV"):
        page.get_by_label("Gain").select_option(gain)
        hidden = page.evaluate(
            """() => {
                const traces = [...document.querySelectorAll("path[data-lead]")];
                const points = traces.flatMap(one => one.getAttribute("d").slice(1).trim().split(" ").map(Number));
                return [...document.querySelectorAll("text.lead")].filter(label => {
                    const box = label.getBBox();
                    return points.some((x, i) => i % 2 === 0 && x >= box.x && x <= box.x + box.width &&
                        points[i + 1] >= box.y && points[i + 1] <= box.y + box.height);
                }).map(label => label.textContent);
            }"""
        )
        assert hidden == []
        assert page.locator("text.lead").count() >= (13 if kind == "twelve" else 4)


def test_marks_and_saliency_come_and_go(show, example, analyser):
    page = show(example)
    assert page.locator(".shade").count() == 0
    assert all(page.locator(f"path.mark.{wave}").count() == 1 for wave in ("P", "QRS", "T"))
    page.get_by_label("Marks of").uncheck()
    assert page.locator("path.mark").count() == 0
    page.get_by_label("Larger").click()
    before = size(page)
    # As Gradio does with another value: of the element that is there, attributes change.
    saliency = re.search(r'data-saliency="([^"]+)"', tracing(analyser.explain(example, "AF")))[1]
    page.evaluate("text => document.querySelector('ecg-tracing').setAttribute('data-saliency', text)", saliency)
    page.locator(".shade.for").first.wait_for(state="attached")
    assert page.locator(".shade.against").count() > 0
    assert size(page) == before and page.locator("path.mark").count() == 0
    page.evaluate("document.querySelector('ecg-tracing').setAttribute('data-saliency', '')")
    page.wait_for_function("!document.querySelector('.shade')")


def test_text_of_a_model_stays_text(show, example):
    hostile = replace(example, lead_names=("<img src=x onerror=hit=1>", *example.lead_names[1:]))
    page = show(hostile)
    sync_api.expect(page.locator("text.lead").filter(has_text="<img src=x").first).to_be_attached()
    assert page.evaluate("[document.images.length, window.hit ?? null]") == [0, None]
