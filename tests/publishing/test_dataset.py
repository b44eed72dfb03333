"""An exam table goes out as Parquet with a card, and comes back with the same rows, streamed too."""

import contextlib
import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict, load_dataset
from huggingface_hub import DatasetCard

from common.checksums import SUMS_FILE, verify_checksums
from data_scripts.code15 import main as convert_code15
from data_scripts.tables.digest import table_digest
from data_scripts.tables.schema import SPLITS, ExamSchema, load_exam_table
from data_scripts.text.reports import ReportCutter
from modeling_ecgclip import LABEL_NAMES, Label, SignalSpec
from publishing import dataset
from publishing.dataset_card import table_facts
from tests.conftest import PROJECT
from tests.loopback_hub import LoopbackHub
from tests.modeling_ecgclip.test_checksums_ecgclip import flip_bit


SHARD_SIZE, SHARD_BYTES = "2500KB", 2_500_000  # 25 exams: the 90 of the training split need four files
NAME = "datasets/clinic/exams"


@pytest.fixture(scope="module")
def table(exam_table):
    return load_exam_table(exam_table)


@pytest.fixture(scope="module")
def recorded_table(exam_table, table, tmp_path_factory):
    """A copy of the exam table with the records of a conversion that rejected two exams."""
    folder = tmp_path_factory.mktemp("recorded") / "exams"
    DatasetDict(table).save_to_disk(str(folder))
    cutter = ReportCutter()
    for split in SPLITS:
        for report in table[split]["report"]:
            cutter.cut(f"{report} Conclusão: fibrilação atrial")
    record = {
        "source": "simulated",
        "found": 152,
        "kept": 150,
        "rejected": 2,
        "rejected_by_reason": {"all-zero tracing": 2},
        "splits": table_facts(table)["splits"],
        "reports": cutter.facts() | {"languages": {"pt": 149, "unclear": 1}},
        "split_rule": "by hand",
        "simulation": {"generator": "toy", "seed": 4, "prevalence_scale": 2.0, "report_reader": "independent"},
        "digest": table_digest(table),
    }
    (folder / "conversion.json").write_text(json.dumps(record))
    (folder / "rejected.csv").write_text(
        "record,reason,detail\n1,all-zero tracing,\n2,all-zero tracing,/archive/raw/b.dat: zeros\n"
    )
    text_table = folder / "text_table" / "toy-mean"
    text_table.mkdir(parents=True)
    (text_table / "text_table.json").write_text(
        json.dumps({"text_model": "toy", "pooling": "mean", "width": 32, "count": 5})
    )
    return folder


@pytest.fixture(scope="module")
def published(recorded_table, tmp_path_factory):
    """The folder that the command writes without a repository."""
    folder = tmp_path_factory.mktemp("published") / "made"
    arguments = ["--dataset_name_or_path", str(recorded_table), "--output_dir", str(folder)]
    dataset.main([*arguments, "--max_shard_size", SHARD_SIZE, "--include_text_table"])
    return folder


def code_of(card: str) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    return code


def test_files(published):
    names = sorted(path.relative_to(published).as_posix() for path in published.rglob("*") if path.is_file())
    shards = [f"data/train-{i:05d}-of-00004.parquet" for i in range(4)]
    shards += [f"data/{split}-{i:05d}-of-00002.parquet" for split in ("test", "validation") for i in range(2)]
    expected = ["README.md", "conversion.json", "rejected.csv", "text_table/toy-mean/text_table.json", *shards]
    assert names == sorted([*expected, SUMS_FILE])
    assert verify_checksums(published) == sorted(expected)
    assert [path.name for path in published.parent.iterdir()] == ["made"]


def test_load_dataset_finds_splits_and_the_same_rows(published, table, tmp_path):
    loaded = load_dataset(str(published), cache_dir=str(tmp_path))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 90, "validation": 30, "test": 30}
    assert loaded["train"].features == table["train"].features
    assert loaded["test"][:] == table["test"][:]
    assert table_digest(loaded) == table_digest(table)
    assert table_digest(load_exam_table(published, streaming=True)) == table_digest(table)


def test_row_groups_are_small(table, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "ROWS_PER_GROUP", 40)
    dataset.write_publication(table, tmp_path / "made", "exams")
    file = pq.ParquetFile(tmp_path / "made" / "data" / "train-00000-of-00001.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [40, 40, 10]
    assert file.read().column("exam_id").to_pylist() == table["train"]["exam_id"][:]


def test_records_travel_without_the_folders_of_this_machine(published, recorded_table):
    lines = (published / "rejected.csv").read_text().splitlines()
    assert lines == ["record,reason,detail", "1,all-zero tracing,", "2,all-zero tracing,b.dat: zeros"]
    records = [json.loads((folder / "conversion.json").read_text()) for folder in (published, recorded_table)]
    assert records[0] == records[1]


def test_card_says_what_the_data_knows(published, table):
    card = DatasetCard.load(published / "README.md")
    assert card.data.pretty_name == "ECG exams of ecgclip's simulator"
    assert (card.data.language, card.data.license, card.data.size_categories) == (["pt"], "apache-2.0", ["n<1K"])
    assert {"ecg", "simulated"} <= set(card.data.tags)
    assert card.data.configs[0]["data_files"][1] == {"split": "validation", "path": "data/validation-*"}
    counts = {split["name"]: split["num_examples"] for split in card.data.dataset_info["splits"]}
    assert counts == {"train": 90, "validation": 30, "test": 30}
    sizes = sum(path.stat().st_size for path in published.glob("data/*.parquet"))
    assert card.data.dataset_info["download_size"] == sizes
    text = card.text
    assert text.index("**Simulated.**") < 200
    assert "152 records were found, 150 kept and 2 rejected: 2 x all-zero tracing" in text
    assert "150 exams of 50 patients: 12-lead ECGs in whole microvolts at 400 Hz, with 6 labels; 150 exams" in text
    positive = sum(labels["1dAVb"] == 1 for labels in table["train"]["labels"])
    assert re.search(rf"\| 1dAVb +\| first-degree AV block +\| +{positive} of 90 \({positive / 90:.1%}\) \|", text)
    assert "| `labels` | 6 named int8 | 1dAVb, RBBB, LBBB, SB, AF, ST: 1, 0, or -1 for unknown |" in text
    assert "| train | 90 | 30 | 90 | `data/train-00000-of-00004.parquet` and 3 more |" in text
    assert "toy-mean` (5 distinct" in text
    assert "toy, seed 4, prevalences times 2.0, reader of reports and labels: independent" in text
    assert "150 exams have a report, 5 of them distinct; language: Portuguese (149), unclear (1)." in text
    assert "Conclusions and labels were cut off at their headings. None of 150 texts names a diagnosis" in text
    assert "may be used to diagnose" in text
    assert table_digest(table) in text


def test_code_of_the_card_runs(published, table, capsys):
    names = {}
    with contextlib.chdir(published.parent):
        exec(code_of((published / "README.md").read_text()), names)
    exam = table["test"][0]
    assert capsys.readouterr().out.startswith(f"{exam['exam_id']} 10.2 s lead II from ")
    assert names["signal"].shape == (12, 4096)
    assert names["ecg"][1, 0] == np.float32(exam["ecg"][4096]) / 1000
    assert names["labels"] == exam["labels"]
    assert names["present"] == [name for name in LABEL_NAMES if exam["labels"][name]]


@pytest.fixture
def other_table():
    """Two leads at 100 Hz with 14 labels and a number to predict, one exam in each split."""
    labels = tuple(Label(f"L{i}", f"statement {i}") for i in range(14))
    schema = ExamSchema(SignalSpec(("I", "V2"), 100, 1000), labels, ("potassium",))
    row = {
        "source": "ptbxl",
        "ecg": np.arange(2000, dtype=np.int16),
        "n_samples": 900,
        "sampling_rate": 100,
        "lead_names": ["I", "V2"],
        "age": None,
        "sex": None,
        "labels": {f"L{i}": i % 3 - 1 for i in range(14)},
        "report": None,
        "report_id": -1,
        "quality": ["cropped"],
    }
    splits = {}
    for split, potassium in zip(SPLITS, (4.25, None, 3.5), strict=True):
        exam = row | {"exam_id": split, "patient_id": split, "targets": {"potassium": potassium}}
        splits[split] = Dataset.from_list([exam], features=schema.features)
    return DatasetDict(splits), schema


def test_card_states_the_table_s_own_signal_labels_and_targets(other_table, tmp_path, capsys):
    table, schema = other_table
    record = schema.to_dict() | {"splits": table_facts(table)["splits"], "found": 3, "kept": 3, "rejected": 0}
    dataset.write_publication(table, tmp_path / "made", "exams", record | {"rejected_by_reason": {}})
    card = DatasetCard.load(tmp_path / "made" / "README.md")
    text = card.text
    assert "3 exams of 3 patients: 2-lead ECGs in whole microvolts at 100 Hz, with 14 labels. No patient" in text
    assert "2 x 1000 samples at 100 Hz" in text and "cut or zero-padded to 1000 samples (10.00 s)" in text
    rows = [line.split()[1] for line in text.splitlines() if re.match(r"\| L\d", line)]
    assert rows[:4] == ["L2", "L5", "L8", "L11"] and len(rows) == 14  # those with positives come first
    assert "<summary>The other 2</summary>" in text and "statement 13" in text
    assert re.search(r"\| potassium \| +3.5 to 4.25 \| +1 \| +0 \| +1 \|", text)
    assert "| `targets` | 1 named float32 | numbers to predict: potassium; null where unknown |" in text
    assert "2-lead" in card.data.tags and "12-lead" not in str(card)
    with contextlib.chdir(tmp_path):
        exec(code_of(text), {})
    said = capsys.readouterr().out
    assert said == "test 9.0 s lead I from 0.05 to 0.95 mV ['L2', 'L5', 'L8', 'L11']\n"
    assert table_digest(load_exam_table(tmp_path / "made", streaming=True)) == table_digest(table)


def test_writing_again_uses_what_is_there(table, published, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "made"
    written = []
    true_write = dataset.pq.ParquetWriter

    def counted(path, *arguments, **keywords):
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(path.name)
        return true_write(path, *arguments, **keywords)

    monkeypatch.setattr(dataset.pq, "ParquetWriter", counted)
    with pytest.raises(OSError, match="No space left"):
        dataset.write_publication(table, folder, "exams", max_shard_bytes=SHARD_BYTES)
    assert not folder.exists()
    written.clear()
    monkeypatch.setattr(dataset.pq, "ParquetWriter", lambda *a, **k: written.append(a[0].name) or true_write(*a, **k))
    dataset.write_publication(table, folder, "exams", max_shard_bytes=SHARD_BYTES)
    assert len(written) == 8 - 3
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    for path in published.glob("data/*.parquet"):
        assert (folder / "data" / path.name).read_bytes() == path.read_bytes()

    written.clear()
    dataset.write_publication(table, folder, "exams", max_shard_bytes=SHARD_BYTES)
    assert written == []

    # One bit in a page of numbers: the file still opens, and states the digest of the true rows.
    damaged = folder / "data" / "train-00001-of-00004.parquet"
    flip_bit(damaged, damaged.stat().st_size // 2)
    with pytest.raises(ValueError, match=f"{damaged}: expected SHA-256"):
        load_exam_table(folder)
    dataset.write_publication(table, folder, "exams", max_shard_bytes=SHARD_BYTES)
    assert written == ["train-00001-of-00004.incomplete.parquet"]
    assert f"{damaged} is not what was written there" in capsys.readouterr().err
    assert damaged.read_bytes() == (published / "data" / damaged.name).read_bytes() and verify_checksums(folder)

    # What an earlier release published states no digests: nothing is known of its files.
    written.clear()
    (folder / SUMS_FILE).unlink()
    dataset.write_publication(table, folder, "exams", max_shard_bytes=SHARD_BYTES)
    assert len(written) == 8 and verify_checksums(folder)

    written.clear()
    fewer = DatasetDict({split: table[split].select(range(20)) for split in SPLITS})
    dataset.write_publication(fewer, folder, "exams", max_shard_bytes=SHARD_BYTES)
    assert len(written) == 3
    assert len(list(folder.glob("data/*"))) == 3
    assert table_digest(load_exam_table(folder, streaming=True)) == table_digest(fewer)


def test_refused_folders_and_tables(table, exam_table, recorded_table, tmp_path):
    with pytest.raises(FileExistsError, match="which no publication wrote"):
        dataset.main(["--dataset_name_or_path", str(exam_table), "--output_dir", str(exam_table)])
    record = json.loads((recorded_table / "conversion.json").read_text())
    with pytest.raises(ValueError, match="states the digest 0, but the rows have"):
        dataset.write_publication(table, tmp_path / "made", "exams", record | {"digest": "0"})
    record["splits"]["test"] = record["splits"]["train"]
    with pytest.raises(ValueError, match="split test: conversion.json states exams 90, but the table holds 30"):
        dataset.write_publication(table, tmp_path / "made", "exams", record)
    none = DatasetDict({split: table[split].select([]) for split in SPLITS})
    with pytest.raises(ValueError, match="expected exams to publish, found none"):
        dataset.write_publication(none, tmp_path / "made", "exams")
    # Other tests embed the reports of the table that all share.
    bare = shutil.copytree(exam_table, tmp_path / "bare", ignore=shutil.ignore_patterns("text_table"))
    with pytest.raises(FileNotFoundError, match=r"python -m data_scripts.embed_reports"):
        dataset.write_publication(table, tmp_path / "made", "exams", source_folder=bare, include_text_table=True)
    assert not (tmp_path / "made").exists()


def test_arguments(exam_table):
    for more, message in (
        ([], "expected --repo_id, --output_dir, or both"),
        (["--repo_id", "no-user"], "repository id 'no-user': expected user/name"),
        (["--output_dir", "x", "--max_shard_size", "0MB"], "--max_shard_size must be at least a byte"),
        (["--output_dir", "x", "--max_shard_size", "7"], "--max_shard_size: expected a number with a unit"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            dataset.main(["--dataset_name_or_path", str(exam_table), *more])
    with pytest.raises(ValueError, match="is no folder here: name an --output_dir"):
        dataset.main(["--dataset_name_or_path", "clinic/exams", "--repo_id", "clinic/copy"])


def test_real_exams_and_empty_splits(sample_data, tmp_path):
    source = sample_data / "code15_sample"
    convert_code15(["--source_dir", str(source), "--output_dir", str(tmp_path / "exams")])
    table = load_exam_table(tmp_path / "exams")
    filled = [split for split in SPLITS if len(table[split])]
    assert len(filled) < 3  # ten exams do not fill all splits: load_dataset knows none without rows
    folder = dataset.main(["--dataset_name_or_path", str(tmp_path / "exams"), "--output_dir", str(tmp_path / "made")])
    card = DatasetCard.load(folder / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.language is None  # CODE-15% comes without reports
    assert "simulated" not in card.data.tags
    assert "**Real recordings**" in card.text
    assert "publisher = {Zenodo}" in card.text
    assert [one["split"] for one in card.data.configs[0]["data_files"]] == filled
    streamed = load_exam_table(folder, streaming=True)
    assert sorted(streamed) == sorted(SPLITS)
    assert table_digest(streamed) == table_digest(table)


REFUSALS = (
    ("", "TABLE", "opening clinic/new on the Hub: found no token; run `hf auth login`, or set HF_TOKEN"),
    ("hf_testinvalid", "TABLE", "opening clinic/new on the Hub: the Hub does not accept the token"),
    ("hf_testread", "TABLE", "opening clinic/new on the Hub: the token may not do this"),
    ("hf_testwrite", "clinic/none", "exam table clinic/none: no such folder, and no such data set on the Hub"),
    ("hf_testinvalid", "clinic/other", "exam table clinic/other: the Hub does not accept the token"),
)

# One process, since it takes long to begin: an interrupted push, two more, reading with another token, refusals.
SESSION = """
import contextlib, io, json, os, sys, urllib.request
import train_cls
from data_scripts.tables.digest import table_digest
from common.hub_access import HubAccessError
from publishing.dataset import run
from data_scripts.tables.schema import conversion_record, load_exam_table

def outcome(call, *arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = call(*arguments)
    return [status, out.getvalue(), err.getvalue()]

def load(name):
    try:
        load_exam_table(name)
    except (HubAccessError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1

table, home, refusals = json.loads(sys.argv[1])
options = ["--max_shard_size", "2500KB", "--output_dir", home + "/made"]
publish = ["--dataset_name_or_path", table, "--repo_id", "clinic/exams", "--include_text_table", *options]
seen = {"pushes": [outcome(run, publish)]}
urllib.request.urlopen(os.environ["HF_ENDPOINT"] + "/fix", data=b"")
seen["pushes"] += [outcome(run, publish), outcome(run, publish)]

os.environ["HF_TOKEN"] = "hf_testread"
tables = [load_exam_table("clinic/exams", streaming=streaming) for streaming in (False, True)]
seen["digests"] = [table_digest(one) for one in tables]
seen["kept"] = conversion_record("clinic/exams")["kept"]
training = ["--encoder_preset", "tiny", "--max_train_steps", "2", "--per_device_train_batch_size", "16"]
train_cls.main(["--dataset_name_or_path", "clinic/exams", "--output_dir", home + "/run", *training])
seen["run"] = json.load(open(home + "/run/run.json"))["data"]

seen["refusals"] = []
for token, name, _ in refusals:
    os.environ["HF_TOKEN"] = token
    arguments = ["--dataset_name_or_path", name.replace("TABLE", table), "--repo_id", "clinic/new"]
    arguments += ["--output_dir", home + "/refused"]
    seen["refusals"].append(outcome(load, name) if name == "clinic/other" else outcome(run, arguments))
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def session(recorded_table, tmp_path_factory):
    """A Hub after [`SESSION`], what was seen there, and all that it wrote to the terminal."""
    home = tmp_path_factory.mktemp("session")
    with LoopbackHub() as hub:
        hub.actions_left = 3
        arguments = json.dumps([str(recorded_table), str(home), REFUSALS])
        done = hub.run(["-c", SESSION, arguments], home, cwd=PROJECT)
        assert done.returncode == 0, done.stderr
        yield hub, json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr


def test_interrupted_push_is_repeated_in_one_private_commit(session, published):
    hub, seen, output = session
    (broken, _, told), (status, said, _), (again, _, _) = seen["pushes"]
    assert (broken, status, again) == (1, 0, 0)
    assert "Traceback" not in told
    assert "repeat the command: what has arrived is not sent again\n" in told
    assert f"published privately: {hub.endpoint}/{NAME}" in said
    assert hub.repository(NAME).private
    (commit,) = hub.commits(NAME)  # all in one, and none where nothing changed
    assert commit.title == "150 exams"
    uploads = [path for method, path in hub.requests if method == "PUT"]
    assert len(set(uploads)) == len(hub.objects) == 8
    assert not any(token in output for token in hub.rights)

    files = hub.files(NAME)
    assert len(files) == 8 + 5
    for path in published.rglob("*"):
        if path.is_file() and path.name not in ("README.md", SUMS_FILE):
            assert files[path.relative_to(published).as_posix()] == path.read_bytes()
    cards = [(published / "README.md").read_text().replace("./made", "clinic/exams"), files["README.md"].decode()]
    assert cards[0].split("Embeddings of")[0] == cards[1].split("Embeddings of")[0]
    assert "hf download clinic/exams --repo-type dataset" in cards[1]


def test_rows_come_back_and_training_reads_them(session, table):
    _, seen, _ = session
    assert seen["digests"] == [table_digest(table)] * 2
    assert seen["kept"] == 150
    assert seen["run"]["exams"] == {"train": 90, "validation": 30, "test": 30}
    assert seen["run"]["name"] == "clinic/exams"


def test_refusals_are_one_line(session):
    hub, seen, _ = session
    for (token, _, expected), (status, said, told) in zip(REFUSALS, seen["refusals"], strict=True):
        assert (status, said) == (1, "")
        assert told.startswith(f"error: {expected}")
        assert told.count("\n") == 1
        assert not token or token not in told
    assert "datasets/clinic/new" not in hub.repositories or hub.commits("datasets/clinic/new") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,x,/archive/raw/b.dat: zeros", "1,x,b.dat: zeros"),
        ("at /a b/c d/e.dat and /x/y z/f.csv: 3/4 leads", "at e.dat and f.csv: 3/4 leads"),
        ("'/data/some where/b.dat'", "'b.dat'"),
        ("https://example.org/a/b, c/d.dat, 5/6", "https://example.org/a/b, c/d.dat, 5/6"),
    ],
)
def test_folders_are_cut_off_and_nothing_else(text, expected):
    assert dataset.without_folders(text) == expected
