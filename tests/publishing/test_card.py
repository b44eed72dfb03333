"""Cards of two small runs, made here from beginning to end."""

import json
import re
import shutil
import subprocess
import sys
from importlib import metadata

import pytest
import yaml
from huggingface_hub import ModelCard, metadata_load, parse_eval_result_entries
from transformers.pipelines import PIPELINE_REGISTRY

import train_clip
import train_cls
from common.files import write_json
from data_scripts import embed_reports
from modeling_ecgclip import EcgFeatureExtractor
from publishing.card import EVAL_RESULTS, is_sealed, model_card, sealed, write_card
from publishing.run_folder import read_run
from training.evaluation import evaluate_predictions, read_predictions


ARGUMENTS = ["--encoder_preset", "tiny", "--per_device_train_batch_size", "16", "--max_train_steps", "2"]
ARGUMENTS += ["--eval_steps", "2", "--logging_steps", "1", "--checkpointing_steps", "no"]
SNIPPET = re.compile(r"```python\n(.*?)```", re.DOTALL)
RUNS = ("clip", "cls")


@pytest.fixture(scope="module")
def runs(exam_table, text_model, tmp_path_factory):
    """Folder of both stages' runs, the second from the first."""
    folder = tmp_path_factory.mktemp("runs")
    table, text = ["--dataset_name_or_path", str(exam_table)], ["--text_model_name_or_path", str(text_model)]
    embed_reports.main([*table, *text, "--output_dir", str(folder / "text")])
    train_clip.main(
        [*table, *text, "--text_table_dir", str(folder / "text"), "--output_dir", str(folder / "clip"), *ARGUMENTS]
    )
    train_cls.main(
        [*table, "--model_name_or_path", str(folder / "clip"), "--output_dir", str(folder / "cls"), *ARGUMENTS]
    )
    return folder


@pytest.fixture
def copied(runs, tmp_path):
    """A copy of the classifier's folder, to change."""
    # Without the digests of its files, which the tests change.
    return shutil.copytree(runs / "cls", tmp_path / "cls", ignore=shutil.ignore_patterns("SHA256SUMS"))


def change_json(path, **changes):
    write_json(path, {**json.loads(path.read_text()), **changes})


def card_text(folder, **arguments):
    return str(model_card(read_run(folder), **arguments))


@pytest.mark.parametrize("name", RUNS)
def test_a_run_leaves_a_card_that_says_first_that_it_is_simulated(runs, name):
    text = (runs / name / "README.md").read_text()
    assert is_sealed(text)
    first = text.split(f"\n# {name}\n")[1].strip().splitlines()[0]
    assert first.startswith("> **Trained and measured on simulated ECGs**, of no patient.")
    assert "not a medical device" in text
    assert not re.search(r"\{\{|\}\}|\{%|\bNone\b|\bnan\b", SNIPPET.sub("", text))
    assert str(runs) not in text
    assert {name for name in re.findall(r"!\[[^]]*\]\(([^)]*)\)", text)} == {
        p.name for p in (runs / name).glob("*.png")
    }
    for heading in ("Use", "What goes in", "Results", "Exams", "Training", "Meant for", "Not meant for", "Limits"):
        assert f"\n## {heading}\n" in text


@pytest.mark.parametrize("name", RUNS)
def test_metadata_are_what_the_hub_reads(runs, name):
    card, metrics = ModelCard.load(runs / name / "README.md"), json.loads((runs / name / "metrics.json").read_text())
    data = card.data
    assert data.library_name == "transformers" and data.license == "apache-2.0" and data.language == ["pt"]
    # A tag that transformers has a pipeline for would make the Hub's page show one that takes no ECG, and a widget.
    assert data.pipeline_tag == "other" and data.pipeline_tag not in PIPELINE_REGISTRY.get_supported_tasks()
    assert metadata_load(runs / name / "README.md")["inference"] is False and "widget" not in data.to_dict()
    assert {"ecg", "custom_code", "simulated-data"} <= set(data.tags)
    # Folders are no repositories: nothing on the Hub is named after them.
    assert data.datasets is None and data.base_model is None
    assert metadata_load(runs / name / "README.md")["model-index"][0]["name"] == name
    found = {result.metric_name: result for result in data.eval_results}
    assert all(result.dataset_split == "test" and "simulated" in result.dataset_name for result in found.values())
    if name == "cls":
        expected = {f"F1, {label}": values["f1"] for label, values in metrics["test"]["per_class"].items()}
        expected["AUROC, mean"] = metrics["test"]["mean"]["auroc"]
    else:
        measured = metrics["test"]["zero_shot"]["per_class"]
        expected = {f"zero-shot AUROC, {label}": values["auroc"] for label, values in measured.items()}
        expected["recall at 5, ECG to report"] = metrics["test"]["retrieval"]["ecg_to_text"]["recall_at_5"]["value"]
    for title, value in expected.items():
        assert found[title].metric_value == pytest.approx(value, abs=5e-5)


def test_tables_show_the_numbers_of_the_run(runs):
    text, metrics = (runs / "cls" / "README.md").read_text(), json.loads((runs / "cls" / "metrics.json").read_text())
    record = json.loads((runs / "cls" / "run.json").read_text())
    for label, values in metrics["test"]["per_class"].items():
        # Ten patients, of whom fewer have each label: no interval of F1, but one of the specificity of most.
        ends = metrics["test"]["intervals"]["per_class"][label]["f1"]
        assert ends["low"] is None and "fewer than 10" in ends["reason"]
        row = next(line for line in text.splitlines() if line.startswith(f"| {label}"))
        assert f"{values['f1']:.3f} [–]" in row and f"{metrics['thresholds'][label]:.3f}" in row
    assert re.search(r"- \[–\], no interval of F1.*: .*, fewer than 10 positives\.", text)
    assert "30 exams of 10 patients" in text
    assert f"random weights, `{record['arguments']['encoder_preset']}`" not in text
    assert "| starts from | `clip` |" in text and "It starts from `clip`, which was trained on simulated ECGs" in text
    assert all(f"{name} {version}" in text for name, version in record["packages"].items())
    assert "| seed | 0 |" in text and "1 process, on cpu" in text


def test_a_run_of_several_parts_tells_what_was_not_the_same_in_all(copied):
    record = json.loads((copied / "run.json").read_text())
    assert [part["steps"] for part in record["parts"]] == [[0, 2]]
    assert "interrupted and resumed" not in card_text(copied)
    assert "| passes over the training exams | 0.356 |" in card_text(copied)  # 2 x 16 of 90
    (only,) = record["parts"]
    first = only | {"steps": [0, 1], "commit": "abc", "packages": only["packages"] | {"torch": "1.0"}}
    second = only | {"steps": [1, 2], "arguments": {"max_train_steps": {"was": 1, "is": 2}}}
    change_json(copied / "run.json", parts=[first, second])
    row = next(line for line in card_text(copied).splitlines() if "interrupted and resumed" in line)
    assert "steps 0 to 1 (commit `abc`, torch 1.0); steps 1 to 2 (`max_train_steps` 1 before, then 2)" in row


def test_contrastive_card_has_retrieval_with_chance_and_zero_shot_with_intervals(runs):
    text, test = (
        (runs / "clip" / "README.md").read_text(),
        json.loads((runs / "clip" / "metrics.json").read_text())["test"],
    )
    found = test["retrieval"]["ecg_to_text"]["recall_at_1"]
    assert f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]" in text
    assert re.search(rf"\| by chance +\| +{found['chance']:.3f} \|", text)
    assert found["chance"] == pytest.approx(1 / test["retrieval"]["reports"])
    assert test["zero_shot"]["intervals"]["per_class"]["AF"]["auroc"]["reason"] == "fewer than 10 positives"
    assert f"{test['zero_shot']['per_class']['AF']['auroc']:.3f} [–]" in text
    assert "AF" in next(line for line in text.splitlines() if line.endswith(", fewer than 10 positives."))


def test_calibration_and_subgroups_are_on_the_card(runs):
    text = (runs / "cls" / "README.md").read_text()
    test = json.loads((runs / "cls" / "metrics.json").read_text())["test"]
    calibration = text.split("### Calibration of the probabilities")[1].split("###")[0]
    row = next(line for line in calibration.splitlines() if line.startswith("| ST"))
    values = test["per_class"]["ST"]
    share = values["n_positive"] / values["n_known"]
    shown = [f"{share * (1 - share):.3f}", f"{values['brier']:.3f} [–]", f"{values['ece']:.3f}"]
    assert [cell.strip() for cell in row.split("|")[3:6]] == shown
    assert "10 equally wide bins" in calibration
    for metric, title in (("f1", "F1"), ("auroc", "AUROC")):
        part = text.split(f"### {title} by age and sex")[1].split("###")[0]
        group = test["subgroups"]["kinds"]["age"]["groups"]["40-64"]  # all are women of 50
        row = next(line for line in part.splitlines() if line.startswith("| ST"))
        shown = f"{group['per_class']['ST'][metric]:.3f} [–] {group['per_class']['ST']['n_positive']}"
        assert [cell.strip() for cell in row.split("|")[2:4]] == [shown, shown]
    assert "Not measured: age <40 (no exam), age >=65 (no exam) and sex male (no exam)." in text


def test_records_without_calibration_and_subgroups_have_a_card(copied):
    metrics = json.loads((copied / "metrics.json").read_text())
    test = metrics["test"]
    for key in ("binning", "subgroups", "mean_zero_division"):
        del test[key]
    for values in [*test["per_class"].values(), test["mean"]]:
        del values["brier"], values["ece"]
    change_json(copied / "metrics.json", test=test)
    text = card_text(copied)
    assert "### Ranking" in text and "Calibration of" not in text and "by age" not in text
    assert "undefined as 0" not in text


def test_the_paper_s_mean_stands_below_ours_where_a_label_is_never_called(copied):
    splits, labels = read_predictions(copied / "predictions.parquet")
    thresholds = [0.0] * (len(labels) - 1) + [1.0]
    metrics = evaluate_predictions(None, splits["test"], labels, thresholds=thresholds)
    write_json(copied / "metrics.json", metrics)
    text = card_text(copied)
    decisions = text.split("### Decisions at the thresholds")[1].split("###")[0]
    mean, counted = (line for line in decisions.splitlines() if line.startswith("| mean"))
    assert "not defined" in mean
    assert f"{metrics['test']['mean_zero_division']['precision']:.3f}" in counted
    assert f"- No mean of precision: no exam called positive of {labels[-1]}." in text


def test_what_the_data_do_not_define_is_said_and_not_counted_as_zero(copied):
    splits, labels = read_predictions(copied / "predictions.parquet")
    splits["test"].labels[:, labels.index("AF")] = 0
    splits["test"].labels[:, labels.index("ST")] = -1
    write_json(copied / "metrics.json", evaluate_predictions(splits["validation"], splits["test"], labels))
    card = model_card(read_run(copied))
    rows = [line for line in str(card).splitlines() if line.startswith("| AF")][:2]
    assert rows[0].count("not defined (no positives)") == 3  # F1, precision, recall; specificity is defined
    assert rows[1].count("not defined (no positives)") == 2
    assert "not defined (no known labels)" in str(card)
    named = {result.metric_name for result in card.data.eval_results}
    assert "F1, RBBB" in named and not named & {"F1, AF", "AUROC, AF", "F1, ST"}


def test_input_contract_is_the_feature_extractor_s(copied):
    EcgFeatureExtractor(do_scale=True, scale=2.0, highpass_hz=0.5, allow_missing_leads=True).save_pretrained(copied)
    text = card_text(copied)
    assert "the network sees millivolts times 2" in text
    assert "| filters | high-pass at 0.5 Hz |" in text and "| missing leads | zeros, with a mask |" in text
    assert "I, II, III, aVR, aVL, aVF, V1, V2, V3, V4, V5, V6" in text and "4,096 samples (10.24 s)" in text


def test_recorded_exams_are_called_so_and_cited(copied):
    record = json.loads((copied / "run.json").read_text())
    data = {**record["data"], "name": "clinic/exams", "revision": "abc", "sources": ["ptbxl"]}
    origin = {"name": "clinic/clip", "revision": None, "on_hub": True, "starts_from": None, "stage": "contrastive"}
    origin["data"] = {"name": "exams", "sources": ["simulated"], "free_of_conclusions": False}
    change_json(copied / "run.json", data=data, starts_from=origin)
    card = model_card(read_run(copied))
    text = str(card)
    assert (
        "**Trained and measured on recorded ECGs** of PTB-XL. It starts from `clinic/clip`, which was trained on sim"
        in text
    )
    assert "wagner2020ptbxl" in text and "CC BY 4.0" in text and "simulated-data" not in card.data.tags
    assert "reports that state diagnoses" in text
    assert card.data.language == ["de", "en", "sv"]
    assert card.data.datasets == ["clinic/exams"] and card.data.base_model == ["clinic/clip"]
    assert {result.dataset_revision for result in card.data.eval_results} == {"abc"}


def test_weights_without_a_record_are_of_unknown_origin(copied):
    change_json(copied / "run.json", starts_from={"name": "someones", "revision": None, "on_hub": False})
    assert "from the weights of `someones`, which came without a record of their exams" in card_text(copied)


def test_evaluation_results_name_a_data_set_on_the_hub_or_are_not_written(copied):
    assert not (copied / EVAL_RESULTS).exists()
    write_card(copied, dataset_id="clinic/exams")
    (entry,) = parse_eval_result_entries(yaml.safe_load((copied / EVAL_RESULTS).read_text()))
    metrics = json.loads((copied / "metrics.json").read_text())
    assert (entry.dataset_id, entry.task_id) == ("clinic/exams", "ecg-classification")
    assert entry.value == pytest.approx(metrics["test"]["mean"]["f1"], abs=5e-5)
    assert "simulated" in entry.notes
    assert metadata_load(copied / "README.md")["datasets"] == ["clinic/exams"]
    write_card(copied)
    assert not (copied / EVAL_RESULTS).exists()


def test_card_that_was_changed_by_hand_stays(copied):
    path = copied / "README.md"
    changed = path.read_text().replace("## Limits", "Found in Minas Gerais.\n\n## Limits")
    path.write_text(changed)
    write_card(copied, repo_id="clinic/cls")
    assert path.read_text() == changed
    path.unlink()
    write_card(copied, repo_id="clinic/cls")
    assert 'model="clinic/cls"' in path.read_text()
    assert is_sealed(sealed("text\n")) and not is_sealed(sealed("text").replace("text", "tex", 1))


def test_unfinished_run_is_refused_by_the_names_of_what_is_missing(copied, tmp_path):
    for name in ("metrics.json", "calibration.png", "model.safetensors"):
        (copied / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"missing metrics.json, model.safetensors, calibration.png"):
        write_card(copied)
    with pytest.raises(FileNotFoundError, match="expected the folder of a finished run"):
        write_card(tmp_path / "nowhere")
    (copied / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="expected the record of a run of train_clip.py or train_cls.py"):
        write_card(copied)


@pytest.mark.parametrize("name", RUNS)
def test_the_card_names_what_to_install(runs, name):
    (line,) = re.findall(r"```bash\n(.*)\n```", (runs / name / "README.md").read_text())
    assert line.split() == ["pip", "install", *(runs / name / "requirements.txt").read_text().split()]
    assert f"transformers=={metadata.version('transformers')}" in line.split()


def test_code_in_the_cards_runs_as_it_stands(runs, tmp_path):
    code = [SNIPPET.search((runs / name / "README.md").read_text())[1] for name in RUNS]
    done = subprocess.run(
        [sys.executable, "-I", "-c", "\n".join(code)],
        cwd=runs,  # the cards load the model from the folder beside
        env={"PATH": "", "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert len(lines) == 2 + 6
    assert {line.split()[0] for line in lines[2:]} == {"1dAVb", "RBBB", "LBBB", "SB", "AF", "ST"}
    assert all(line.split()[2] in ("True", "False") for line in lines[2:])
