"""
Wrote `0.1.0.tar.xz` and `0.1.0.json` at release 0.1.0. It must not be run again with later code.

What lies in the archive is what users of that release have on their disks; `tests/test_earlier_outputs.py` reads it
with the code of today. Written again by later code it would prove nothing, so this file is kept as a record of how it
was made and is not kept up with the code that it names. A later release gets an archive of its own beside this one.

    python tests/earlier_outputs/make.py FOLDER      # in a checkout of release 0.1.0

Everything is simulated, and small: recordings of 3 s in steps of 10 microvolts, networks of a few thousand weights.
"""

import contextlib
import json
import lzma
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn
from transformers import pipeline

import train_clip
import train_cls
from data_scripts import code15, embed_reports, publish
from data_scripts.digest import table_digest
from data_scripts.embed_reports import load_text_table
from data_scripts.make_text_model import make_text_model
from data_scripts.schema import load_exam_table
from data_scripts.simulate.__main__ import main as simulate
from modeling_ecgclip import (
    EcgClipModel,
    EcgClipProcessor,
    EcgFeatureExtractor,
    EcgResNetConfig,
    EcgResNetForSignalClassification,
    EcgResNetModel,
    ExportedEcgClassifier,
    read_ecg,
    save_for_hub,
)
from modeling_ecgclip.pipeline_ecgclip import LABEL_PHRASES
from training import export


RELEASE = "0.1.0"
N_EXAMS, SIMULATION_SEED = 24, 1
SPLIT_SEED = 2197  # of seeds below 6000 the one whose splits have the most labels
N_RECORDED = 1200  # samples that are left of a recording
# Rows of the simulated archive, which are their places in the cohort.
WHOLE = (0, 9)  # keep their length
FLAT, WITH_NAN, WITHOUT_FACTS, WITHOUT_REPORT = 2, 12, 8, 10
STEP_MV = 0.01
UNITS_PER_MV = 2.0  # of the tracings
TRAINING = ["--encoder_preset", "tiny", "--per_device_train_batch_size", "6", "--max_train_steps", "24"]
TRAINING += ["--learning_rate", "0.003", "--eval_steps", "8", "--logging_steps", "4", "--checkpointing_steps", "no"]
FIGURE_SIZE = (48, 32)
DECIMALS = 7


def main(folder: Path) -> None:
    """Writes both files."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        outputs = Path(scratch, "outputs")
        make_tables(Path(scratch), outputs)
        make_runs(outputs)
        make_other_models(outputs)
        # Before anything else reads the folders: importing their code would leave compiled files there.
        pack(outputs, folder / f"{RELEASE}.tar.xz")
        expected = {"tables": table_values(outputs), "models": model_values(outputs)}
    text = json.dumps(expected, ensure_ascii=False, separators=(",", ":"))
    (folder / f"{RELEASE}.json").write_text(text + "\n", encoding="utf-8")


def make_tables(scratch: Path, outputs: Path) -> None:
    """Writes `exams`, with a text table, `exams_parquet` and `text_model`."""
    source, exams, text_model = scratch / "source", outputs / "exams", outputs / "text_model"
    arguments = ["--num_exams", N_EXAMS, "--seed", SIMULATION_SEED, "--prevalence_scale", 8]
    simulate(["--output_dir", str(source), *map(str, arguments), "--clean"])
    damage(source)
    command = ["--source_dir", source, "--output_dir", exams, "--reports", source / "reports.csv"]
    code15.main([*map(str, command), "--seed", str(SPLIT_SEED)])
    texts = load_exam_table(exams)["train"].unique("report")
    make_text_model(sorted(text for text in texts if text), text_model, hidden_size=32)
    of_table = ["--dataset_name_or_path", str(exams)]
    embed_reports.main([*of_table, "--text_model_name_or_path", str(text_model)])
    publish.main([*of_table, "--output_dir", str(outputs / "exams_parquet"), "--include_text_table"])


def damage(source: Path) -> None:
    """Shortens the recordings of a simulated archive, and puts in what real archives have."""
    with h5py.File(source / "exams_part0.hdf5", "r+") as file:
        tracings, ids = file["tracings"], file["exam_id"][:]
        for row in range(N_EXAMS):
            tracing = np.round(tracings[row] / (UNITS_PER_MV * STEP_MV)) * (UNITS_PER_MV * STEP_MV)
            if row not in WHOLE:
                left = (len(tracing) - N_RECORDED) // 2
                tracing[:left], tracing[left + N_RECORDED :] = 0, 0
            tracings[row] = tracing
        tracings[FLAT, :, 11] = 0
        tracings[WITH_NAN, 2000, 4] = np.nan
    table = pd.read_csv(source / "exams.csv", dtype=str, keep_default_na=False).set_index("exam_id")
    table.loc[str(ids[WITHOUT_FACTS]), ["age", "is_male", "AF"]] = ""
    table.reset_index().to_csv(source / "exams.csv", index=False)
    reports = pd.read_csv(source / "reports.csv", dtype=str).set_index("exam_id")
    reports.drop(str(ids[WITHOUT_REPORT])).reset_index().to_csv(source / "reports.csv", index=False)


def make_runs(outputs: Path) -> None:
    """Writes the finished runs `dual_encoder`, and `classifier`, which starts from it."""
    table = ["--dataset_name_or_path", str(outputs / "exams")]
    text = ["--text_model_name_or_path", str(outputs / "text_model"), "--center_text"]
    train_clip.main([*table, *text, "--output_dir", str(outputs / "dual_encoder"), *TRAINING])
    start = ["--model_name_or_path", str(outputs / "dual_encoder")]
    train_cls.main([*table, *start, "--output_dir", str(outputs / "classifier"), *TRAINING])
    for path in outputs.glob("*/*.png"):  # nobody looks at them here
        Image.open(path).convert("RGB").resize(FIGURE_SIZE).save(path)


def make_other_models(outputs: Path) -> None:
    """Writes `onnx`, the classifier's export; `tower`, an encoder alone; `age`, a regression; with small networks."""
    with contextlib.chdir(outputs):  # the record states the path as it was given
        if export.main("--model_name_or_path classifier --output_dir onnx --format onnx".split()) != 0:
            raise RuntimeError("the export failed")
    torch.manual_seed(0)
    tower = EcgResNetConfig.from_preset("ribeiro2020", stem_channels=4, block_channels=(4, 6, 8, 8))
    save_for_hub(uneven(EcgResNetModel(tower)), outputs / "tower", EcgFeatureExtractor())
    # What `convert_published` makes of the weights of Lima et al. 2021.
    age = EcgResNetConfig.from_preset(
        "lima2021",
        stem_channels=4,
        block_channels=(4, 4, 6, 8, 8),
        id2label={0: "age"},
        problem_type="regression",
    )
    extractor = EcgFeatureExtractor(do_scale=True, scale=UNITS_PER_MV)
    save_for_hub(uneven(EcgResNetForSignalClassification(age)), outputs / "age", extractor)


def uneven(model: nn.Module) -> nn.Module:
    """Returns a model whose normalisations and biases are none of them trivial, in eval mode."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            module.running_mean.normal_(std=0.5)
            module.running_var.uniform_(0.3, 3)
    return model.eval()


def pack(outputs: Path, archive: Path) -> None:
    """Writes an archive that is the same for the same files."""

    def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.mtime = entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mode = 0o755 if entry.isdir() else 0o644
        return entry

    # A dictionary that reaches over all of it: several folders hold the same code and the same weights.
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 2**26}]
    with lzma.open(archive, "wb", filters=filters) as stream, tarfile.open(fileobj=stream, mode="w") as tar:
        for path in sorted(outputs.rglob("*")):
            tar.add(path, path.relative_to(outputs), recursive=False, filter=anonymous)


def table_values(outputs: Path) -> dict[str, Any]:
    """Returns what the tables hold."""
    table = load_exam_table(outputs / "exams")
    text_table = load_text_table(outputs / "exams", outputs / "text_model")
    first = read_ecg(table["test"][0])
    return {
        "digest": table_digest(table),
        "rows": {split: rows.remove_columns("ecg").to_dict() for split, rows in table.items()},
        "rejected": pd.read_csv(outputs / "exams" / "rejected.csv", dtype=str).to_dict("records"),
        "first_of_test": {"shape": first.signal.shape, "sums": first.signal.sum(axis=1, dtype=int).tolist()},
        "text_embeds": dict(zip(text_table["report_id"], rounded(text_table["text_embeds"]), strict=True)),
    }


def model_values(outputs: Path) -> dict[str, Any]:
    """Returns what the models say of the test split: tensors of their classes, and results of their pipelines."""
    rows = list(load_exam_table(outputs / "exams")["test"])
    values: dict[str, Any] = {}
    for name, cls in (
        ("classifier", EcgResNetForSignalClassification),
        ("onnx", ExportedEcgClassifier),
        ("age", EcgResNetForSignalClassification),
    ):
        model = cls.from_pretrained(outputs / name).eval()
        results = pipeline("ecg-classification", model=str(outputs / name), trust_remote_code=True)(rows)
        values[name] = {
            "labels": list(model.config.id2label.values()),
            "thresholds": None if model.config.thresholds is None else list(model.config.thresholds),
            "problem_type": model.config.problem_type,
            "logits": rounded(model(**inputs_of(outputs / name, rows)).logits),
            "results": results,
        }
    tower = EcgResNetModel.from_pretrained(outputs / "tower").eval()
    values["tower"] = {"pooler_output": rounded(tower(**inputs_of(outputs / "tower", rows)).pooler_output)}
    folder, words = outputs / "dual_encoder", list(LABEL_PHRASES.values())
    dual = EcgClipModel.from_pretrained(folder).eval()
    tokens = EcgClipProcessor.from_pretrained(folder)(text=words, return_tensors="pt", padding=True)
    zero_shot = pipeline("zero-shot-ecg-classification", model=str(folder), trust_remote_code=True)
    values["dual_encoder"] = {
        "ecg_embeds": rounded(dual.get_ecg_features(**inputs_of(folder, rows))),
        "text_embeds": rounded(dual.get_text_features(**tokens)),
        "logit_scale": dual.logit_scale.item(),
        "words": words,
        "results": zero_shot(rows, candidate_labels=words),
    }
    return values


def inputs_of(folder: Path, rows: list[dict[str, Any]]) -> Any:
    """Returns what the model of a folder reads of rows of an exam table."""
    records = [read_ecg(row) for row in rows]
    extractor = EcgFeatureExtractor.from_pretrained(folder)
    signals = [record.signal for record in records]
    return extractor(signals, records[0].sampling_rate, records[0].lead_names, records[0].unit, return_tensors="pt")


def rounded(values: Any) -> list[list[float]]:
    """Returns numbers that JSON holds."""
    return np.round(torch.as_tensor(values).detach().double().numpy(), DECIMALS).tolist()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
