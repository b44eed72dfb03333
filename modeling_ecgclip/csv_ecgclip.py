"""Tables of one column per lead and one row per sample, with or without names, units and time."""

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .columns_ecgclip import Column, parse_column
from .keys_ecgclip import fact_of
from .leads_ecgclip import canonical_unit, parse_lead_name
from .limits_ecgclip import MAX_CHANNELS, MAX_CSV_BYTES, check_file, check_values, shorten, spend_unpacked
from .rates_ecgclip import roundest_between
from .record_ecgclip import EcgRecord
from .tables_ecgclip import MAX_OTHER_COLUMNS, TextTable, read_table
from .times_ecgclip import TimeAxis, axis_of_counts, axis_of_times, rises_evenly


_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# A line of numbers parted by blanks.
_BLANK_SEPARATED = re.compile(rb"^[ ]*[-+.\d][-+.\deE]*(?:[ ]+[-+.\d][-+.\deE]*)+[ ]*\r?$", re.MULTILINE)
# Lines above a table: "Sampling Rate (Hz): 400", "Unit,uV". A bare "Rate" may be the heart's.
_FACT_LINE = re.compile(r"\s*([^:=,;\t|]{1,60})[:=,;\t|]\s*(.+)")
_RATE_VALUE = re.compile(
    r"(\d+(?:\.\d+)?)\s*(?:hz|hertz|sps|samples?\s*(?:/|per)\s*s(?:ec(?:ond)?)?)?\.?", re.IGNORECASE
)
_OTHER_RATES = ("rate",)
# What would change the samples if it were applied; millimetres are those of paper.
_SCALES = re.compile(r"\b(?:gain|scale|scaling|resolution|lsb|factor|multiplier|sensitivity|adc)\b", re.IGNORECASE)


def is_csv(head: bytes) -> bool:
    """Returns whether a file begins as text in which something separates cells; no other kind is such a text."""
    if head.startswith(_UTF16_MARKS):
        return True
    return b"\0" not in head and (any(sign in head for sign in b",;\t|") or bool(_BLANK_SEPARATED.search(head)))


def read_csv(path: str | Path) -> EcgRecord:
    """
    Returns a table of one column per lead and one row per sample, separated by comma, semicolon, tab, bar or blanks.

    Names of the leads are optional, and may hold the unit (`"I (mV)"`). A column of times (`time_s`, `Time [ms]`,
    `elapsed time`, ...) gives the sampling rate, the roundest that agrees with every printed time; where it leaps,
    samples were lost, and are NaN. Columns that count the samples are no leads. Lines above may state
    `Sampling rate: 400` and `Unit: uV`. The decimal sign may be a comma where commas do not part the cells. Blank
    cells, and rows of nothing but blank cells, are NaN. docs/reading.md of the project says which table gets what.

    Returns:
        [`EcgRecord`] with `signal` float64 `(leads, samples)`.

    Raises:
        `ValueError`: naming the row, what was expected and what was found.
    """
    path = Path(path)
    check_file(path, MAX_CSV_BYTES)
    try:
        return _record_of(read_table(_decode(path), str(path)))
    except csv.Error as error:
        raise ValueError(f"{path}: not a table of separated values: {error}") from error


def _decode(path: Path) -> str:
    """
    The text of a file in UTF-8, UTF-16, or one of the encodings of eight bits that Windows and older programs write.

    These agree in all that stands in numbers, and in the signs of a unit; of other letters in a name nothing depends.
    """
    content = path.read_bytes()
    try:
        if content.startswith(_UTF16_MARKS):
            return content.decode("utf-16")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return content.decode("cp1252")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected text in UTF-8, UTF-16 or Windows-1252: found another encoding, or no text: "
            f"{shorten(error)}; save it as UTF-8"
        ) from error


def _record_of(table: TextTable) -> EcgRecord:
    """The ECG of a table."""
    columns = _columns(table)
    leads = [at for at, column in enumerate(columns) if column.kind in ("lead", "number")]
    if not leads:
        raise ValueError(f"{table.where}: expected one column per lead: found {shorten(', '.join(table.names or []))}")
    facts = _facts(table)
    names = _lead_names([columns[at] for at in leads], facts.get("lead_names"), table.where)
    unit = _unit([columns[at] for at in leads], facts.get("unit"), table.where)
    axes = [_axis(table, at, column) for at, column in enumerate(columns) if column.kind in ("time", "count")]
    positions, rate = _time(axes, facts.get("sampling_rate"), table.where)
    signal = table.numbers(leads)
    _refuse_even_columns(table, columns, signal, leads)
    if positions is not None and positions[-1] + 1 > signal.shape[1]:
        shape = (len(leads), int(positions[-1]) + 1)
        check_values(shape, table.where)
        spend_unpacked(8 * shape[0] * shape[1], table.where)
        recorded, signal = signal, np.full(shape, np.nan)
        signal[:, positions] = recorded
    return EcgRecord(signal, rate, names, unit, table.where)


def _columns(table: TextTable) -> list[Column]:
    """What each column is; those without a name are a count of the samples, blank, or refused."""
    if table.names is None:
        return [Column("number", "")] * table.n_columns
    if len(table.names) > MAX_CHANNELS and not all(name.isdigit() for name in table.names[1:]):
        raise ValueError(f"{table.where}: expected at most {MAX_CHANNELS} columns: found {len(table.names):,}")
    units = table.units or [""] * len(table.names)
    try:
        columns = [parse_column(name, unit) for name, unit in zip(table.names, units, strict=True)]
    except ValueError as error:
        raise ValueError(f"{table.where}, row {table.first_row - 1}: {error}") from error
    n_others = sum(column.kind in ("time", "count", "unnamed") for column in columns)
    if n_others > MAX_OTHER_COLUMNS:
        raise ValueError(
            f"{table.where}: expected at most {MAX_OTHER_COLUMNS} columns of times, counts or without a name: "
            f"found {n_others}"
        )
    return [_unnamed(table, at, column) if column.kind == "unnamed" else column for at, column in enumerate(columns)]


def _unnamed(table: TextTable, at: int, column: Column) -> Column:
    """A column without a name, which may count the samples or be blank."""
    cells = table.texts(at)
    if not any(cells):
        return column
    if all(cell.isdigit() for cell in cells) and (len(cells) < 2 or int(cells[1]) - int(cells[0]) == 1):
        return Column("count", column.name or f"column {at + 1}")
    found = ", which rises by the same step in every row, as no lead does" if rises_evenly(cells) else ""
    raise ValueError(
        f"{table.where}, row {table.first_row - 1}: expected a name for column {at + 1}{found}: a lead's, time_s, "
        "time_ms or sample"
    )


def _refuse_even_columns(table: TextTable, columns: list[Column], signal: np.ndarray, leads: list[int]) -> None:
    """Refuses columns without a name that rise like a time."""
    if signal.shape[0] >= signal.shape[1]:  # leads in rows
        return
    for lead, at in zip(signal, leads, strict=True):
        # The exact look at printed digits is for the few that never fall.
        never_falls = columns[at].kind == "number" and np.all(lead[1:] >= lead[:-1]) and lead[-1] > lead[0]
        if never_falls and rises_evenly(table.texts(at)):
            raise ValueError(
                f"{table.where}: column {at + 1} rises by the same step in every row, as no lead does: expected a row "
                "of names above the samples, with time_s, time_ms or sample for this column"
            )


def _facts(table: TextTable) -> dict[str, Any]:
    """What lines above the table state: sampling rate, unit, names of leads."""
    facts: dict[str, Any] = {}
    for row, line in table.above:
        match = _FACT_LINE.fullmatch(line)
        if match is None:
            continue
        key, value = match[1].strip(" '\""), match[2].strip(" '\",;|\t")
        where = f"{table.where}, row {row}"
        if _SCALES.search(key) and "mm" not in value:
            raise ValueError(f"{where}: expected samples in a unit: found {shorten(line)}, which is not applied here")
        fact = fact_of(key)
        if fact is None or key.lower() in _OTHER_RATES:
            continue
        stated = _READ_FACT[fact](value, where)
        if facts.setdefault(fact, stated) != stated:
            raise ValueError(f"{where}: {shorten(line)} contradicts a line above")
    return {fact: stated for fact, stated in facts.items() if stated is not None}


def _read_rate(value: str, where: str) -> float:
    match = _RATE_VALUE.fullmatch(value)
    if match is None:
        raise ValueError(f"{where}: expected a sampling rate in Hz: found {shorten(repr(value))}")
    return float(match[1])


def _read_names(value: str, where: str) -> list[str] | None:
    """Names of leads; None for what only says how many there are."""
    return None if value.isdigit() else [name.strip(" '\"") for name in re.split("[,;|\t]", value)]


_READ_FACT: dict[str, Callable[[str, str], Any]] = {
    "sampling_rate": _read_rate,
    "unit": canonical_unit,
    "lead_names": _read_names,
}


def _lead_names(leads: Sequence[Column], above: list[str] | None, where: str) -> tuple[str, ...] | None:
    """The names of the columns, or those that a line above the table gives to columns without."""
    kinds = {column.kind for column in leads}
    if len(kinds) > 1:
        raise ValueError(f"{where}: expected a name for each lead: found {shorten([one.name for one in leads], 200)}")
    names = None if kinds == {"number"} else [column.name for column in leads]
    if above is None or not all(map(parse_lead_name, above)):
        return None if names is None else tuple(names)
    if names is None and len(above) == len(leads):
        return tuple(above)
    if names is None or list(map(parse_lead_name, names)) != list(map(parse_lead_name, above)):
        raise ValueError(
            f"{where}: expected a column for each of the leads {shorten(', '.join(above))} that a line above names: "
            f"found {len(leads) if names is None else shorten(', '.join(names))}"
        )
    return tuple(names)


def _unit(leads: Sequence[Column], above: str | None, where: str) -> str | None:
    """The one unit that the columns' names, or a line above, state; None where neither does."""
    known = [column for column in leads if column.is_known] or list(leads)
    units = {
        column.name: column.unit and canonical_unit(column.unit, f"{where}, column {column.name}") for column in known
    }
    if len(set(units.values())) > 1:
        found = ", ".join(f"{name} in {unit or 'none'}" for name, unit in units.items())
        raise ValueError(f"{where}: expected one unit for all leads: found {shorten(found, 200)}")
    unit = next(iter(units.values()))
    if unit is not None and above is not None and unit != above:
        raise ValueError(f"{where}: a line above states {above}; the columns' names state {unit}")
    return unit or above


def _axis(table: TextTable, at: int, column: Column) -> TimeAxis:
    cells = table.texts(at)
    if column.kind == "count":
        return axis_of_counts(cells, column.name, table.where, table.first_row)
    return axis_of_times(cells, column.unit, column.name, table.where, table.first_row)


def _time(axes: Sequence[TimeAxis], above: float | None, where: str) -> tuple[np.ndarray | None, float | None]:
    """Which sample each row is, and the rate, of all columns that say so; refused where they contradict each other."""
    leaping = [axis for axis in axes if axis.positions[-1] + 1 > len(axis.positions) or axis.states_rate]
    for axis in leaping[1:]:
        slowest, fastest = max(axis.slowest, leaping[0].slowest), min(axis.fastest, leaping[0].fastest)
        if slowest > fastest * (1 + 1e-9) or not np.array_equal(axis.positions, leaping[0].positions):
            raise ValueError(f"{where}: the columns {leaping[0].column!r} and {axis.column!r} contradict each other")
    positions = leaping[0].positions if leaping else None
    timed = [axis for axis in axes if axis.states_rate]
    if not timed:
        return positions, above
    slowest, fastest = max(axis.slowest for axis in timed), min(axis.fastest for axis in timed)
    if above is not None:
        if not slowest <= above * (1 + 1e-6) or not above <= fastest * (1 + 1e-6):
            raise ValueError(
                f"{where}: a line above states {above:g} Hz; the column {timed[0].column!r} gives "
                f"{roundest_between(slowest, fastest):g} Hz"
            )
        return positions, above
    return positions, roundest_between(min(slowest, fastest), max(slowest, fastest))


__all__ = ["is_csv", "read_csv"]
