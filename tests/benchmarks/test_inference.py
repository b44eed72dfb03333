import argparse

import numpy as np
import pytest

from benchmarks.inference import run


class Timed:
    def __init__(self, probabilities, seconds):
        self.probabilities, self.seconds = np.array(probabilities), seconds


def test_every_batch_size_has_its_columns_and_one_ecg_is_a_latency(capsys):
    arms = {
        run.BASELINE: Timed([[0.2, 0.9]], {1: [0.004, 0.004], 512: [1.0, 1.0]}),
        "ours": Timed([[0.3, 0.4]], {1: [0.002, 0.002], 512: [0.25, 0.25]}),
    }
    results = run.summarise(arms, np.array([0.5, 0.5]))
    run.print_table(results, [1, 512])
    lines = capsys.readouterr().out.splitlines()
    head, ours = ([cell.strip() for cell in line.split("|")[1:-1]] for line in (lines[0], lines[-1]))
    assert head[1:5] == ["batch 1, ms", "of eager's time", "batch 512, ECG/s", "of eager's"]
    assert ours == ["ours", "2.00", "0.50", "2048", "4.00", "0.5", "1 of 2"]
    assert run.fastest(results, 512)["path"] == run.BASELINE  # the other one decides otherwise


def test_an_arm_that_is_none_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "make_arms", lambda model, folder: {run.BASELINE: None})
    monkeypatch.setattr(run.EcgResNetForSignalClassification, "from_pretrained", lambda path: None)
    options = argparse.Namespace(arms=["abacus"], model_name_or_path="x", batch_sizes=[1], turns=1)
    with pytest.raises(ValueError, match="--arms: expected some of PyTorch eager float32; found abacus"):
        run.measure(options, tmp_path)
