import json

import pytest
import torch

from benchmarks.training_speed import run


def test_chosen_arms_are_timed_at_every_batch_size(capsys):
    arms = ["train plain", "train ours"]
    words = ["--preset", "tiny", "--batch_sizes", "8", "4", "--steps", "3", "--turns", "1", "--num_exams", "60"]
    run.main([*words, "--loss_steps", "0", "--threads", "1", "--arms", *arms])
    *table, line = capsys.readouterr().out.strip().splitlines()
    assert [cell.strip() for cell in table[0].split("|")[1:-1]] == ["ECG/s at batch", "8", "4"]
    speed = json.loads(line)["speed"]
    assert list(speed) == ["8", "4"]
    for of_size in speed.values():
        assert list(of_size["ecg_per_s"]) == arms and all(rate > 0 for rate in of_size["ecg_per_s"].values())
        assert list(of_size["train_ratio"]) == ["train ours"] and of_size["infer_ratio"] == {}
        assert list(of_size["matrix_peak_share"]) == arms and of_size["failed"] == {}


def test_an_arm_that_lacks_memory_is_named_in_the_table(capsys):
    speeds = {
        8: {"ecg_per_s": {"train plain": 40.0}, "matrix_peak_share": {"train plain": 0.5}, "failed": {}},
        2048: {"ecg_per_s": {}, "matrix_peak_share": {}, "failed": {"train plain": run.OUT_OF_MEMORY}},
    }
    run.print_table(speeds, ["train plain"])
    cells = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].split("|")[1:-1]]
    assert cells == ["train plain", "40.0 (50%)", "out of memory"]


def test_a_plain_loop_in_bf16_differs_from_float32_by_its_precision_alone():
    shapes = {"tracings": (4, 64, 12), "labels": (4, 6)}
    file = {
        name: torch.linspace(0, 1, torch.Size(shape).numel()).reshape(shape).numpy() for name, shape in shapes.items()
    }

    def losses(bf16):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12 * 64, 6))
        return list(run.plain.training(model, file, iter([[0, 1], [2, 3], [1, 2]]), torch.device("cpu"), bf16))

    exact, rounded = losses(False), losses(True)
    assert exact != rounded and rounded == pytest.approx(exact, rel=0.02)
