import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import load_from_disk
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForAudioClassification

import train_clip
import train_cls
from data_scripts import embed_reports
from data_scripts.measure import WAVES_SCHEMA
from data_scripts.tables.schema import ecg_array, load_exam_table
from modeling_ecgclip import EcgClipModel, EcgClipProcessor
from tests.small_tables import LABELS, SCHEMA, write_small_table


PROJECT = Path(__file__).resolve().parent.parent
ARGUMENTS = ["--encoder_preset", "tiny", "--per_device_train_batch_size", "16", "--max_train_steps", "6"]
ARGUMENTS += ["--eval_steps", "3", "--logging_steps", "1"]


@pytest.fixture(scope="module")
def embedded_table(exam_table, text_model):
    embed_reports.main(["--dataset_name_or_path", str(exam_table), "--text_model_name_or_path", str(text_model)])
    return exam_table


def arguments(table, text_model, output_dir, *more):
    names = ["--dataset_name_or_path", str(table), "--text_model_name_or_path", str(text_model)]
    return [*names, "--output_dir", str(output_dir), *ARGUMENTS, *more]


@pytest.fixture(scope="module")
def finished(embedded_table, text_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "clip"
    return folder, train_clip.main(arguments(embedded_table, text_model, folder, "--center_text"))


def test_a_run_leaves_what_the_documentation_says(finished):
    folder, results = finished
    names = {path.name for path in folder.iterdir()}
    assert names >= {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "metrics.json"}
    assert names >= {"run.json", "history.json", "loss.png", "retrieval.png"}
    history = json.loads((folder / "history.json").read_text())
    assert [entry["step"] for entry in history if "eval_loss" in entry] == [0, 3, 6]
    assert results["loss"] == min(entry["eval_loss"] for entry in history if "eval_loss" in entry)
    assert all(0 <= results[f"zero_shot_auroc_{name}"] <= 1 for name in ("RBBB", "AF", "mean"))
    assert all(entry["grad_norm"] > 0 and entry["ecg_per_s"] > 0 for entry in history if "loss" in entry)
    assert str(folder.parent) not in (folder / "config.json").read_text() + (folder / "run.json").read_text()


def test_text_tower_stays_and_the_ecg_tower_moves(finished, text_model):
    folder, _ = finished
    saved, original = load_file(folder / "model.safetensors"), AutoModel.from_pretrained(text_model).state_dict()
    shared = {name for name in original if f"text_model.{name}" in saved}
    assert len(shared) > 10
    assert all(torch.equal(saved[f"text_model.{name}"], original[name]) for name in shared)
    assert saved["text_center"].abs().sum() > 0


def test_loaded_model_gives_the_embeddings_it_was_trained_on(finished, embedded_table):
    folder, _ = finished
    model, processor = EcgClipModel.from_pretrained(folder).eval(), EcgClipProcessor.from_pretrained(folder)
    table = load_from_disk(str(next((embedded_table / "text_table").glob("toy-text-*"))))
    tokens = processor(text=list(table["report"]), return_tensors="pt", padding=True)
    with torch.inference_mode():
        from_text = model.get_text_features(**tokens)
        from_table = model.get_text_features(text_embeds=torch.tensor(table["text_embeds"]))
    torch.testing.assert_close(from_text, from_table, atol=1e-5, rtol=1e-5)


def test_stage_2_starts_from_the_pretrained_encoder(finished, embedded_table, tmp_path):
    source, _ = finished
    common = ["--dataset_name_or_path", str(embedded_table), "--output_dir", str(tmp_path / "cls"), *ARGUMENTS]
    train_cls.main([*common, "--model_name_or_path", str(source), "--freeze_encoder"])
    clip, classifier = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "cls"))
    tower = {name for name in clip if name.startswith("ecg_model.")}
    assert tower and all(torch.equal(clip[name], classifier[name]) for name in tower)


def test_both_stages_train_another_tower(embedded_table, text_model, tmp_path):
    short = ["--encoder_preset", "xresnet1d_tiny", "--dropout", "0.3", "--max_train_steps", "2", "--eval_steps", "2"]
    train_clip.main(arguments(embedded_table, text_model, tmp_path / "clip", *short))
    clip = AutoModel.from_pretrained(tmp_path / "clip")
    assert clip.config.ecg_config.model_type == "ecg_xresnet" and clip.config.ecg_config.dropout == 0.3
    common = ["--dataset_name_or_path", str(embedded_table), "--output_dir", str(tmp_path / "cls"), *ARGUMENTS]
    train_cls.main([*common, "--model_name_or_path", str(tmp_path / "clip"), "--dropout", "0.1", "--freeze_encoder"])
    classifier = AutoModelForAudioClassification.from_pretrained(tmp_path / "cls")
    assert type(classifier.ecg_model) is type(clip.ecg_model) and classifier.config.dropout == 0.1
    tower = clip.ecg_model.state_dict()
    assert all(torch.equal(tower[name], weight) for name, weight in classifier.ecg_model.state_dict().items())


def test_accumulation_keeps_the_negatives(embedded_table, text_model, tmp_path):
    """Two passes of 8 must equal one of 16 where nothing depends on the pass: without dropout and BatchNorm noise."""
    losses = []
    for batch, passes in ((16, 1), (8, 2)):
        folder = tmp_path / str(passes)
        more = ["--per_device_train_batch_size", str(batch), "--gradient_accumulation_steps", str(passes)]
        train_clip.main(
            arguments(embedded_table, text_model, folder, *more, "--dropout", "0", "--max_train_steps", "1")
        )
        history = json.loads((folder / "history.json").read_text())
        losses.append(next(entry["loss"] for entry in history if "loss" in entry))
    # BatchNorm's statistics differ between 8 and 16 exams; 7 negatives in place of 15 would lower the loss by log 2.
    assert losses[1] == pytest.approx(losses[0], abs=0.3)


@pytest.fixture(scope="module")
def measured(embedded_table, tmp_path_factory):
    """Measurements as of the exam table, whose noise has none: of half the exams how large V5 and V6 are, in mV."""
    path = tmp_path_factory.mktemp("measured") / "measurements.parquet"
    rows = []
    for of_split in load_exam_table(embedded_table).values():
        sizes = ecg_array(of_split).std(axis=2) / 1000
        for i, (exam_id, size) in enumerate(zip(of_split["exam_id"], sizes, strict=True)):
            rows.append({"exam_id": exam_id, "r_mv_V5": size[10], "r_mv_V6": size[11] if i % 2 else None})
    pq.write_table(pa.Table.from_pylist(rows, WAVES_SCHEMA), path, write_page_checksum=True)
    return path


def test_measurements_are_learned_beside_the_texts(embedded_table, text_model, measured, tmp_path):
    folder = tmp_path / "clip"
    more = ["--measurements", str(measured), "--max_train_steps", "40", "--eval_steps", "20", "--dropout", "0"]
    results = train_clip.main(arguments(embedded_table, text_model, folder, *more, "--keep", "last"))
    history = [entry for entry in json.loads((folder / "history.json").read_text()) if "eval_loss" in entry]
    of_measurements = [entry["eval_measurement_loss"] for entry in history]
    assert of_measurements[-1] < 0.8 * of_measurements[0] and results["measurement_loss"] == of_measurements[-1]
    model = EcgClipModel.from_pretrained(folder).eval()
    train = load_exam_table(embedded_table)["train"]
    millivolts = torch.from_numpy(ecg_array(train) / 1000).float()
    with torch.inference_mode():
        told = model(millivolts, text_embeds=torch.zeros(1, 32)).measurements
    of_v5 = told[:, model.config.measurement_names.index("r_mv_V5")]
    assert of_v5.mean().item() == pytest.approx(millivolts[:, 10].std(dim=1).mean().item(), rel=0.2)  # in millivolts
    common = ["--dataset_name_or_path", str(embedded_table), "--output_dir", str(tmp_path / "cls"), *ARGUMENTS]
    train_cls.main([*common, "--model_name_or_path", str(folder), "--freeze_encoder"])
    assert not any("measurement" in name for name in load_file(tmp_path / "cls" / "model.safetensors"))


def test_passes_change_nothing_of_what_measurements_teach(embedded_table, text_model, measured, tmp_path):
    losses = []
    for passes in (1, 2):
        more = ["--measurements", str(measured), "--dropout", "0", "--max_train_steps", "1", "--max_grad_norm", "0"]
        more += ["--per_device_train_batch_size", str(16 // passes), "--gradient_accumulation_steps", str(passes)]
        folder = tmp_path / str(passes)
        train_clip.main(arguments(embedded_table, text_model, folder, *more))
        entry = next(one for one in json.loads((folder / "history.json").read_text()) if "loss" in one)
        losses.append(entry["loss"])
    assert losses[1] == pytest.approx(losses[0], abs=0.3)  # BatchNorm sees 8 or 16 exams


def test_what_contradicts_measurements_is_refused(embedded_table, text_model, measured, tmp_path, capsys):
    learned = ["--measurements", str(measured)]
    with pytest.raises(SystemExit):
        more = ["--pair_with", "second_view", "--augment", "noise_mv=0.1"]
        train_clip.main(arguments(embedded_table, text_model, tmp_path / "x", *learned, *more))
    assert (
        "--measurements goes without --freeze_encoder and without --pair_with second_view" in capsys.readouterr().err
    )
    with pytest.raises(ValueError, match="--augment amplitude changes them"):
        more = ["--augment", "amplitude=0.1"]
        train_clip.main(arguments(embedded_table, text_model, tmp_path / "x", *learned, *more))


def test_two_processes_write_one_output(embedded_table, text_model, tmp_path):
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
    command += [str(PROJECT / "configs" / "cpu_two_processes.yaml"), str(PROJECT / "train_clip.py")]
    command += arguments(embedded_table, text_model, tmp_path / "two", "--positives", "same_report")
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    assert json.loads((tmp_path / "two" / "run.json").read_text())["num_processes"] == 2
    assert EcgClipModel.from_pretrained(tmp_path / "two").config.projection_dim == 32


def test_the_sigmoid_loss_learns_its_bias(embedded_table, text_model, tmp_path):
    train_clip.main(arguments(embedded_table, text_model, tmp_path / "siglip", "--loss", "siglip"))
    model = EcgClipModel.from_pretrained(tmp_path / "siglip")
    assert model.config.logit_bias_init_value == -10
    assert model.logit_bias.item() != -10 and -11 < model.logit_bias.item() < -9


def test_missing_text_table_says_how_to_make_it(exam_table, text_model, tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m data_scripts.embed_reports"):
        train_clip.main(
            arguments(
                exam_table, text_model, tmp_path / "x", "--text_pooling", "cls", "--text_table_dir", str(tmp_path)
            )
        )


def test_texts_that_state_diagnoses_are_warned_of(caplog):
    train_clip.warn_of_conclusions({"conversion": {"reports": {"free_of_conclusions": True}}})
    train_clip.warn_of_conclusions({})
    assert not caplog.records
    train_clip.warn_of_conclusions({"conversion": {"reports": {"free_of_conclusions": False}}})
    assert "pre-training sees reports that state diagnoses (see" in caplog.text
    # Words count, whatever the record concludes.
    reports = {"free_of_conclusions": True, "with_diagnosis_words": 7, "reports": 12, "empty": 2}
    train_clip.warn_of_conclusions({"conversion": {"reports": reports}})
    assert "reports that state diagnoses: 7 of 10 texts name a diagnosis" in caplog.text


# ---- other labels, another signal, splits without reports


@pytest.fixture
def pretrain(text_model, tmp_path):
    """Pre-trains on a small table; returns the folder, metrics and record."""

    def pretrain(table, *more):
        embed_reports.main(["--dataset_name_or_path", str(table), "--text_model_name_or_path", str(text_model)])
        folder = tmp_path / "run"
        train_clip.main(arguments(table, text_model, folder, "--max_train_steps", "2", *more))
        return folder, *(json.loads((folder / f"{name}.json").read_text()) for name in ("metrics", "run"))

    return pretrain


def test_zero_shot_is_measured_on_the_labels_of_the_table(pretrain, tmp_path):
    folder, metrics, record = pretrain(write_small_table(tmp_path / "small"))
    model, processor = EcgClipModel.from_pretrained(folder), EcgClipProcessor.from_pretrained(folder)
    assert list(metrics["test"]["zero_shot"]["per_class"]) == ["NORM", "MI", "CD"]
    assert {f"zero_shot_auroc_{name}" for name in ("NORM", "MI", "CD", "mean")} <= set(metrics["validation"])
    assert model.config.label_details == record["labels"] == [label.to_dict() for label in LABELS]
    assert model.config.ecg_config.signal == processor.feature_extractor.signal == SCHEMA.signal
    assert (record["stage"], record["signal"]) == ("contrastive", SCHEMA.signal.to_dict())
    assert record["used"]["test"]["known"] == dict.fromkeys(SCHEMA.label_names, 24)


def test_splits_without_reports_are_refused_by_name_or_done_without(pretrain, tmp_path):
    table = write_small_table(tmp_path / "small", {"validation": 0, "test": 0})
    with pytest.raises(ValueError, match="split validation: none of 0 exams has a report: .*--allow_empty_splits"):
        pretrain(table)
    folder, metrics, record = pretrain(table, "--allow_empty_splits")
    assert metrics == {} and list(record["used"]) == ["train"] and record["best_step"] == 2
    assert {path.name for path in folder.glob("*.png")} == {"loss.png"}


def text_alone(table, text_model, first, folder, keep):
    """Trains the text side alone, against the ECG tower of another run."""
    more = [
        "--model_name_or_path",
        str(first),
        "--freeze_encoder",
        "--train_text_model",
        "--text_projection",
        "linear",
    ]
    more += ["--text_projection", "linear", "--drop_sentences", "0.5", "--prompt_language", "both", "--keep", keep]
    # No text table there: a text tower in training reads the reports themselves.
    return train_clip.main(arguments(table, text_model, folder, *more, "--text_table_dir", str(folder)))


@pytest.fixture(scope="module")
def text_trained(exam_table, finished, text_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "text"
    return folder, text_alone(exam_table, text_model, finished[0], folder, "zero_shot")


def test_a_frozen_ecg_tower_stays_and_the_text_tower_moves(exam_table, finished, text_model, tmp_path):
    text_alone(exam_table, text_model, finished[0], tmp_path / "last", "last")
    saved, first = (load_file(folder / "model.safetensors") for folder in (tmp_path / "last", finished[0]))
    towers = [name for name in first if name.startswith("ecg_model.")]
    assert len(towers) > 10 and all(torch.equal(saved[name], first[name]) for name in towers)
    original = AutoModel.from_pretrained(text_model).state_dict()
    assert any(not torch.equal(saved[f"text_model.{name}"], original[name]) for name in original if "layer" in name)


def test_the_step_of_the_best_zero_shot_classification_is_kept(text_trained):
    folder, results = text_trained
    history = [entry for entry in json.loads((folder / "history.json").read_text()) if "eval_loss" in entry]
    scores = {e["step"]: e["eval_zero_shot_auroc_mean"] + e["eval_zero_shot_en_auroc_mean"] for e in history}
    assert len(scores) == 3 and scores[results["step"]] == max(scores.values())
    test = json.loads((folder / "metrics.json").read_text())["test"]
    assert test["zero_shot"]["mean"]["auroc"] != test["zero_shot_en"]["mean"]["auroc"]


def test_the_card_says_which_tower_learned_and_how_the_step_was_chosen(text_trained):
    card = (text_trained[0] / "README.md").read_text()
    for words in (
        "stayed as it was; against it was trained",
        "50 % of the sentences left out",
        "prolonged PR interval",
    ):
        assert words in card
    assert "the highest mean AUROC of zero-shot" in card and "those of the validation exams chose the step" in card


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--freeze_encoder"], "--freeze_encoder needs --model_name_or_path"),
        (["--freeze_encoder", "--augment", "noise_mv=0.1"], "choose one"),
        (["--freeze_encoder", "--pair_with", "other_report"], "--pair_with report"),
    ],
)
def test_a_frozen_ecg_tower_is_refused_where_it_means_nothing(more, message, exam_table, text_model, tmp_path):
    with pytest.raises(ValueError, match=message):
        train_clip.main(arguments(exam_table, text_model, tmp_path / "x", *more))


@pytest.mark.parametrize(
    "more", [["--drop_sentences", "0.5"], ["--train_text_model", "--center_text"], ["--drop_sentences", "1"]]
)
def test_text_arguments_that_exclude_each_other(more, exam_table, text_model, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train_clip.main(arguments(exam_table, text_model, tmp_path / "x", *more))
    assert more[0] in capsys.readouterr().err
