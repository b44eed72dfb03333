"""A table whose reports ecgclip wrote: its card, and those of both stages, say that no physician did."""

import json

import pytest

import train_clip
import train_cls
from data_scripts import embed_reports
from data_scripts.describe import DescribeArguments, Descriptions
from data_scripts.make_text_model import make_text_model
from data_scripts.tables.digest import table_digest
from data_scripts.tables.schema import check_patients, label_counts, load_exam_table
from modeling_ecgclip import __version__
from publishing.card import model_card
from publishing.dataset import main as publish_dataset
from publishing.run_folder import read_run
from tests.small_tables import SCHEMA, write_small_table


TRAINING = ["--encoder_preset", "tiny", "--per_device_train_batch_size", "16", "--max_train_steps", "1"]
TRAINING += ["--eval_steps", "1", "--logging_steps", "1", "--checkpointing_steps", "no"]
TEXT = "QRS narrow. P wave normal."
NOTE = f"Described in English by ecgclip {__version__} from measurements of the ECG, not by a physician."


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A table with the record of `data_scripts.describe`, and a run of each stage."""
    folder = tmp_path_factory.mktemp("described")
    exams = write_small_table(folder / "exams", report=TEXT, report_id=0)
    told = Descriptions()
    told.count({"texts": [TEXT] * 108, "reasons": {}})
    record = json.loads((exams / "conversion.json").read_text(encoding="utf-8"))
    record["reports"] = told.facts(DescribeArguments("other", "exams", language="en"))
    table = load_exam_table(exams)
    patients = check_patients(table, "exams")
    record["splits"] = {
        split: {"exams": len(rows), "patients": patients[split], "labels": label_counts(rows, SCHEMA.label_names)}
        for split, rows in table.items()
    }
    record |= {"source": "simulated", "rejected_by_reason": {}, "quality": {}, "digest": table_digest(table)}
    (exams / "conversion.json").write_text(json.dumps(record), encoding="utf-8")
    make_text_model([TEXT], folder / "text_model", hidden_size=32)
    data = ["--dataset_name_or_path", str(exams)]
    text = ["--text_model_name_or_path", str(folder / "text_model")]
    embed_reports.main([*data, *text])
    train_clip.main([*data, *text, "--output_dir", str(folder / "clip"), *TRAINING])
    start = ["--model_name_or_path", str(folder / "clip"), "--allow_one_sided_labels"]
    train_cls.main([*data, *start, "--output_dir", str(folder / "cls"), *TRAINING])
    return folder


@pytest.mark.parametrize("stage", ["clip", "cls"])
def test_model_cards(runs, stage):
    card = " ".join(str(model_card(read_run(runs / stage))).split())
    wrote = f"descriptions that ecgclip {__version__} wrote from measurements of the ECG, not a physician"
    assert wrote in card
    assert (NOTE in card) == (stage == "clip")
    assert "language:\n- en" in str(model_card(read_run(runs / stage)))


def test_data_card(runs, tmp_path):
    assert load_exam_table(runs / "exams")["train"][0]["report"] == TEXT
    publish_dataset(["--dataset_name_or_path", str(runs / "exams"), "--output_dir", str(tmp_path / "parquet")])
    assert NOTE in " ".join((tmp_path / "parquet" / "README.md").read_text(encoding="utf-8").split())
