"""Text tables as people write them: what parts the cells, where the samples begin, which numbers they are.

What stands in a table is decided here, what its columns mean in `columns_ecgclip` and `csv_ecgclip`.
"""

import csv
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .columns_ecgclip import is_number, parse_column
from .keys_ecgclip import fact_of
from .limits_ecgclip import MAX_CHANNELS, MAX_CSV_CELLS, shorten, spend_steps


DELIMITERS = (";", "\t", "|", ",", " ")
# Lines that may stand above the samples.
MAX_LINES_ABOVE = 200
# So many of the last lines, and of their cells, tell what parts them: what stands above need not look like a table.
_TAIL_LINES = 20
_LOOKED_AT = 500
# Of a table with a lead in each row; one with a sample in each row has a few.
MAX_COLUMNS = 200_000
MAX_OTHER_COLUMNS = 8  # beside leads: times, numbers of samples, blank ones
_STEPS_PER_ODD_CELL = 4  # beyond the one of each: cells that are no plain numbers are looked at one by one
_MISSING = frozenset(("", "nan", "na", "n/a", "#n/a", "null", "none", "-", "--", "?"))
_COMMENT = re.compile(r"\s*(?:#|%|//)[#%/]*\s*")
_PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?inf(?:inity)?")
_NUMBER = re.compile(r"[+-]?(?:\d[\d.,'\u2019\u00a0\u202f ]*|[.,]\d+)(?:e[+-]?\d+)?|[+-]?inf(?:inity)?")
_DATE = r"\d{4}-\d\d-\d\d(?:t| +)"
_CLOCK = re.compile(rf"(?:{_DATE})?(?:\d+:)?\d+:\d{{1,2}}(?:[.,]\d+)?(?:z|[+-]\d\d:?\d\d)?")
# Groups of three digits behind a first one that is no zero.
_COMMA_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
_POINT_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+")
_OTHER_GROUPS = re.compile(r"(?<=\d)['\u2019\u00a0\u202f ](?=\d{3}(?!\d))")
# A comma, or a point, that can only be a decimal sign: not between groups of three digits.
_DECIMAL_COMMA = re.compile(r"(?<!\d)0\d*,\d|\d{4},\d|(?<!\d),\d|,\d{1,2}(?!\d)|,\d{4}")
_DECIMAL_POINT = re.compile(r"(?<!\d)0\d*\.\d|\d{4}\.\d|(?<!\d)\.\d|\.\d{0,2}(?!\d)|\.\d{4}")


@dataclass(frozen=True)
class TextTable:
    """
    The samples of a table, and what stands above them.

    Args:
        where (`str`): What errors call the file.
        above (`list[tuple[int, str]]`): Lines above the names, with their numbers.
        names (`list[str]`, *optional*): Of the columns; numbers that only count them are none.
        units (`list[str]`, *optional*): A row of units below the names.
        first_row (`int`): Number of the line of the first sample, from 1.
        lines (`list[str]`): The samples' lines.
        delimiter (`str`): What parts their cells.
        matrix (`np.ndarray` of shape `(rows, columns)`, *optional*): All cells, where each is a plain number.
        rows (`list[list[str]]`, *optional*): All cells as text, where some are not.
    """

    where: str
    above: list[tuple[int, str]]
    names: list[str] | None
    units: list[str] | None
    first_row: int
    lines: list[str]
    delimiter: str
    matrix: np.ndarray | None
    rows: list[list[str]] | None

    @property
    def n_columns(self) -> int:
        """How many columns there are."""
        return self.matrix.shape[1] if self.matrix is not None else len((self.rows or [[]])[0])

    def texts(self, column: int) -> list[str]:
        """Returns the cells of a column, numbers with a decimal point, blank ones as `""`."""
        if self.rows is not None:
            return [row[column] for row in self.rows]
        spend_steps(self.n_columns * len(self.lines), self.where)
        cells = [split_line(line, self.delimiter)[column] for line in self.lines]
        return [cell.replace(",", ".") for cell in cells]  # where each is a plain number, a comma is a decimal sign

    def numbers(self, columns: Sequence[int]) -> np.ndarray:
        """
        Returns the cells of some columns as float64 `(columns, rows)`; blank ones are NaN.

        Raises:
            `ValueError`: naming the row and the column whose cell is no number.
        """
        if self.matrix is not None:
            return np.ascontiguousarray(self.matrix.T[list(columns)])
        rows = self.rows or []
        values = np.empty((len(columns), len(rows)))
        for at, row in enumerate(rows):
            for to, column in enumerate(columns):
                cell = row[column]
                if cell in _MISSING:
                    values[to, at] = math.nan
                elif _PLAIN.fullmatch(cell):
                    values[to, at] = float(cell)
                else:
                    raise ValueError(
                        f"{self.where}, row {self.first_row + at}: a cell is not a number: "
                        f"found {shorten(repr(cell))} in column {self._title(column)}"
                    )
        return values

    def _title(self, column: int) -> str:
        name = self.names[column] if self.names is not None else ""
        return f"{column + 1} ({shorten(name)})" if name else str(column + 1)


def read_table(text: str, where: str) -> TextTable:
    """
    Returns the table that a text holds.

    Args:
        text (`str`): Lines of cells parted by semicolon, tab, bar, comma or blanks; above them, optionally, names,
            units, comments and other lines.
        where (`str`): What errors call the file.

    Raises:
        `ValueError`: naming the row, what was expected and what was found.
    """
    lines = _lines(text, where)
    stated, skipped = _stated_delimiter(lines)
    delimiter = stated or _delimiter(lines)
    first, width = _first_sample(lines, skipped, delimiter, where)
    start = _with_blank_rows(lines, first, width, delimiter)
    lines = lines[: _end_of_rows(lines, width, delimiter)]
    above = _above(lines, skipped, start)
    names, units = _header(above, start, width, delimiter, where)
    if names is None and start == first and _is_numbering(lines[first:], delimiter, f"{where}, row {first + 1}"):
        names = split_line(lines[first], delimiter)
        start += 1
    samples = lines[start:]
    if not samples:
        raise ValueError(f"{where}: found column names but no samples")
    _check_size(len(samples), width, where)
    matrix = _plain_matrix(samples, delimiter)
    rows = None if matrix is not None else _rows(samples, delimiter, where, start + 1, names)
    texts = [(number, line) for number, line, _ in above]
    table = TextTable(where, texts, names, units, start + 1, samples, delimiter, matrix, rows)
    if names is not None and len(names) != table.n_columns:
        raise ValueError(f"{where}: {len(names)} column names for {table.n_columns} columns")
    return table


def split_line(line: str, delimiter: str) -> list[str]:
    """Returns the cells of one line, without blanks and quotes around them."""
    if delimiter == " ":
        cells = line.split(None, MAX_COLUMNS + 1)  # no line has more, which is then refused
    elif '"' in line:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
    else:
        cells = line.split(delimiter)
    return [cell.strip().strip("'\"").strip() for cell in cells]


def _lines(text: str, where: str) -> list[str]:
    """The lines without empty ones at the end, however they end."""
    if "\0" in text:
        raise ValueError(f"{where}: expected a table in text: found zero bytes")
    if "\r" in text:  # "\r\r\n" is what a text file makes of lines that end in "\r\n" already
        text = text.replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
    cells = max(text.count(sign) for sign in DELIMITERS[:-1]) + text.count("\n")
    if cells > MAX_CSV_CELLS:
        raise ValueError(f"{where}: expected a table of at most {MAX_CSV_CELLS:,} cells: found {cells:,}")
    lines = text.rstrip("\n ").split("\n")
    if not any(line.strip(" \t") for line in lines):
        raise ValueError(f"{where}: the file is empty: expected one column per lead and one row per sample")
    if '"' in text:
        odd = next((row for row, line in enumerate(lines, start=1) if line.count('"') % 2), None)
        if odd is not None:
            raise ValueError(
                f"{where}, row {odd}: expected a quote to end in its line: found {shorten(lines[odd - 1])}"
            )
    return lines


def _check_size(n_rows: int, n_columns: int, where: str) -> None:
    """Refuses more cells than a table has, and one without a side that leads lie along, before cells are made."""
    if n_rows * n_columns > MAX_CSV_CELLS:
        raise ValueError(f"{where}: expected a table of at most {MAX_CSV_CELLS:,} cells: found {n_rows * n_columns:,}")
    if min(n_rows, n_columns) > MAX_CHANNELS + MAX_OTHER_COLUMNS:
        raise ValueError(
            f"{where}: expected one column, or one row, for each of at most {MAX_CHANNELS} leads: "
            f"found {n_rows:,} rows of {n_columns:,} columns"
        )
    spend_steps(n_rows * n_columns, where)


def _stated_delimiter(lines: list[str]) -> tuple[str | None, int]:
    """What a line `sep=;` of Excel states, and how many lines that takes."""
    stated = re.fullmatch(r"\"?sep=(.)\"?", lines[0], re.IGNORECASE)
    return (stated[1], 1) if stated and stated[1] in DELIMITERS else (None, 0)


def _delimiter(lines: list[str]) -> str:
    """What parts the last lines into cells, each of them a number or blank, and the same number of them."""
    tail = list(itertools.islice((line for line in reversed(lines) if line.strip()), _TAIL_LINES))
    for delimiter in DELIMITERS:
        rows = [split_line(line, delimiter) for line in tail]
        if len(rows[0]) > 1 and len(set(map(len, rows))) == 1 and all(map(_is_sample, rows)):
            return delimiter
    # No table, or one with a mistake, which is then named.
    return next((one for one in DELIMITERS if any(one in line.strip() for line in tail)), ",")


def _is_value(cell: str) -> bool:
    """Whether a cell may hold a sample or a time."""
    folded = cell.lower()
    return folded in _MISSING or any(kind.fullmatch(folded) for kind in (_NUMBER, _CLOCK))


def _is_sample(cells: list[str]) -> bool:
    """Whether no cell of a line, as far as it is looked at, is anything else than a number or blank."""
    return all(map(_is_value, cells[:_LOOKED_AT]))


def _first_sample(lines: list[str], skipped: int, delimiter: str, where: str) -> tuple[int, int]:
    """The first line that holds numbers and nothing else, and how many cells it has."""
    for at, line in enumerate(lines[skipped : skipped + MAX_LINES_ABOVE], start=skipped):
        cells = split_line(line, delimiter)
        if any(cells) and _is_sample(cells):
            if len(cells) > MAX_COLUMNS:
                raise ValueError(f"{where}: expected at most {MAX_COLUMNS:,} columns: found {len(cells):,}")
            return at, len(cells)
    # The line that comes nearest to samples says what is wrong with them.
    rows = [split_line(line, delimiter)[:_LOOKED_AT] for line in lines[skipped : skipped + MAX_LINES_ABOVE]]
    counts = [sum(map(_is_value, filter(None, row))) for row in rows]
    if not counts or not max(counts):
        if len(lines) > skipped + MAX_LINES_ABOVE:
            raise ValueError(f"{where}: expected samples within the first {MAX_LINES_ABOVE} lines: found none")
        raise ValueError(f"{where}: found column names but no samples")
    at = skipped + counts.index(max(counts))
    cell = next(cell for cell in rows[at - skipped] if not _is_value(cell))
    raise ValueError(f"{where}, row {at + 1}: a cell is not a number: found {shorten(repr(cell))}")


def _is_numbering(lines: list[str], delimiter: str, where: str) -> bool:
    """Whether the first line of numbers only counts the columns, as it does where `pandas` knows no names."""
    cells = split_line(lines[0], delimiter)
    while cells[-1] == "" and len(cells) > 1:  # a separator at the end of lines
        cells.pop()
    numbers = cells[1:] if cells[0] == "" else cells
    if len(numbers) < 2 or not all(map(is_number, numbers)):
        return False
    counts = [int(re.split("[.,]", number)[0]) for number in numbers]
    if counts not in (list(range(len(counts))), list(range(1, len(counts) + 1))):
        return False
    rows = [split_line(line, delimiter) for line in lines[1 : _TAIL_LINES + 1]]
    are_whole = all(number.isdigit() for number in numbers)
    if len(numbers) >= 8 or (are_whole and any("." in cell or "," in cell for row in rows for cell in row)):
        return True
    raise ValueError(
        f"{where}: {shorten(', '.join(numbers))} may be a sample or the columns' numbers: expected a row of names"
    )


def _above(lines: list[str], skipped: int, stop: int) -> list[tuple[int, str, bool]]:
    """The lines above the table that say something: their numbers, without a comment's sign, whether they had one."""
    marked = ((at + 1, lines[at], _COMMENT.match(lines[at])) for at in range(skipped, stop))
    stripped = ((at, line[sign.end() :] if sign else line, sign is not None) for at, line, sign in marked)
    return [(at, line, is_comment) for at, line, is_comment in stripped if line.strip()]


def _header(
    above: list[tuple[int, str, bool]], first: int, width: int, delimiter: str, where: str
) -> tuple[list[str] | None, list[str] | None]:
    """Takes the names, and a row of units below them, off the lines above the samples."""
    units = None
    if len(above) >= 2:
        cells, over = (split_line(line, delimiter) for _, line, _ in (above[-1], above[-2]))
        if len(over) == len(cells) == width and _are_units(cells):
            units = cells
            above.pop()
    if not above:
        return None, None
    at, line, is_comment = above[-1]
    cells = split_line(line, delimiter)
    if len(cells) == width + 1 and not cells[-1]:  # a separator at the end of the names alone
        cells.pop()
    if _is_header(cells, width, is_comment, f"{where}, row {at}"):
        above.pop()
        return cells, units
    states_fact = any(fact_of(re.split("[:=]", text)[0]) is not None for text in (line, cells[0]))
    if at == first and len(cells) > 1 and not is_comment and not states_fact:
        raise ValueError(f"{where}, row {at}: {len(cells)} column names for {width} columns")
    return None, units


def _is_header(cells: list[str], width: int, is_comment: bool, where: str) -> bool:
    """Whether the cells of the line above the samples are the names of the columns."""
    key, colon, _ = cells[0].replace("=", ":").partition(":")
    states_fact = fact_of(key) is not None and (colon or len(cells) == 2)  # "Leads: I, II", "Unit, mV"
    if len(cells) not in (width, width - 1) or states_fact or (width == 1 and colon):
        return False
    try:
        columns = [parse_column(cell) for cell in cells]
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if len(cells) != width or is_comment:
        return any(column.is_known for column in columns)
    numbers = [cell for cell in cells if _PLAIN.fullmatch(cell.lower())]
    others = [column.name for column in columns if column.kind == "lead" and column.name not in numbers]
    if numbers and others:
        raise ValueError(
            f"{where}: a cell is not a number: found {shorten(repr(others[0]))} beside {shorten(numbers[0])}"
        )
    return True


def _are_units(cells: list[str]) -> bool:
    """Whether a line below the names holds units: of voltages, and of time."""
    units = r"[mu\u00b5\u03bc]?v|s|sec|seconds|[mu\u00b5]s|hh:mm:ss(?:\.m+)?|adu|nu"
    return any(cells) and all(re.fullmatch(units, cell.strip("()[]"), re.IGNORECASE) for cell in cells if cell)


def _with_blank_rows(lines: list[str], first: int, width: int, delimiter: str) -> int:
    """The first row of the table, which may be one of separators alone, above the first that holds a number."""
    while first and width > 1 and delimiter in lines[first - 1] and delimiter != " ":
        cells = split_line(lines[first - 1], delimiter)
        if len(cells) != width or any(cells):
            break
        first -= 1
    return first


def _end_of_rows(lines: list[str], width: int, delimiter: str) -> int:
    """The line behind the last row, which may be one of separators alone: tabs, too, where they part as many cells."""
    end = len(lines)
    while not lines[end - 1].strip(" \t") and not (delimiter == "\t" and lines[end - 1].count("\t") == width - 1 > 0):
        end -= 1
    return end


def _plain_matrix(lines: list[str], delimiter: str) -> np.ndarray | None:
    """All cells, where each is a plain number; None where they need a closer look."""
    if any(not line or line.isspace() for line in lines):
        return None
    if delimiter != ",":
        text = "\n".join(lines)
        decimal = "," if "," in text else "."
        proof = _DECIMAL_COMMA if decimal == "," else _DECIMAL_POINT
        if ("," in text and "." in text) or (decimal in text and proof.search(text) is None):
            return None
        lines = text.replace(",", ".").split("\n") if decimal == "," else lines
    try:
        return np.loadtxt(lines, delimiter=None if delimiter == " " else delimiter, comments=None, ndmin=2)
    except ValueError:
        return None


def _rows(lines: list[str], delimiter: str, where: str, first_row: int, names: list[str] | None) -> list[list[str]]:
    """The cells of all lines, as many in each, without columns that only a separator at the end of lines makes."""
    spend_steps(_STEPS_PER_ODD_CELL * len(lines) * len(split_line(lines[0], delimiter)), where)
    rows: list[list[str]] = []
    for at, line in enumerate(lines):
        cells = split_line(line, delimiter)
        if at and len(cells) != len(rows[0]):
            found = len(cells) if line.strip() else "an empty line"
            raise ValueError(f"{where}, row {first_row + at}: expected {len(rows[0])} columns: found {found}")
        rows.append(cells)
    while len(rows[0]) > 1 and (names is None or len(names) < len(rows[0]) or not names[-1]):
        if any(row[-1] for row in rows):
            break
        if names is not None and len(names) == len(rows[0]):
            names.pop()
        for row in rows:
            row.pop()
    return _plain_rows(rows, delimiter, where, first_row)


def _plain_rows(rows: list[list[str]], delimiter: str, where: str, first_row: int) -> list[list[str]]:
    """Cells in lower case, numbers with a decimal point and without marks between groups of digits."""
    rows = [[_OTHER_GROUPS.sub("", cell.lower()) if cell else "" for cell in row] for row in rows]
    marked = [cell for row in rows for cell in row if ("," in cell or "." in cell) and _NUMBER.fullmatch(cell)]
    with_comma = [cell for cell in marked if "," in cell]
    if not with_comma and (delimiter == "," or any(map(_DECIMAL_POINT.search, marked))):
        return rows
    whole = any(cell.strip("+-0").isdigit() for row in rows for cell in row)
    decimal = _decimal_sign(marked, with_comma, whole, where)
    group, pattern = (".", _POINT_GROUPS) if decimal == "," else (",", _COMMA_GROUPS)
    for at, row in enumerate(rows):
        for column, cell in enumerate(row):
            before, _, after = cell.partition(decimal)
            if group in before and _NUMBER.fullmatch(cell) and not pattern.fullmatch(before):
                raise ValueError(
                    f"{where}, row {first_row + at}: a cell is not a number: found {shorten(repr(cell))}, "
                    f"where {decimal!r} is the decimal sign"
                )
            row[column] = before.replace(group, "") + (f".{after}" if after else "")
    return rows


def _decimal_sign(marked: list[str], with_comma: list[str], whole: bool, where: str) -> str:
    """
    The decimal sign, point or comma, that all cells together show.

    Args:
        marked (`list[str]`): Numbers with a point or a comma.
        with_comma (`list[str]`): Those with a comma.
        whole (`bool`): Whether there are numbers with neither, other than zero: a writer of decimals gives all of them
            as many.
        where (`str`): What errors call the file.
    """
    both = next((cell for cell in with_comma if "." in cell), None)
    if both is not None:
        return max(".,", key=both.rfind)
    groups = _COMMA_GROUPS if with_comma else _POINT_GROUPS
    sign, other = (",", ".") if with_comma else (".", ",")
    in_groups = all(groups.fullmatch(cell) for cell in with_comma or marked)
    if not in_groups or not marked:
        return sign
    if any(cell.count(sign) > 1 for cell in marked) or (with_comma and whole):
        return other
    if not whole:
        return sign if sign == "." else _ambiguous(marked[0], where)
    return _ambiguous(marked[0], where)


def _ambiguous(cell: str, where: str) -> str:
    raise ValueError(
        f"{where}: the sign in {shorten(repr(cell))} may be a decimal sign or part thousands: expected numbers "
        "without thousands separators"
    )


__all__ = ["MAX_OTHER_COLUMNS", "TextTable", "read_table", "split_line"]
