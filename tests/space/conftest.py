"""Toy models and ECG files of every kind for the tests of the page's parts."""

import h5py
import numpy as np
import pytest

from modeling_ecgclip import CODE_LABELS, LEAD_NAMES, EcgRecord, Label, SignalSpec
from space.analysis import Analyser
from tests.space_models import MANY, write_classifier, write_models


KINDS = {
    "many": {"labels": MANY, "thresholds": (0.5,) * 71},
    "one_of_six": {"labels": CODE_LABELS, "problem_type": "single_label_classification"},
    "values": {"labels": (Label("k", "potassium"), Label("age", "age in years")), "problem_type": "regression"},
    "one_lead": {"labels": CODE_LABELS[:1], "signal": SignalSpec(("II",), 500, 5001), "thresholds": (0.5,)},
}


@pytest.fixture(scope="session")
def models(tmp_path_factory, text_model, exam_table):
    return write_models(tmp_path_factory.mktemp("space-models"), text_model, exam_table)


@pytest.fixture(scope="session")
def analyser(models):
    return Analyser.load(*map(str, models))


@pytest.fixture(scope="session")
def analysis_of(tmp_path_factory, signal):
    """Gives analyser and analysis of one ECG by the name of a model's kind; each is made once."""
    folder, made = tmp_path_factory.mktemp("kinds"), {}

    def find(kind):
        if kind not in made:
            analyser = Analyser.load(str(write_classifier(folder / kind, **KINDS[kind])))
            made[kind] = analyser, analyser.analyse(EcgRecord(signal, 400.0, LEAD_NAMES, "mV", "ecg.npy"))
        return made[kind]

    return find


@pytest.fixture(scope="session")
def signal():
    """Ten seconds of a beat a second in each lead, millivolts at 400 Hz; the limb leads obey their laws."""
    t = np.arange(4000) / 400
    beat = np.exp(-(((t % 1) - 0.5) ** 2) / 2e-4)
    size = np.array([0.8, 1.2, 0.4, -1.0, 0.2, 0.8, 0.3, 0.6, 0.9, 1.5, 1.3, 1.1])[:, None]
    return (size * (beat + 0.02 * np.sin(9 * t))).astype(np.float32)


@pytest.fixture(scope="session")
def files(tmp_path_factory, signal):
    """Paths of the same ECG as `.npy`, `.npz`, `.csv`, `.hdf5` (exams 7 and 8)."""
    folder = tmp_path_factory.mktemp("ecgs")
    paths = {suffix: folder / f"ecg.{suffix}" for suffix in ("npy", "npz", "csv", "hdf5")}
    np.save(paths["npy"], signal)
    np.savez(paths["npz"], ecg=signal, sampling_rate=400.0, unit="mV", lead_names=LEAD_NAMES)
    np.savetxt(paths["csv"], signal.T, delimiter=",", header=",".join(LEAD_NAMES), comments="", fmt="%.5f")
    with h5py.File(paths["hdf5"], "w") as file:
        file["exam_id"] = [7, 8]
        tracings = np.zeros((2, 4096, 12), np.float32)
        tracings[:, 48:-48] = 2 * signal.T
        file["tracings"] = tracings
    return paths
