import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from transformers import pipeline

from modeling_ecgclip import LEAD_NAMES, EcgClassificationPipeline, EcgRecord, measure_ecg, read_ecg
from space.analysis import Analyser
from space.example_list import EXAMPLES
from tests.space_models import THRESHOLDS


def record_of(signal, rate=400.0):
    return EcgRecord(signal, rate, None, "mV", "ecg.npy")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.files[0])
def test_probabilities_are_those_of_the_pipeline(analyser, models, example):
    path = example.paths[0]
    classify = pipeline("ecg-classification", model=str(models[0]), pipeline_class=EcgClassificationPipeline)
    analysis = analyser.analyse(read_ecg(path))
    found = analysis.findings.entries
    assert [{"label": one.name, "score": one.score, "positive": one.positive} for one in found] == classify(str(path))
    by_label = {one.name: one.threshold for one in found}
    assert [by_label[label.name] for label in analyser.labels] == pytest.approx(THRESHOLDS)
    assert analysis.marked_label == next((one.name for one in found if one.score >= one.threshold), None)


def test_shown_is_what_the_model_saw(analyser, signal):
    long = np.concatenate([signal, 1.2 * signal], axis=1)  # 20 s
    analysis = analyser.analyse(record_of(long))
    np.testing.assert_array_equal(analysis.signal, analysis.input_values[0].numpy())
    np.testing.assert_allclose(analysis.signal, long[:, 1952:6048], atol=1e-6)
    assert analysis.recording == pytest.approx(
        {"sampling_rate": 400, "duration_s": 20, "analysed_from_s": 4.88, "analysed_to_s": 15.12}
    )
    assert "Of 20.0 s the middle 10.2 s are analysed and shown." in analysis.notes
    # Measured is the whole recording, marked what is shown of it.
    assert analysis.measurements.to_dict() == measure_ecg(long, 400).to_dict()
    np.testing.assert_allclose(analysis.marked_measurements.marks_s, analysis.measurements.marks_s - 4.88)


def test_what_was_done_is_noted(analyser, signal):
    broken = signal.copy()
    broken[3, 5] = np.nan
    record = EcgRecord(broken[[0, 1, *range(3, 12)]], 500.0, None, "mV", "x")
    with pytest.raises(ValueError, match="x: expected lead_names for each lead"):
        analyser.analyse(record)
    names = ("I", "II", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5")
    record = EcgRecord(broken[[0, 1, *range(3, 11)]], 500.0, names, "mV", "x")
    notes = analyser.analyse(record, ["said before"], repair_nan=True, allow_missing_leads=True).notes
    assert notes[0] == "said before"
    assert "Computed from I and II: III." in notes
    assert "Not recorded, set to 0 mV: V6." in notes
    assert "aVR: 0.0% of the samples were not recorded, and filled by straight lines." in notes
    assert "Resampled to the model's rate." in notes


def test_what_is_doubtful_is_noted(analyser):
    noise = np.random.default_rng(0).normal(0, 0.3, (12, 1600))
    analysis = analyser.analyse(EcgRecord(noise, 400.0, LEAD_NAMES, "mV", "x"))
    assert any(note.startswith("This does not look like an ECG but like noise") for note in analysis.notes)
    assert any(note.startswith("The limb leads disagree: ") for note in analysis.notes)
    assert any(note.startswith("4.0 s is little") for note in analysis.notes)
    codes = [one["code"] for one in analysis.quality]
    assert codes == ["limb_leads_disagree", "not_an_ecg", "short"]
    with pytest.raises(ValueError, match="x .unit mV.: the limb leads disagree"):
        analyser.analyse(EcgRecord(noise, 400.0, None, "mV", "x"))


def test_saliency_lies_on_the_samples_shown(analyser, signal):
    analysis = analyser.explain(analyser.analyse(record_of(signal[:, :3000])), "LBBB")
    saliency = analysis.saliency
    assert saliency.label == "LBBB"
    assert saliency.strength.shape == (12, 3000)
    assert sum(saliency.shares.values()) == pytest.approx(1)
    # All the change is in the beats.
    beats = np.abs(saliency.strength).sum(axis=0)[:2800].reshape(7, 400).mean(axis=0)
    assert beats[180:220].mean() > 3 * beats[:100].mean()


@pytest.mark.parametrize("n", [3000, 2999, 4096])  # of 400 Hz: the last is longer than the window
def test_another_window_s_saliency_lies_on_the_samples_shown(analysis_of, signal, monkeypatch, n):
    # Of 5,001 samples the network reads 5,120: 59 zeros on the left, 60 on the right, more around a short recording.
    analyser, _ = analysis_of("one_lead")
    longer = np.pad(signal, ((0, 0), (0, 96)), mode="edge")
    analysis = analyser.analyse(EcgRecord(longer[:, :n], 400.0, LEAD_NAMES, "mV", "ecg.npy"))
    inputs, shown = analysis.input_values[0].numpy(), analysis.signal
    assert analysis.lead_names == ("II",) and inputs.shape == (1, 5120)
    first = np.flatnonzero(inputs[0])[0]
    np.testing.assert_array_equal(inputs[:, first : first + shown.shape[1]], shown)
    places = np.arange(5120, dtype=np.float32)[None]
    monkeypatch.setattr("space.analysis.integrated_gradients", lambda *_: places)
    monkeypatch.setattr("space.analysis.smooth_saliency", lambda attributions, _: attributions)
    saliency = analyser.explain(analysis, "1dAVb").saliency
    np.testing.assert_array_equal(saliency.strength, places[:, first : first + shown.shape[1]])
    assert saliency.strongest == ""  # of a single lead


def test_own_words_are_those_of_the_pipeline(analyser, signal):
    analysis = analyser.compare(analyser.analyse(record_of(signal)), " onda P \n\nQRS alargado\n", "English")
    expected = analyser.zero_shot(
        signal,
        candidate_labels=["onda P", "QRS alargado"],
        hypothesis_template="Electrocardiogram with {}.",
        sampling_rate=400,
        unit="mV",
    )
    assert [{key: one[key] for key in ("label", "score")} for one in analysis.words] == expected
    assert analysis.words[0].keys() == {"label", "score", "similarity", "lead", "ahead_of", "remark"}
    assert sum(one["score"] for one in analysis.words) == pytest.approx(1)


def test_nearest_reports(analyser, signal):
    analysis = analyser.analyse(record_of(signal))
    with torch.inference_mode():
        embeds = analyser.zero_shot.model.get_ecg_features(analysis.input_values)[0].numpy()
    expected = sorted(analyser.reports.text_embeds @ embeds, reverse=True)
    assert [one["similarity"] for one in analysis.nearest] == pytest.approx(expected[:5], abs=1e-6)
    assert analysis.reports_source == "simulated"


def test_without_dual_encoder(models, signal):
    analyser = Analyser.load(str(models[0]))
    analysis = analyser.analyse(record_of(signal))
    assert (analysis.words, analysis.nearest, analysis.clip_model) == (None, None, None)
    with pytest.raises(ValueError, match="nearest reports need the dual encoder"):
        Analyser.load(str(models[0]), report_index="index.npz")


def test_json_has_no_path_of_the_server(analyser, models, signal):
    result = analyser.explain(analyser.analyse(record_of(signal)), "AF").to_dict()
    text = json.dumps(result, allow_nan=False)
    assert str(models[0].parent) not in text
    assert (result["model"], result["clip_model"]) == ("cls", "clip")
    assert "not a medical device" in result["disclaimer"]
    assert result["saliency"]["label"] == "AF"


def test_what_is_kept_is_not_the_recording(analyser, signal):
    long = np.tile(signal, 60)  # ten minutes: 11.5 MB
    analysis = analyser.compare(analyser.explain(analyser.analyse(record_of(long)), "AF"), "a\nb", "English")
    assert analysis.signal.base is None and analysis.signal.shape == (12, 4096)
    assert analysis.n_bytes < 2**21 < long.nbytes
    assert analysis.n_bytes == pytest.approx(len(pickle.dumps(analysis)), rel=0.2)


def test_the_dual_encoder_reads_an_ecg_once(analyser, signal, monkeypatch):
    analyser.yardstick("English")  # the other ECGs are read at first use
    read = []
    features = analyser.zero_shot.model.get_ecg_features
    monkeypatch.setattr(
        analyser.zero_shot.model, "get_ecg_features", lambda *a, **k: read.append(1) or features(*a, **k)
    )
    analysis = analyser.analyse(record_of(signal))
    for words in ("a\nb", "c\nd"):
        analyser.compare(analysis, words, "English")
    assert analysis.nearest and read == [1]


def test_a_model_with_code_of_its_own_is_refused(models, tmp_path):
    witness = tmp_path / "ran"
    for kind, change in (("unknown", {"model_type": "foreign"}), ("known", {})):
        folder = tmp_path / kind
        shutil.copytree(models[0], folder, ignore=shutil.ignore_patterns("SHA256SUMS"))
        (folder / "foreign.py").write_text(f"open({str(witness)!r}, 'w')\nclass Foreign: pass\n")
        for name in ("config.json", "preprocessor_config.json"):
            content = json.loads((folder / name).read_text())
            autos = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification", "AutoFeatureExtractor")
            content |= {"auto_map": dict.fromkeys(autos, "foreign.Foreign")}
            content |= change if name == "config.json" else {}
            (folder / name).write_text(json.dumps(content))
    # Its own code is never asked about: what this package knows it loads, and refuses the rest in a line.
    assert len(Analyser.load(str(tmp_path / "known")).labels) == 6
    with pytest.raises(ValueError, match="ecgclip's own code loads .* never run here: ") as caught:
        Analyser.load(str(tmp_path / "unknown"))
    assert "\n" not in str(caught.value)
    assert not witness.exists()
