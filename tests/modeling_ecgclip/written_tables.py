"""Known ECGs as tables in text, in the dialects of spreadsheets, exports and scripts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modeling_ecgclip.leads_ecgclip import UNITS_PER_MV
from tests.modeling_ecgclip.writings import UNIT_SPELLINGS, Ecg, Pen, Writing, draw_ecg, spelled


DECIMALS = {"mV": (3, 4, 6), "uV": (0, 1, 3), "V": (6, 7, 9)}
# How a title holds its unit, beside the delimiters that may stand within it.
TITLES = ("{} ({})", "{} [{}]", "{}_{}", "{}/{}", "{} {}", "{}({})")
NOISE = (
    "Patient ID: 12",
    "Recorded: 2020-01-02 10:11:12",
    "exported by x 1.2",
    "Heart rate: 61 bpm",
    "Speed: 25 mm/s",
    "Gain: 10 mm/mV",
    "Filter: 0.05-40 Hz",
    "Samples: 1000",
    "Comment: none",
    "Date;2020-01-02",
    "Rate: 61",
)
RATE_LINES = (
    "Sampling rate: {} Hz",
    "fs = {}",
    "Sampling Frequency (Hz): {}",
    "sample_rate,{}",
    "Sampling rate;{}",
    "SamplingRate={}hz",
)
UNIT_LINES = ("Unit: {}", "Units = {}", "unit,{}", "Unit;{}")
# Titles of time, and how many of their unit make a second; 0 for clock times.
TIMES = (
    ("time_s", 1.0),
    ("Time [s]", 1.0),
    ("elapsed time (s)", 1.0),
    ("seconds", 1.0),
    ("t (ms)", 1e3),
    ("time_ms", 1e3),
    ("Zeit (ms)", 1e3),
    ("timestamp_us", 1e6),
    ("Time", 0.0),
)
# Without a unit it is found, or the rate is not stated.
TIMES_WITHOUT_UNIT = (("time", 1.0), ("t", 1e3))
COUNTS = ("", "index", "sample", "#", "Unnamed: 0", "n")
MARKS = ("", "nan", "NA", "-", "null")


@dataclass
class _Table:
    """A table that is being written: titles, cells by column, lines above, and what it states."""

    titles: list[str] | None
    columns: list[list[str]]
    above: list[str]
    stated: set[str]
    outcome: str = "read"
    rate_slack: float = 0.0


def table(pen: Pen, folder: Path) -> Writing:
    """A table of one column per lead, and one row per sample."""
    ecg = draw_ecg(pen)
    delimiter = pen.one("delimiter", (",", ";", "\t", "|", " "))
    blanks = delimiter != " "
    styles = ("standard", "upper", "lower", "D", "C", "ECG", "MDC", "Lead")
    titles = pen.one("titles", ("names", "names", "with unit", "with unit", "numbers", "none"))
    names, mv = spelled(pen, ecg, titles in ("names", "with unit"), styles if blanks else styles[:-1])
    unit = pen.one("unit", ("mV", "mV", "uV", "V"))
    values = mv * UNITS_PER_MV[unit]
    decimals = pen.one("decimals", DECIMALS[unit])
    scientific = pen.chance("scientific", 0.1)
    form = f"{{:.{decimals + 2}e}}" if scientific else f"{{:.{decimals}f}}"
    step = 10.0 ** -(decimals + 2) * 10 * float(np.abs(values).max()) if scientific else 10.0**-decimals
    columns = [[form.format(value) for value in lead] for lead in values.tolist()]
    made = _Table(None, columns, [], set())
    _name_columns(pen, made, titles, names, unit, blanks)
    ecg = _lose_samples(pen, made, ecg, blanks)
    _add_facts(pen, made, ecg, unit, names)
    _add_columns(pen, made, ecg, blanks)
    text = _as_text(pen, made, delimiter)
    path = folder / f"ecg{pen.one('suffix', ('.csv', '.txt', '.tsv'))}"
    path.write_bytes(text)
    tolerance = 0.5 * step / UNITS_PER_MV[unit]
    return Writing(path, ecg, tolerance, frozenset(made.stated), unit, made.outcome, made.rate_slack)


def _name_columns(pen: Pen, made: _Table, kind: str, names: list[str], unit: str, blanks: bool) -> None:
    """Titles with or without the unit, numbers, or none."""
    spelling = pen.one("unit's spelling", UNIT_SPELLINGS[unit])
    if kind == "names":
        made.titles = list(names)
    elif kind == "with unit":
        title = pen.one("title", TITLES if blanks else ("{}_{}", "{}/{}", "{}({})"))
        made.titles = [title.format(name, spelling) for name in names]
        made.stated.add("unit")
        if title in ("{}_{}", "{}/{}", "{} {}") and len(spelling) > 2 and not spelling.lower().endswith("v"):
            made.outcome = "either"  # "I_millivolts" is read by some of these ways only
    elif kind == "numbers":
        made.titles = [str(number) for number in range(len(names))]
    if kind in ("names", "with unit"):
        made.stated.add("lead_names")


def _add_facts(pen: Pen, made: _Table, ecg: Ecg, unit: str, names: list[str]) -> None:
    """Lines above the table that state something, between others that do not."""
    sign = pen.one("comment sign", ("", "", "# ", "% ", "// "))
    lines = [pen.one("other line", NOISE) for _ in range(pen.one("other lines", (0, 0, 1, 3)))]
    if pen.chance("line of rate", 0.4):
        lines.append(pen.one("rate line", RATE_LINES).format(ecg.rate))
        made.stated.add("sampling_rate")
    if "unit" not in made.stated and pen.chance("line of unit", 0.6):
        lines.append(pen.one("unit line", UNIT_LINES).format(pen.one("unit's spelling", UNIT_SPELLINGS[unit])))
        made.stated.add("unit")
    if "lead_names" not in made.stated and pen.chance("line of leads", 0.4):
        lines.append("Leads: " + pen.one("between leads", (", ", ";", ",")).join(names))
        made.stated.add("lead_names")
    pen.random.shuffle(lines)
    made.above = [sign + line for line in lines]


def _lose_samples(pen: Pen, made: _Table, ecg: Ecg, blanks: bool) -> Ecg:
    """Blank cells, or rows of them, are samples without value."""
    if not pen.chance("lost samples", 0.08):
        return ecg
    mark = pen.one("mark", MARKS) if blanks else "nan"
    leads = ecg.leads.copy()
    whole_rows = pen.chance("whole rows", 0.3)
    for row in pen.random.integers(leads.shape[1], size=4).tolist():
        for lead in range(len(leads)) if whole_rows else (int(pen.random.integers(len(leads))),):
            made.columns[lead][row], leads[lead, row] = mark, np.nan
    return Ecg(leads, ecg.names, ecg.rate)


def _add_columns(pen: Pen, made: _Table, ecg: Ecg, blanks: bool) -> None:
    """Columns of time, of counts, or of something that is no lead."""
    kind = pen.one("column", ("none", "time", "time", "count", "other", "both"))
    n_rows = ecg.leads.shape[1]
    if made.titles is None or made.titles[0] == "0":
        kind = "time" if kind == "time" and pen.chance("time without title", 0.1) else "none"
        made.outcome = "either" if kind == "time" else made.outcome
    if kind == "other":
        _insert(made, len(made.columns), pen.one("other title", ("RESP", "vx", "V7")), ["0.25"] * n_rows)
        if "unit" in made.stated:
            made.outcome = "either"
    if kind in ("count", "both"):
        start = pen.one("first count", (0, 1))
        title = pen.one("count's title", COUNTS if blanks else COUNTS[1:4])
        _insert(made, 0, title, [str(start + row) for row in range(n_rows)])
    if kind in ("time", "both"):
        _add_times(pen, made, ecg.rate, n_rows, blanks)


def _add_times(pen: Pen, made: _Table, rate: float, n_rows: int, blanks: bool) -> None:
    titles = [one for one in TIMES + TIMES_WITHOUT_UNIT if blanks or " " not in one[0]]
    title, per_second = pen.one("time's title", titles)
    start = pen.one("first time", (0.0, 0.0, 1 / rate, 12.5, 3600.0))
    times = start + np.arange(n_rows) / rate
    if per_second == 0:
        digits = 3
        cells = [f"{int(t // 3600)}:{int(t // 60 % 60):02d}:{t % 60:06.3f}" for t in np.round(times, digits)]
    else:
        digits = pen.one("digits of time", (3, 4, 6, 9))
        printed = max(digits - round(np.log10(per_second)), 0)
        digits = printed + round(np.log10(per_second))
        cells = [f"{t * per_second:.{printed}f}" for t in times]
    made.stated.add("sampling_rate")
    made.rate_slack = 2.2 * 10.0**-digits / (n_rows / rate)
    rounds_up = per_second == 0 and any(cell.endswith("60.000") for cell in cells)
    if (title, per_second) in TIMES_WITHOUT_UNIT or rounds_up:
        made.outcome = "either"
    _insert(made, pen.one("place of time", (0, 0, len(made.columns))), title, cells)


def _insert(made: _Table, at: int, title: str, cells: list[str]) -> None:
    made.columns.insert(at, cells)
    if made.titles is not None:
        made.titles.insert(at, title)


def _as_text(pen: Pen, made: _Table, delimiter: str) -> bytes:
    """The bytes of the file."""
    quote = pen.one("quotes", ("", "", "titles", "all")) if delimiter != " " else ""
    comma = (delimiter != "," or quote == "all") and pen.chance("decimal comma", 0.25)
    if comma:
        made.columns = [[cell.replace(".", ",") for cell in column] for column in made.columns]
    rows = list(map(list, zip(*made.columns, strict=True)))
    titles = [] if made.titles is None else [made.titles]
    trailing = delimiter if delimiter != " " and pen.chance("trailing delimiter", 0.08) else ""
    lines = ["sep=" + delimiter] if pen.chance("sep=", 0.05) and delimiter not in "\t " else []
    lines += made.above
    lines += [_joined(row, delimiter, bool(quote)) + trailing for row in titles]
    lines += [_joined(row, delimiter, quote == "all") + trailing for row in rows]
    end = pen.one("line end", ("\n", "\n", "\r\n", "\r"))
    text = end.join(lines) + end * pen.one("line ends", (0, 1, 1, 3))
    encoding = pen.one("encoding", ("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"))
    if encoding == "latin-1" and not text.isascii():
        made.outcome = "either"
        return text.encode("latin-1", "replace")
    return text.encode(encoding)


def _joined(row: Sequence[str], delimiter: str, quoted: bool) -> str:
    return delimiter.join(f'"{cell}"' for cell in row) if quoted else delimiter.join(row)
