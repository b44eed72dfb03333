import json
import re
from dataclasses import replace

import pytest

from data_scripts.tables.schema import ExamSchema
from reproduction.estimating import (
    CODE_15_EXAMS,
    RATES_FILE,
    Rates,
    estimate,
    measure_rates,
    planned_jobs,
    seconds_of,
    sizes_of,
)
from reproduction.recipes import RECIPES
from reproduction.settings import SETTINGS


TIMED = Rates("a machine", "a clock", "tiny", {64: 640.0}, {32: 320.0, 64: 1280.0}, 50.0, 3.0, 7.0)


def minutes_of(text):
    return float(re.search(r"\| all .*\| +([\d.]+) \|", text)[1])


def test_a_step_lies_between_those_that_were_timed():
    assert TIMED.seconds_per_step("finetune", 32) == 0.1 and TIMED.seconds_per_step("finetune", 64) == 0.05
    assert TIMED.seconds_per_step("finetune", 48) == pytest.approx(0.075)
    assert TIMED.seconds_per_step("finetune", 128) == pytest.approx(0.1)  # at the rate of the largest
    assert TIMED.seconds_per_step("pretrain", 8) == 0.1  # a small batch is not faster than the smallest


def test_time_is_that_of_steps_evaluations_and_the_rest_of_each_run():
    recipe = replace(RECIPES["demo"], batch_size=64, pretrain_batch_size=64, seeds=(0,))
    jobs = {job.name: job for job in planned_jobs(recipe, ["exp-5"], {"train": 1000, "validation": 100, "test": 50})}
    random = jobs["cells/exp-5/random/seed-0"]
    share = SETTINGS["exp-5"].share
    evaluated = 100 * share * (recipe.evaluations + 1) + 50
    assert seconds_of(random, TIMED) == pytest.approx(1000 * 0.05 + 0.3 * evaluated / 1280 + 3)
    linear = jobs["cells/exp-5/random_linear/seed-0"]
    embedded = 1000 * share + 100 * share + 50
    assert seconds_of(linear, TIMED) == pytest.approx(1000 / 50 + 0.3 * embedded / 1280 + 3)
    unknown = replace(TIMED, head_steps_per_s=None, seconds_per_run=None)
    assert seconds_of(linear, unknown) == pytest.approx(1000 * 0.05 + 0.3 * embedded / 1280 + 20)
    text = estimate(list(jobs.values()), TIMED, sizes_of(100), ExamSchema())
    total = sum(seconds_of(job, TIMED) for job in jobs.values()) + 7
    assert minutes_of(text) == pytest.approx(total / 60, abs=0.06)
    assert "assumed" not in text and "assumed 20 s" in estimate(
        list(jobs.values()), unknown, sizes_of(9), ExamSchema()
    )


def test_the_paper_takes_under_an_hour_on_an_h200_by_rates_that_were_measured():
    recipe = RECIPES["paper"]
    assert len(recipe.seeds) == 3 and recipe.encoder_preset == "fernandes2024"
    sizes = sizes_of(CODE_15_EXAMS)
    assert sum(sizes.values()) == pytest.approx(345_779, abs=2) and sizes["validation"] == 34_578
    jobs = planned_jobs(recipe, list(SETTINGS), sizes)
    assert len(jobs) == 3 + 3 * 2 * 5
    text = estimate(jobs, Rates.of("h200", "fernandes2024"), sizes, ExamSchema())
    assert 10 < minutes_of(text) < 60 and "NVIDIA H200" in text and "26 November 2026" in text


def test_every_machine_says_what_was_measured_and_when():
    known = json.loads(RATES_FILE.read_text())
    assert "h200" in known
    for name in known:
        rates = Rates.of(name, "fernandes2024")
        assert "2026" in rates.what and rates.pretrain and rates.finetune


def test_rates_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="--machine abacus: expected h200, h200-graph, or a file"):
        Rates.of("abacus", "tiny")
    with pytest.raises(ValueError, match="expected rates of tiny, found those of fernandes2024"):
        Rates.of("h200", "tiny")
    own = tmp_path / "own.json"
    entry = json.loads(RATES_FILE.read_text())["h200"]
    own.write_text(json.dumps(entry))
    assert Rates.of(str(own), "fernandes2024") == Rates.of("h200", "fernandes2024")
    own.write_text(json.dumps({**entry, "speed": 1}))
    with pytest.raises(ValueError, match="expected the entries machine, what, encoder, pretrain.*speed"):
        Rates.of(str(own), "fernandes2024")


def test_this_machine_is_timed_by_the_scripts_own_histories(tmp_path):
    schema, rates = ExamSchema(), iter((100.0, 10.0, 1000.0))

    def script(words):
        flags = {words[i]: words[i + 1] for i in range(len(words) - 1)}
        rate = next(rates)
        folder = tmp_path / flags["--output_dir"].split("/")[-1]
        folder.mkdir()
        entries = [{"ecg_per_s": rate / 7}, {"eval_loss": 1.0}, {"ecg_per_s": rate}, {"ecg_per_s": rate}]
        (folder / "history.json").write_text(json.dumps(entries))
        assert (flags["--max_train_steps"], flags["--eval_steps"]) == ("2", "2")

    recipe = replace(RECIPES["demo"], batch_size=4, pretrain_batch_size=8)
    found = measure_rates(recipe, schema, {"pretrain": script, "classify": script}, tmp_path, steps=2)
    assert found.pretrain == {8: 100.0} and found.finetune in ({4: 10.0}, {4: 1000.0})
    assert found.head_steps_per_s in (2.5, 250.0) and found.seconds_per_run >= 0
