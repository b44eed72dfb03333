import shutil

from modeling_ecgclip import Label
from publishing.card import eval_result_file, model_card
from publishing.run_folder import read_run
from tests.publishing.runs import AGE, write_run


def test_values_have_errors_and_no_decisions(run_of):
    card = model_card(run_of("age"), repo_id="clinic/age")
    text = str(card)
    assert "Predicts age in years (age) from 12-lead ECGs." in text
    assert "8.765 [8.100, 9.400]" in text and "| 0.850 [0.800, 0.900] |" in text
    assert "| age      | age in years |   849 |         99 |  199 |" in text
    assert "with the exams whose value is known:" in text
    for word in ("positive", "threshold", "F1", "AUROC", "probability for"):
        assert word not in text
    named = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert named == {"mean absolute error, age": 8.7654, "R², age": 0.71, "Pearson's r, age": 0.85}
    assert card.data.metrics == ["mae", "r_squared", "pearsonr"]
    assert "mean absolute error of age" in eval_result_file(run_of("age"), "clinic/exams")


def test_several_values_have_a_row_each_and_what_is_unknown_is_said(tmp_path):
    run = read_run(write_run(tmp_path / "two", (*AGE, Label("k", "potassium")), "regression"))
    text = str(model_card(run))
    row = next(line for line in text.splitlines() if line.startswith("| k "))
    assert row.count("not defined (no known values)") == 4
    assert "\n| mean" in text
    assert run.stage.main_result(run) == (0.71, "mean R² over age and k")


def test_code_of_the_card_runs(run_of, tmp_path, monkeypatch, capsys):
    shutil.copytree(run_of("age").path, tmp_path / "age")
    text = str(model_card(run_of("age"), repo_id="age"))
    monkeypatch.chdir(tmp_path)
    exec(text.split("```python\n")[1].split("```", maxsplit=1)[0], {})
    name, value = capsys.readouterr().out.split()
    assert name == "age" and float(value) == float(value)
