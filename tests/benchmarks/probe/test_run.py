import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.probe.encoders import Encoder, embeddings
from benchmarks.probe.measure import Exams
from benchmarks.probe.run import main
from modeling_ecgclip import EcgFeatureExtractor, EcgResNetForSignalClassification, save_for_hub
from modeling_ecgclip.signal_ecgclip import SignalSpec
from modeling_ecgclip.towers_ecgclip import encoder_config
from tests.data_scripts.test_ptbxl import make_folder
from tests.small_tables import LABELS, SCHEMA, SIZES, write_small_table
from training.data import ExamSplit, ExamTable


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_small_table(tmp_path_factory.mktemp("tables") / "small")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "cls"
    config = encoder_config("tiny", **vars(SCHEMA.signal))
    save_for_hub(EcgResNetForSignalClassification(config), folder, EcgFeatureExtractor.for_model(config))
    return folder


def test_one_command_gives_one_table(table, classifier, tmp_path, capsys):
    command = ["--dataset_name_or_path", str(table), "--fractions", "1", "0.5", "--draws", "2", "--n_resamples", "50"]
    command += ["--encoders", f"ours={classifier}", "random=random:tiny:3", "--output_dir", str(tmp_path)]
    record = main(command)
    text = (tmp_path / "probe.md").read_text()
    assert text.strip() in capsys.readouterr().out
    assert json.loads((tmp_path / "probe.json").read_text()) == record
    assert str(classifier.parent) not in json.dumps(record)
    results = record["label_sets"]["small"]["results"]
    combinations = {(one["protocol"], one["encoder"], one["fraction"]) for one in results}
    assert len(results) == len(combinations) == 8
    first = results[0]
    assert list(first["per_class"]) == [label.name for label in LABELS]
    # The amplitude tells the label, which even random weights let through.
    assert first["mean"]["auroc"] > 0.65
    for encoder in ("ours", "random"):
        assert f"| {encoder}" in text
    assert f"train {SIZES['train']} ({SIZES['train'] // 2})" in text
    assert main(command) | {"seconds": 0} == record | {"seconds": 0}


def test_embeddings_are_the_models_and_computed_once(table, classifier, tmp_path, monkeypatch):
    exam_table = ExamTable.load(str(table))
    splits = [ExamSplit(rows) for rows in exam_table.splits.values()]
    found = embeddings(Encoder("ours", str(classifier)), exam_table, splits, tmp_path)
    model = EcgResNetForSignalClassification.from_pretrained(classifier).eval()
    extractor = EcgFeatureExtractor.from_pretrained(classifier)
    ecgs = np.concatenate([split.ecg(np.arange(len(split))).numpy() for split in splits]) / 1000
    values = extractor(
        list(ecgs), sampling_rate=100, lead_names=SCHEMA.signal.lead_names, unit="mV", return_tensors="pt"
    )["input_values"]
    by_hand = model.ecg_model(values).pooler_output.detach().numpy()
    assert found == pytest.approx(by_hand, abs=1e-4)
    monkeypatch.setattr("benchmarks.probe.encoders.ordered_batches", only_for_the_digest(monkeypatch))
    assert (embeddings(Encoder("again", str(classifier)), exam_table, splits, tmp_path) == found).all()
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.undo()
    other = embeddings(Encoder("random", "tiny", 1), exam_table, splits, tmp_path)
    assert other.shape == found.shape and np.abs(other - found).max() > 0.01
    assert len(list(tmp_path.iterdir())) == 2


def only_for_the_digest(monkeypatch):
    """Batches for one pass over three splits: a second pass would be an embedding."""
    from training.data import ordered_batches

    passes = []

    def counted(split, *more):
        passes.append(split)
        assert len(passes) <= 3, "embedded again"
        return ordered_batches(split, *more)

    return counted


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        ("clip", "NAME=FOLDER"),
        ("a=", "NAME=FOLDER"),
        ("a=random:nothing", "random:PRESET"),
        ("a=random:tiny:x", "random:PRESET"),
    ],
)
def test_encoders_that_are_none(encoder, expected):
    with pytest.raises(ValueError, match=expected):
        Encoder.parse(encoder)


def test_two_encoders_of_one_name(table, tmp_path):
    command = ["--dataset_name_or_path", str(table), "--output_dir", str(tmp_path)]
    with pytest.raises(ValueError, match="different names"):
        main([*command, "--encoders", "a=random:tiny", "a=random:tiny:1"])


def test_a_split_without_exams_is_named(classifier, tmp_path):
    table = write_small_table(tmp_path / "small", {"validation": 0})
    command = ["--dataset_name_or_path", str(table), "--output_dir", str(tmp_path / "out")]
    with pytest.raises(ValueError, match="split validation: expected exams, found none"):
        main([*command, "--encoders", f"ours={classifier}"])


def test_another_signal_is_refused(table, tmp_path):
    folder = tmp_path / "cls"
    config = encoder_config("tiny")
    save_for_hub(EcgResNetForSignalClassification(config), folder, EcgFeatureExtractor.for_model(config))
    with pytest.raises(ValueError, match="12 leads"):
        main(["--dataset_name_or_path", str(table), "--output_dir", str(tmp_path / "o"), "--encoders", f"a={folder}"])


def test_each_encoder_is_given_the_signal_that_it_reads(classifier, tmp_path):
    """One at the paper's 400 Hz and one of its own rate, side by side on the same exams."""
    source = tmp_path / "ptbxl"
    make_folder(source, 40)
    path = source / "ptbxl_database.csv"
    frame = pd.read_csv(path)
    frame.loc[::3, "scp_codes"] = "{'AFIB': 100.0}"
    frame.to_csv(path, index=False)
    out = tmp_path / "out"
    command = ["--ptbxl_dir", str(source), "--sampling_rate", "500", "--label_sets", "code6", "--output_dir", str(out)]
    command += ["--fractions", "1", "--n_resamples", "20"]
    record = main([*command, "--encoders", "preset=random:tiny", f"own={classifier}", f"shape=random:{classifier}:2"])
    signals = {ExamTable.load(str(folder)).schema.signal for folder in (out / "tables").iterdir()}
    assert signals == {SignalSpec(), SCHEMA.signal}
    results = record["label_sets"]["code6"]["results"]
    assert [one["encoder"] for one in results[::2]] == ["preset", "own", "shape"]
    # Folders are made once, and the same weights and recordings are embedded once.
    embedded = {path.name: path.stat().st_mtime_ns for path in (out / "embeddings").iterdir()}
    assert len(embedded) == 3
    main([*command, "--encoders", f"own={classifier}"])
    assert {path.name: path.stat().st_mtime_ns for path in (out / "embeddings").iterdir()} == embedded


def test_random_weights_of_a_folders_shape(classifier):
    trained, _ = Encoder("own", str(classifier)).load(SCHEMA.signal)
    one, other = (Encoder.parse(f"a=random:{classifier}:{seed}").load(SCHEMA.signal)[0] for seed in (1, 2))
    assert one.config.to_dict() == other.config.to_dict() == trained.config.to_dict()
    weights = [next(model.parameters()).detach().numpy() for model in (trained, one, other)]
    assert all((weights[i] != weights[j]).any() for i, j in ((0, 1), (1, 2), (0, 2)))


def test_the_same_exams_are_told_from_others(table):
    splits = {name: ExamSplit(rows) for name, rows in ExamTable.load(str(table)).splits.items()}
    exams = Exams.of(splits, ["one", "two"])
    assert exams.same_as(Exams.of(splits, ["one", "two"]))
    assert not exams.same_as(Exams.of(dict(reversed(splits.items())), ["one", "two"]))
    assert not exams.same_as(Exams.of(splits, ["one", "other"]))
