"""Reports for a table that has none: the same rows however they are made, a true record, no diagnosis."""

import errno
import json

import numpy as np
import pytest
from datasets import load_dataset

from data_scripts import describe
from data_scripts.conversion import describing
from data_scripts.tables.digest import table_digest
from data_scripts.tables.schema import SPLITS, conversion_record, load_exam_table
from data_scripts.text.words_left import diagnoses_named
from modeling_ecgclip import __version__
from tests.small_tables import write_small_table


N_EXAMS = 50


@pytest.fixture(scope="module")
def exams(tmp_path_factory):
    """CODE-15%'s layout with 50 simulated exams without reports, one of which is noise, as a table."""
    from tests.data_scripts.code15_layout import exams_frame, make_tracing, write_part

    folder = tmp_path_factory.mktemp("describe")
    part, ids = "exams_part0.hdf5", range(61, 61 + N_EXAMS)
    tracings = [make_tracing(i, 2934 if i % 3 == 0 else 4096) for i in ids]
    tracings[7] = np.random.default_rng(0).normal(scale=0.4, size=(4096, 12)).astype(np.float32)
    write_part(folder / part, ids, tracings)
    exams_frame({part: ids}).to_csv(folder / "exams.csv", index=False)
    from data_scripts.code15 import main

    main(["--source_dir", str(folder), "--output_dir", str(folder / "exams")])
    return folder / "exams"


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(describing, "ROWS_PER_PIECE", 8)


def run(exams, output, *arguments):
    record = describe.main(["--dataset_name_or_path", str(exams), "--output_dir", str(output), *map(str, arguments)])
    return record, load_exam_table(output)


@pytest.fixture(scope="module")
def described(exams, tmp_path_factory):
    output = tmp_path_factory.mktemp("described") / "table"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(describing, "ROWS_PER_PIECE", 8)
        record, table = run(exams, output, "--explain")
    return output, record, table


def test_only_the_reports_are_new(exams, described):
    before, (_, _, after) = load_exam_table(exams), described
    for split in SPLITS:
        assert after[split].features == before[split].features
        for name in set(before[split].column_names) - {"report", "report_id"}:
            assert after[split].data.column(name).to_pylist() == before[split].data.column(name).to_pylist(), name
    reports = [row for split in SPLITS for row in after[split].select_columns(["report", "report_id"])]
    by_id = {}
    for row in reports:
        assert by_id.setdefault(row["report_id"], row["report"]) == row["report"]
        assert (row["report_id"] == -1) == (row["report"] is None)
        assert row["report"] is None or not diagnoses_named(row["report"])
    assert sum(row["report"] is not None for row in reports) >= N_EXAMS - 3


def test_the_record_says_who_described(exams, described):
    output, record, table = described
    assert record == conversion_record(output) and record["digest"] == table_digest(table)
    reports, before = record["reports"], conversion_record(exams)
    assert reports["described_by"] == f"ecgclip {__version__}"
    assert reports["note"] == (
        f"Described in Portuguese by ecgclip {__version__} from measurements of the ECG, not by a physician."
    )
    assert reports["free_of_conclusions"] is True and reports["with_diagnosis_words"] == 0
    assert reports["exams_with_report"] + sum(reports["exams_without_description"].values()) == N_EXAMS
    assert {name: record[name] for name in ("source", "kept", "splits", "labels")} == {
        name: before[name] for name in ("source", "kept", "splits", "labels")
    }
    assert reports["note"] in (output / "README.md").read_text(encoding="utf-8")
    assert (output / "rejected.csv").is_file() and not output.with_name("table.incomplete").exists()
    assert len(load_dataset(str(output), split="train")) == len(table["train"])


def test_explanations_are_of_the_text_and_of_samples_that_are_there(described):
    output, _, table = described
    lines = [json.loads(line) for line in (output / describe.EXPLANATIONS).read_text(encoding="utf-8").splitlines()]
    assert [line["exam_id"] for line in lines] == [row for split in SPLITS for row in table[split]["exam_id"]]
    reports = {row["exam_id"]: row for split in SPLITS for row in table[split].remove_columns("ecg")}
    for line in lines:
        row = reports[line["exam_id"]]
        start = (4096 - row["n_samples"]) // 2
        assert line["report"] == (row["report"] or "")
        for sentence in line["sentences"]:
            assert sentence["text"] in line["report"]
            assert sentence["leads"] and sentence["samples"]
            assert all(start <= begin < end <= start + row["n_samples"] for begin, end in sentence["samples"])


def test_the_same_rows_for_any_number_of_processes(exams, described, tmp_path):
    record, _ = run(exams, tmp_path / "two", "--num_proc", 2)
    assert record["digest"] == described[1]["digest"]


def test_an_interrupted_run_goes_on(exams, described, tmp_path, monkeypatch, capsys):
    measured, whole = [], describing.describe_piece

    def fails(rows, piece, *rest):
        if len(measured) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        measured.append(piece)
        return whole(rows, piece, *rest)

    monkeypatch.setattr(describing, "describe_piece", fails)
    with pytest.raises(OSError, match="No space left"):
        run(exams, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "keeps 3 finished shards" in capsys.readouterr().err
    again = []
    monkeypatch.setattr(
        describing, "describe_piece", lambda rows, piece, *rest: again.append(piece) or whole(rows, piece, *rest)
    )
    damaged = tmp_path / "out.incomplete" / "work" / "shards" / measured[0].file
    damaged.write_text(damaged.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    record, _ = run(exams, tmp_path / "out")
    assert record["digest"] == described[1]["digest"]
    assert measured[0] in again and not set(again) & set(measured[1:])


def test_languages_and_wordings(exams, described, tmp_path):
    record, english = run(exams, tmp_path / "en", "--language", "en", "--wording", "plain")
    texts = [report for split in SPLITS for report in english[split]["report"] if report]
    assert all("QRS" in text and "bpm" in text for text in texts)
    assert record["reports"]["languages"] == {"en": len(texts)}
    portuguese = [report for split in SPLITS for report in described[2][split]["report"] if report]
    assert any("derivações" in text or "duração" in text.lower() for text in portuguese)
    other, _ = run(exams, tmp_path / "seed", "--seed", 1)
    assert other["digest"] != described[1]["digest"]


def test_reports_are_not_dropped_unasked(described, tmp_path):
    with pytest.raises(ValueError, match="exams have a report: describe them anew with --overwrite_reports"):
        run(described[0], tmp_path / "again")
    record, _ = run(described[0], tmp_path / "again", "--overwrite_reports")
    assert record["digest"] == described[1]["digest"]
    with pytest.raises(FileExistsError, match="--overwrite_output_dir"):
        run(described[0], tmp_path / "again", "--overwrite_reports")
    with pytest.raises(ValueError, match="is the table that is read"):
        run(described[0], described[0], "--overwrite_reports", "--overwrite_output_dir")


def test_other_leads_rates_and_labels_and_exams_of_noise(tmp_path):
    exams = write_small_table(tmp_path / "exams", {"validation": 0}, report=None, report_id=-1)
    record, table = run(exams, tmp_path / "out")
    assert len(table["validation"]) == 0 and record["kept"] == 84
    reports = record["reports"]
    assert reports["exams_with_report"] + sum(reports["exams_without_description"].values()) == 84
    assert record["digest"] == table_digest(table)
