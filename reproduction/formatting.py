"""How numbers stand in tables, and rows as Markdown and CSV."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.files import write_text
from common.markdown import markdown_table
from reproduction.results import Summary
from reproduction.statistics import Difference


PAPER_METRICS = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1"}
RANK_METRICS = {"auroc": "AUROC", "average_precision": "average precision"}
CALIBRATION_METRICS = {"brier": "Brier score", "ece": "ECE"}
DASH = "–"

Row = dict[str, Any]


def shown(value: Summary, digits: int = 3) -> str:
    """Returns mean ± spread as tables show it, with the number of seeds that define it where some do not."""
    if value.mean is None:
        return DASH
    spread = "" if value.spread is None else f" ± {value.spread:.{digits}f}"
    part = "" if value.n_defined == value.n_seeds else f" ({value.n_defined} of {value.n_seeds})"
    return f"{value.mean:.{digits}f}{spread}{part}"


def signed(value: float | None) -> str:
    """Returns a difference with its sign."""
    return DASH if value is None else f"{value:+.3f}".replace("-", "−")


def with_interval(found: Difference) -> str:
    """Returns a difference with its interval."""
    interval = "" if found.low is None else f" [{signed(found.low)}, {signed(found.high)}]"
    return signed(found.difference) + interval


def p_shown(value: float | None) -> str:
    """Returns a p-value."""
    return DASH if value is None else f"{value:.3f}"


def number(value: float | None) -> str:
    """Returns a number of the paper."""
    return DASH if value is None else f"{value:.3f}"


def span(values: Sequence[int]) -> str:
    """Returns lowest to highest."""
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def markdown(rows: Sequence[Row]) -> str:
    """Returns rows with the same keys as a Markdown table: columns of numbers to the right, except the first."""
    columns = {name: [str(row[name]) for row in rows] for name in rows[0]}
    right = [i for i, cells in enumerate(columns.values()) if i and any(re.match(r"[+−]?\d", cell) for cell in cells)]
    return markdown_table([list(columns), *zip(*columns.values(), strict=True)], right)


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Writes rows with the same keys, aside and then renamed; None is an empty field."""
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_text(path, buffer.getvalue())
