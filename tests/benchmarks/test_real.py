import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.real import run
from benchmarks.real.exams import RealExam, once, real_exams
from modeling_ecgclip import EcgFeatureExtractor, EcgResNetForSignalClassification, encoder_config, save_for_hub
from modeling_ecgclip.checksums_ecgclip import SUMS_FILE
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from publishing.real_ecgs import weights_digest


def classifier(folder: Path, names=LABEL_NAMES, thresholds=(0.5,) * 6) -> Path:
    """A small classifier with random weights whose outputs have these names."""
    numbers = {name: i for i, name in enumerate(names)}
    config = encoder_config("tiny", id2label=dict(enumerate(names)), label2id=numbers, thresholds=thresholds)
    return save_for_hub(EcgResNetForSignalClassification(config).eval(), folder, EcgFeatureExtractor())


@pytest.fixture(scope="module")
def exams(sample_data) -> list[RealExam]:
    return real_exams(sample_data)


def test_sets_and_positives_are_those_that_their_sources_state(exams):
    counted = {
        name: dict(
            zip(LABEL_NAMES, (np.array([one.labels for one in exams if one.set == name]) == 1).sum(0), strict=True)
        )
        for name in ("ptbxl100", "cinc2021")
    }
    # The README of these samples counts the statements; those of CinC stand in its records.csv.
    assert counted["ptbxl100"] == {"1dAVb": 41, "RBBB": 20, "LBBB": 14, "SB": 29, "AF": 60, "ST": 45}
    assert counted["cinc2021"]["SB"] == 15 and counted["cinc2021"]["ST"] == 10
    cpsc = [one for one in exams if one.exam_id.startswith("cinc/A")]
    assert len(cpsc) == 78 and {(one.labels[3], one.labels[5]) for one in cpsc} == {(-1, -1)}


def test_an_exam_of_two_sets_counts_once(exams):
    taken = [one for one, wanted in zip(exams, once(exams), strict=True) if wanted]
    both = {one.exam_id for one in exams if one.set == "ptbxl100"} & {
        one.exam_id for one in exams if one.set == "ptbxl_sample"
    }
    assert len(both) == 172 and len(taken) == len(exams) - len(both) == len({one.exam_id for one in taken})
    assert {one.set for one in taken if one.exam_id in both} == {"ptbxl100"}


def test_what_is_missing_is_named(tmp_path):
    (tmp_path / "ptbxl100").mkdir()
    with pytest.raises(FileNotFoundError, match=r"missing ptbxl_sample, cinc2021$"):
        real_exams(tmp_path)


def test_labels_are_matched_by_name_and_refused_exams_are_named(exams, tmp_path):
    some = exams[:3]
    turned = LABEL_NAMES[::-1]
    straight, backwards = classifier(tmp_path / "a"), classifier(tmp_path / "b", turned)
    (backwards / "model.safetensors").write_bytes((straight / "model.safetensors").read_bytes())
    (backwards / SUMS_FILE).unlink()  # it is meant to differ
    found, refused, _ = run.probabilities_of(straight, some)
    np.testing.assert_allclose(run.probabilities_of(backwards, some)[0], found[:, ::-1])
    assert refused == [] and not np.isnan(found).any()
    flat = tmp_path / "flat.hea"
    flat.write_text("flat 1 500 5000\nflat.dat 16 1000/mV 16 0 0 0 0 II\n", encoding="utf-8")
    flat.with_suffix(".dat").write_bytes(bytes(10_000))
    lone = RealExam("ptbxl100", "flat", "flat", flat.with_suffix(""), (0,) * 6, 50.0, None)
    found, refused, _ = run.probabilities_of(straight, [some[0], lone])
    assert np.isnan(found[1]).all() and not np.isnan(found[0]).any()
    assert [one["exam_id"] for one in refused] == ["flat"] and "lead" in refused[0]["reason"]


@pytest.mark.parametrize("changes", [{"names": ("a", *LABEL_NAMES[1:])}, {"thresholds": None}])
def test_other_classifiers_are_refused(tmp_path, changes):
    with pytest.raises(ValueError, match="expected a classifier of 1dAVb"):
        run.probabilities_of(classifier(tmp_path / "cls", **changes), [])


def test_record_and_predictions_of_a_run(exams, sample_data, tmp_path, capsys, monkeypatch):
    some = [one for one in exams if one.set != "ptbxl100"][::12] + exams[:20]
    monkeypatch.setattr(run, "real_exams", lambda folder: some)
    folder = classifier(tmp_path / "cls")
    files = {name: tmp_path / name for name in ("real_ecgs.json", "real.parquet")}
    flags = ["--output_file", str(files["real_ecgs.json"]), "--predictions_file", str(files["real.parquet"])]
    run.main(["--model_name_or_path", str(folder), *flags])
    record = json.loads(files["real_ecgs.json"].read_text(encoding="utf-8"))
    assert record["weights"] == weights_digest(folder) and record["refused"] == []
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["exams"] == {name: found["n_exams"] for name, found in record["sets"].items()}
    assert told["exams"]["all"] == once(some).sum() < len(some)
    rows = pq.read_table(files["real.parquet"]).to_pandas()
    assert rows["split"].value_counts().to_dict() == told["exams"]
    assert rows[rows["split"] == "all"]["exam_id"].is_unique
