"""What a classifier that is published was measured to do on real ECGs, beside the test split of its own run."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.checksums import read_record
from common.markdown import markdown_table
from publishing.stages.base import Table


if TYPE_CHECKING:
    from publishing.run_folder import RunFolder


RECORD = "real_ecgs.json"  # in the folder of a run; benchmarks/real/run.py writes it
TITLES = "On real ECGs"
SHOWN = {"auroc": "AUROC", "f1": "F1 at the thresholds"}
# By set of the record, what it is.
SETS = {
    "ptbxl100": "PTB-XL, 100 Hz",
    "ptbxl_sample": "PTB-XL, 500 Hz",
    "cinc2021": "CinC 2021",
    "all": "all, each exam once",
}
NOTE = (
    "Nothing was fitted to these exams: weights and thresholds are as in the tables above. Behind each value the "
    "positives, in brackets 95 % intervals by resampling patients; where there is none, fewer than ten positives or "
    "patients that have them. A label that a source does not state is unknown there. PTB-XL and the CinC 2021 "
    "recordings: PhysioNet, CC BY 4.0."
)


def weights_digest(folder: Path) -> str:
    """Returns the sha256 of a folder's weights, by which a record tells whether it speaks of them."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def real_tables(run: "RunFolder") -> list[Table]:
    """
    Returns the card's tables of real ECGs; none where they were not measured.

    Args:
        run (`RunFolder`): Of a classifier.

    Raises:
        `ValueError`: where the record speaks of other weights.
    """
    path = run.path / RECORD
    if not path.is_file():
        return []
    record = read_record(path)
    if record["weights"] != weights_digest(run.path):
        raise ValueError(
            f"{path}: expected numbers of the weights beside it, found those of others: benchmarks/real/run.py with "
            "--output_file writes it anew"
        )
    tables = [{"title": f"{TITLES}: {title}", "rows": real_table(record, m), "note": ""} for m, title in SHOWN.items()]
    tables[-1]["note"] = NOTE
    return tables


def real_table(record: dict[str, Any], metric: str) -> str:
    """Returns one metric of all sets in Markdown: value (positives) [interval]."""
    rows = [["", "exams", *record["label_names"], "mean"]]
    for name, found in record["sets"].items():
        cells = [_cell(found, label, metric) for label in record["label_names"]]
        rows.append([SETS[name], f"{found['n_exams']:,}", *cells, _cell(found, None, metric)])
    return markdown_table(rows, right=(1,))


def _cell(found: dict[str, Any], label: str | None, metric: str) -> str:
    value = found["mean"] if label is None else found["per_class"][label]
    interval = (found["intervals"]["mean"] if label is None else found["intervals"]["per_class"][label])[metric]
    positives = "" if label is None else f" ({value['n_positive']})"
    if value[metric] is None:
        return f"–{positives}"
    between = "" if interval["low"] is None else f" [{interval['low']:.3f}, {interval['high']:.3f}]"
    return f"{value[metric]:.3f}{positives}{between}"
