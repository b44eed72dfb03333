"""A table whose source names no patients, from its conversion to the cards of both stages: each says so."""

import json
import shutil

import pandas as pd
import pytest

import train_clip
import train_cls
from data_scripts import embed_reports
from data_scripts.make_text_model import make_text_model
from data_scripts.tables.schema import load_exam_table, patients_known
from data_scripts.wfdb_folder import main as convert
from publishing.card import model_card
from publishing.dataset import main as publish_dataset
from publishing.run_folder import read_run
from tests.data_scripts.wfdb_layout import make_signal, write_record


TRAINING = ["--encoder_preset", "tiny", "--per_device_train_batch_size", "16", "--max_train_steps", "1"]
TRAINING += ["--eval_steps", "1", "--logging_steps", "1", "--checkpointing_steps", "no", "--allow_one_sided_labels"]
FALSE = "No patient is in two splits"


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Folder of two exam tables of the same 24 records, with and without a column of patients."""
    folder = tmp_path_factory.mktemp("tables")
    rows = []
    for i in range(24):
        write_record(folder / "records", f"exam{i}", make_signal(i, 1000), fs=100)
        report = ("Onda P normal. Conclusão: FA", "BRE. Conclusão: BRE", "QRS alargado. Conclusão: BRD")[i % 3]
        split = "validation" if i % 6 == 4 else "test" if i % 6 == 5 else "train"
        rows.append({"record": f"exam{i}", "patient_id": f"P{i}", "report": report, "split": split, "AF": i // 6 % 2})
    table = pd.DataFrame(rows)
    for name, columns in (("known", table), ("unknown", table.drop(columns="patient_id"))):
        columns.to_csv(folder / f"{name}.csv", index=False)
        arguments = ["--source_dir", str(folder / "records"), "--table", str(folder / f"{name}.csv")]
        convert([*arguments, "--output_dir", str(folder / name)])
    return folder


@pytest.fixture(scope="module")
def runs(tables):
    """Both stages' runs on the table without patients."""
    make_text_model(["Onda P normal.", "BRE.", "QRS alargado."], tables / "text_model", hidden_size=32)
    data = ["--dataset_name_or_path", str(tables / "unknown")]
    text = ["--text_model_name_or_path", str(tables / "text_model")]
    embed_reports.main([*data, *text])
    train_clip.main([*data, *text, "--output_dir", str(tables / "clip"), *TRAINING[:-1]])
    start = ["--model_name_or_path", str(tables / "clip")]
    train_cls.main([*data, *start, "--labels", "AF", "--output_dir", str(tables / "cls"), *TRAINING])
    return tables


def test_conversion(tables, capsys):
    folder = tables / "unknown"
    record = json.loads((folder / "conversion.json").read_text())
    assert "each exam counts as its own patient" in record["patients"]
    readme = (folder / "README.md").read_text()
    assert "Split by exam; patients unknown (not stated by the source" in readme and FALSE not in readme
    assert FALSE in (tables / "known" / "README.md").read_text()
    for name in ("known", "unknown"):
        table = load_exam_table(tables / name)
        known = json.loads((tables / name / "conversion.json").read_text())
        assert patients_known(table, known) is (name == "known")
        assert patients_known(table) is (name == "known")  # by the ids alone


def test_card_of_the_data_set(tables, tmp_path):
    shutil.copytree(tables / "unknown", tmp_path / "table")
    for name, folder in (("unknown", tmp_path / "table"), ("known", tables / "known")):
        publish_dataset(["--dataset_name_or_path", str(folder), "--output_dir", str(tmp_path / name)])
    text = (tmp_path / "unknown" / "README.md").read_text()
    assert "24 exams: 12-lead ECGs" in text
    assert "Split by exam; patients unknown (not stated by the source: each exam counts as its own patient)." in text
    assert FALSE not in text and "of 24 patients" not in text and "| train | 16 | unknown |" in text
    assert "the exam's own: patients are unknown" in text
    # Eight descriptions name a bundle branch block above their heading.
    assert "8 of 24 texts name a diagnosis (LBBB 8)" in text
    text = (tmp_path / "known" / "README.md").read_text()
    assert FALSE in text and "24 exams of 24 patients" in text


@pytest.mark.parametrize("name", ["clip", "cls"])
def test_cards_of_both_stages(runs, name):
    text = (runs / name / "README.md").read_text()
    assert "Split by exam; patients unknown: exams of one patient may be in two splits." in text
    assert "no patient is in two splits" not in text and "| patients" not in text
    assert "4 exams, patients unknown, none of them in training or validation" in text
    assert "resamples of exams" in text and "of patients." not in text
    assert "- Patients are unknown" in text
    assert ("Of the exams that `clip` was trained on the patients are unknown" in text) == (name == "cls")
    # Both know of the diagnoses that pre-training read.
    assert "Pre-training saw reports that state diagnoses: 8 of 24 texts name a diagnosis (LBBB 8" in text


def test_card_of_pre_training_says_what_its_texts_name(runs):
    text = (runs / "clip" / "README.md").read_text()
    assert "no column of labels was used in training, but reports that state diagnoses: 8 of 24 texts name" in text
    assert "Conclusions and labels were cut off at their headings. 8 of 24 texts name a diagnosis (LBBB 8)" in text


def test_the_plan_that_is_printed(runs, caplog):
    caplog.set_level("INFO")
    data = ["--dataset_name_or_path", str(runs / "unknown"), "--labels", "AF"]
    train_cls.main([*data, "--output_dir", str(runs / "again"), *TRAINING])
    assert "patients in two splits  unknown: split by exam" in caplog.text


def test_records_of_earlier_runs_follow_their_conversion(runs, tmp_path):
    folder = shutil.copytree(runs / "cls", tmp_path / "cls", ignore=shutil.ignore_patterns("SHA256SUMS"))
    record = json.loads((folder / "run.json").read_text())
    del record["data"]["patients_known"], record["starts_from"]["data"]["patients_known"]
    del record["starts_from"]["data"]["reports"]
    (folder / "run.json").write_text(json.dumps(record))
    text = str(model_card(read_run(folder)))
    assert "Split by exam; patients unknown" in text and "Of the exams that" not in text
    assert "Pre-training saw reports that state diagnoses. So labels" in text
