"""What the runs need before they start: an exam table, embedded reports, or the encoder that was named."""

import json
import shutil
from pathlib import Path
from typing import Any

from datasets import DatasetDict

from common.files import write_json
from data_scripts import code15, embed_reports
from data_scripts.embed_reports import RECORD_FILE, load_text_encoder, text_table_folder, weights_fingerprint
from data_scripts.make_text_model import make_text_model
from data_scripts.simulate.cohort import CohortSettings, write_cohort
from reproduction.jobs import file_fingerprint


WEIGHTS = "model.safetensors"
COHORT_RECORD = "cohort.json"


def simulated_table(folder: Path, cohort: dict[str, Any], num_proc: int) -> Path:
    """
    Returns the exam table of a simulated cohort, made in `folder` unless it is there.

    Raises:
        `ValueError`: where another cohort lies there.
    """
    exams, raw = folder / "exams", folder / "raw"
    if exams.is_dir():
        found = json.loads((folder / COHORT_RECORD).read_text(encoding="utf-8"))
        if found != cohort:
            raise ValueError(f"{exams} is another cohort: expected {cohort}, found {found}; give another --output_dir")
        return exams
    write_json(folder / COHORT_RECORD, cohort)
    write_cohort(raw, CohortSettings(**cohort), num_proc=num_proc)
    code15.main(
        ["--source_dir", str(raw), "--reports", str(raw / "reports.csv"), "--output_dir", str(exams)]
        + ["--num_proc", str(num_proc)]
    )
    shutil.rmtree(raw)  # the exam table has it all
    return exams


def made_text_model(table: DatasetDict, folder: Path, masked_word_steps: int = 0) -> str:
    """
    Returns a small text model, made from the training split's reports in `folder` unless it is there.

    Args:
        table (`DatasetDict`): With reports.
        folder (`Path`): Its place.
        masked_word_steps (`int`, defaults to 0): Steps of learning masked words; 0: random weights.
    """
    if not folder.is_dir():
        aside = folder.with_name(f".{folder.name}.incomplete")
        shutil.rmtree(aside, ignore_errors=True)
        reports = sorted(report for report in table["train"].unique("report") if report)
        make_text_model(reports, aside, masked_word_steps=masked_word_steps)
        aside.rename(folder)
    return str(folder)


def text_side(exams: str, text_model: str, output_dir: Path) -> dict[str, Any]:
    """
    Returns flags and identity of stage 1's text side, after embedding the reports if nobody has yet.

    Args:
        exams (`str`): Exam table, folder or Hub id.
        text_model (`str`): Folder or Hub id.
        output_dir (`Path`): Where the text table goes if there is none beside the exam table.
    """
    place = exams
    if not (text_table_folder(exams, text_model, "mean") / RECORD_FILE).is_file():
        place = str(output_dir)
        embed_reports.main(
            ["--dataset_name_or_path", exams, "--text_model_name_or_path", text_model, "--output_dir", place]
        )
    model, _ = load_text_encoder(text_model)
    return {
        "flags": {"text_model_name_or_path": text_model, "text_table_dir": place},
        "identity": {"text_model": weights_fingerprint(model)},
    }


def given_encoder(name: str, revision: str | None) -> dict[str, Any]:
    """Returns flags and identity of a pre-trained encoder, folder or Hub id."""
    weights = Path(name, WEIGHTS)
    identity = f"sha256 {file_fingerprint(weights)}" if weights.is_file() else f"{name}@{revision or 'main'}"
    return {"flags": {"model_name_or_path": name, "model_revision": revision}, "identity": identity}
