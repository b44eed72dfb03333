"""Folders of finished runs, made by hand: random weights, and records and metrics of the form that training writes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from common.files import write_json
from modeling_ecgclip import CODE_LABELS, EcgFeatureExtractor, EcgResNetConfig, Label, SignalSpec, save_for_hub
from modeling_ecgclip.modeling_ecgclip import EcgResNetForSignalClassification
from training.evaluation import SplitPredictions, evaluate_predictions


SPLITS = {"train": (850, 500), "validation": (100, 60), "test": (200, 80)}  # exams and patients
MANY = tuple(Label(f"L{i:02}", f"statement number {i}") for i in range(71))
SUPERCLASSES = tuple(
    Label(name, title)
    for name, title in (
        ("NORM", "normal ECG"),
        ("MI", "myocardial infarction"),
        ("STTC", "ST/T change"),
        ("CD", "conduction disturbance"),
        ("HYP", "hypertrophy"),
    )
)
AGE = (Label("age", "age in years"),)
ARGUMENTS = {
    "encoder_preset": "tiny",
    "freeze_encoder": False,
    "pos_weight": "none",
    "train_fraction": 1.0,
    "labels_from": "train",
    "subset_seed": 0,
    "per_device_train_batch_size": 32,
    "gradient_accumulation_steps": 1,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "linear",
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "augment": None,
    "ema_decay": None,
    "seed": 0,
}


def write_run(
    folder: Path,
    labels: tuple[Label, ...] = CODE_LABELS,
    problem_type: str = "multi_label_classification",
    signal: SignalSpec | None = None,
    source: str = "ptbxl",
) -> Path:
    """Writes the folder of a run of train_cls.py and returns it; one in i + 3 exams has the label at place i."""
    signal = SignalSpec() if signal is None else signal
    torch.manual_seed(0)
    config = EcgResNetConfig.from_preset(
        "tiny",
        lead_names=signal.lead_names,
        sampling_rate=signal.sampling_rate,
        n_samples=signal.n_samples,
        id2label=dict(enumerate(label.name for label in labels)),
        label_details=[label.to_dict() for label in labels],
        problem_type=problem_type,
    )
    config.thresholds = (0.3,) * len(labels) if problem_type == "multi_label_classification" else None
    model = EcgResNetForSignalClassification(config).eval()
    save_for_hub(model, folder, EcgFeatureExtractor.for_model(config))
    metrics = {
        "multi_label_classification": multi_label_metrics,
        "single_label_classification": multi_class_metrics,
        "regression": regression_metrics,
    }[problem_type]
    write_json(folder / "metrics.json", metrics(labels))
    write_json(folder / "history.json", [{"step": 1, "loss": 0.5}])
    write_json(folder / "run.json", run_record(labels, problem_type, signal, source))
    for name in ("loss", "precision_recall", "calibration", "confusion", "scatter"):
        Image.new("RGB", (2, 2)).save(folder / f"{name}.png")
    return folder


def run_record(labels: tuple[Label, ...], problem_type: str, signal: SignalSpec, source: str) -> dict[str, Any]:
    """What `run.json` holds."""
    used = {}
    for split, (exams, patients) in SPLITS.items():
        used[split] = {"exams": exams, "patients": patients, "known": {label.name: exams - 1 for label in labels}}
        if problem_type != "regression":
            used[split]["positives"] = {label.name: exams // (i + 3) for i, label in enumerate(labels)}
    exams = {split: exams for split, (exams, _) in SPLITS.items()}
    return {
        "stage": "classification",
        "problem_type": problem_type,
        "labels": [label.to_dict() for label in labels],
        "signal": signal.to_dict(),
        "arguments": ARGUMENTS,
        "commit": None,
        "packages": {"torch": "2.0"},
        "python": "3.11",
        "num_processes": 1,
        "mixed_precision": "no",
        "devices": ["cpu"],
        "best_step": 1,
        "used": used,
        "starts_from": None,
        "data": {
            "name": "clinic/exams",
            "revision": None,
            "sources": [source],
            "exams": exams,
            "exams_with_report": dict.fromkeys(exams, 0),
        },
    }


def multi_label_metrics(labels: tuple[Label, ...]) -> dict[str, Any]:
    """Of predictions that are partly right."""
    generator, parts = np.random.default_rng(0), {}
    for split, (exams, patients) in SPLITS.items():
        truth = np.stack([np.arange(exams) % (i + 3) == 0 for i in range(len(labels))], axis=1).astype(np.int8)
        probabilities = np.clip(0.4 * truth + 0.6 * generator.random(truth.shape), 0, 1)
        ids = [f"{split}-{i}" for i in range(exams)], [f"{split}-p{i % patients}" for i in range(exams)]
        # Nobody of the middle ages; of one exam in ten neither age nor sex is known.
        ages = np.where(np.arange(exams) % 10 == 0, np.nan, np.where(np.arange(exams) % 3 == 0, 30.0, 70.0))
        sexes = np.where(np.isnan(ages), None, np.where(np.arange(exams) % 4 == 0, "male", "female"))
        parts[split] = SplitPredictions(split, *ids, truth, probabilities, ages=ages, sexes=sexes)
    names = [label.name for label in labels]
    return evaluate_predictions(parts["validation"], parts["test"], names, n_resamples=20)


def multi_class_metrics(labels: tuple[Label, ...]) -> dict[str, Any]:
    """As of labels side by side, with what the most probable label adds and without what a threshold does."""
    metrics = multi_label_metrics(labels)
    for split in ("validation", "test"):
        metrics[split] |= {"accuracy": 0.61, "balanced_accuracy": 0.52}
    return metrics | {"thresholds": {}, "thresholds_from": "argmax", "undefined": []}


def regression_metrics(labels: tuple[Label, ...]) -> dict[str, Any]:
    """Of values; the first is known, the others never are."""
    values = {"n_known": 199, "mae": 8.7654, "rmse": 11.2, "r2": 0.71, "pearson": 0.85}
    unknown = {"n_known": 0, "mae": None, "rmse": None, "r2": None, "pearson": None}
    ends = {"mae": {"low": 8.1, "high": 9.4}, "rmse": {"low": 10.1, "high": 12.4}}
    ends |= {"r2": {"low": None, "high": None}, "pearson": {"low": 0.8, "high": 0.9}}
    no_ends = {metric: {"low": None, "high": None} for metric in ends}
    names = [label.name for label in labels]
    split = {
        "n_exams": 200,
        "n_patients": 80,
        "per_target": {name: unknown if i else values for i, name in enumerate(names)},
        "mean": {metric: value for metric, value in values.items() if metric != "n_known"},
        "undefined": [],
    }
    intervals = {"level": 0.95, "n_resamples": 20, "n_groups": 80, "seed": 0}
    intervals |= {"per_target": {name: no_ends if i else ends for i, name in enumerate(names)}, "mean": ends}
    return {"target_names": names, "validation": split, "test": {**split, "intervals": intervals}}


def change_json(path: Path, **changes: Any) -> None:
    """Writes other values for some keys of a JSON file."""
    write_json(path, {**json.loads(path.read_text()), **changes})
