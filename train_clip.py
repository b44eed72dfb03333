"""
Stage 1: pre-trains the ECG encoder against the frozen text embeddings of the exams' reports.

Example:
    accelerate launch train_clip.py --dataset_name_or_path exams --text_model_name_or_path pucpr/biobertpt-all \
        --output_dir runs/clip --mixed_precision bf16

The exam table comes from data_scripts, and data_scripts.embed_reports must have embedded its reports with the same
text model. The output folder loads with AutoModel and the zero-shot-ecg-classification pipeline.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.logging import get_logger
from datasets import DatasetDict
from transformers import AutoTokenizer, PreTrainedConfig

from common.files import write_json
from data_scripts.embed_reports import embed_texts, load_text_table
from modeling_ecgclip import EcgClipModel, EcgClipProcessor, save_for_hub
from modeling_ecgclip.labels_ecgclip import Label, labels_named
from modeling_ecgclip.losses_ecgclip import NO_REPORT
from modeling_ecgclip.pipeline_ecgclip import DEFAULT_HYPOTHESIS_TEMPLATE
from publishing.model import exit_code, finish_folder, open_for_run
from publishing.report_text import labels_in_texts
from training.arguments import (
    ContrastiveArguments,
    DataArguments,
    EncoderArguments,
    HubArguments,
    TrainingArguments,
    as_record,
    parse,
)
from training.augmentation import Augmentation, SignalInput
from training.checkpoints import BestWeights
from training.contrastive import ContrastiveTask
from training.data import (
    ExamSplit,
    ExamTable,
    OpenTable,
    TextEmbeddings,
    fraction_of_patients,
    hold_recordings,
    usable_splits,
)
from training.encoder import encoder_config, load_encoder, load_feature_extractor
from training.feed import ExamFeed
from training.input_statistics import statistics_of_split
from training.loop import TrainingLoop, make_optimizer, plan_steps, total_steps
from training.pairing import TwoViewsTask, check_pairing, pair_texts
from training.plots import plot_loss, plot_retrieval, plot_retrieval_history, save_figure
from training.retrieval import RetrievalRanks
from training.run import (
    dataset_facts,
    print_plan,
    run_facts,
    start,
    with_sync_batchnorm,
    write_run_record,
)
from training.targets import MultiLabel


logger = get_logger(__name__)

# Zhai et al. 2023, section 3.1: at first nearly every pair is a no.
SIGLIP_START: dict[str, Any] = {"logit_scale_init_value": math.log(10), "logit_bias_init_value": -10.0}


def read_splits(
    data: DataArguments, text: TextEmbeddings, table: DatasetDict, pair_with: str, seed: int
) -> dict[str, ExamSplit]:
    """Returns the exams of each split that have a report, with text embeddings as `--pair_with` asks for."""
    splits = {}
    for name, rows in table.items():
        report_ids = rows.data.column("report_id").to_numpy()
        kept = np.arange(len(rows))
        if name != "test":
            patients = rows.data.column("patient_id").to_numpy()
            kept = fraction_of_patients(patients, data.train_fraction, data.subset_seed)
        kept = kept[report_ids[kept] != NO_REPORT]
        text.check(report_ids[kept], name)
        splits[name] = ExamSplit(rows, kept, text)
    pair_texts(pair_with, text, splits, seed)
    return usable_splits(
        splits,
        lambda split: len(split) > 0,
        "a report",
        "pre-training needs a table made with reports",
        data.allow_empty_splits,
    )


def build_model(
    encoder: EncoderArguments, contrastive: ContrastiveArguments, config: PreTrainedConfig, labels: Sequence[Label]
) -> EcgClipModel:
    """
    Returns the dual encoder with its text tower frozen.

    Args:
        encoder, contrastive: The command line's.
        config (`PreTrainedConfig`): Of the ECG tower.
        labels (`Sequence[Label]`): On which it is measured, by their phrases.
    """
    model = EcgClipModel.from_ecg_text_pretrained(
        load_encoder(encoder, config) if encoder.model_name_or_path else config,
        contrastive.text_model_name_or_path,
        projection_dim=contrastive.projection_dim,
        text_projection=contrastive.text_projection,
        text_pooling=contrastive.text_pooling,
        center_text=contrastive.center_text,
        label_details=[label.to_dict() for label in labels],
        **(SIGLIP_START if contrastive.loss == "siglip" else {}),
    )
    model.text_model.requires_grad_(False)
    return model


def mean_text_embedding(train: ExamSplit) -> torch.Tensor:
    """Returns the mean over the training exams' texts, (text width,)."""
    ids, counts = np.unique(train.report_ids, return_counts=True)
    return torch.from_numpy(np.average(train.text[ids], axis=0, weights=counts))


def embed_prompts(model: EcgClipModel, tokenizer: Any, device: torch.device) -> torch.Tensor:
    """Returns the pooled text embedding of each label's phrase, (labels, text width)."""
    labels = labels_named(label["name"] for label in model.config.label_details)
    texts = [DEFAULT_HYPOTHESIS_TEMPLATE.format(label.phrase) for label in labels]
    pooling = model.config.text_pooling
    return torch.from_numpy(embed_texts(texts, model.text_model, tokenizer, pooling, device=device, progress=False))


def make_task(
    feed: ExamFeed,
    module: torch.nn.Module,
    splits: dict[str, ExamSplit],
    contrastive: ContrastiveArguments,
    tokenizer: Any,
) -> ContrastiveTask:
    """Returns what the loop trains; `module` is prepared."""
    prompts = None
    if contrastive.pair_with == "report":  # phrases mean nothing to an encoder that was matched with anything else
        prompts = embed_prompts(feed.accelerator.unwrap_model(module), tokenizer, feed.accelerator.device)
    task_class = TwoViewsTask if contrastive.pair_with == "second_view" else ContrastiveTask
    return task_class(feed, module, splits["train"], splits.get("validation"), contrastive.positives, prompts)


def warn_of_conclusions(data_facts: dict[str, Any]) -> None:
    """Says so where the texts are known to state what stage 2 is to learn: a result is then not comparable."""
    reports = data_facts.get("conversion", {}).get("reports", {})
    seen = labels_in_texts(reports)
    if seen:
        logger.warning(
            f"pre-training sees {seen} (see docs/data.md): labels are not kept from it. Report it with every result"
        )


def measure(
    task: ContrastiveTask, splits: dict[str, ExamSplit], best_step: int
) -> tuple[dict[str, Any], RetrievalRanks | None]:
    """What `metrics.json` holds of the splits there are, and the ranks of the test split for its figure."""
    metrics: dict[str, Any] = {}
    if "validation" in splits:
        metrics["validation"] = {"step": best_step, **task.evaluate(splits["validation"])}
    ranks = None
    if "test" in splits:
        metrics["test"], ranks = task.report(splits["test"])
    return metrics, ranks


def write_figures(folder: Path, history: list[dict[str, float]], ranks: RetrievalRanks | None) -> None:
    """Writes the pictures of a finished run into its folder; `ranks` are those of the test split, if there is one."""
    figures = {"loss": plot_loss(history, "Contrastive loss")}
    if any("eval_loss" in entry for entry in history):
        figures["retrieval"] = plot_retrieval_history(history)
    if ranks is not None:
        figures["retrieval_test"] = plot_retrieval(ranks, "Retrieval, test")
    for name, figure in figures.items():
        save_figure(figure, folder / f"{name}.png")


def main(argv: list[str] | None = None, open_table: OpenTable = ExamTable.load) -> dict[str, float] | None:
    """Runs stage 1; returns its validation results, or None where SIGTERM stopped it (after saving a checkpoint)."""
    # ---- 1 arguments and checks
    groups = (EncoderArguments, ContrastiveArguments, DataArguments, TrainingArguments, HubArguments)
    encoder, contrastive, data, args, hub = parse(argv, __doc__, *groups)
    check_pairing(contrastive, data, hub)
    arguments = as_record(encoder, contrastive, data, args, hub)
    open_for_run(args.output_dir, hub)

    # ---- 2 accelerator and logging
    accelerator = start(args, "ecgclip-clip", arguments)
    output_dir = Path(args.output_dir)

    # ---- 3 exam table and model
    table = open_table(data.dataset_name_or_path, data.dataset_revision)
    signal, measured = table.schema.signal, MultiLabel(table.schema.labels)  # by zero-shot classification
    config = encoder_config(encoder, signal)
    feature_extractor = load_feature_extractor(encoder, config)
    signal_input = SignalInput(feature_extractor, signal, Augmentation.parse(data.augment))
    feed = ExamFeed(accelerator, signal_input, args.per_device_eval_batch_size, data.dataloader_num_workers)
    model = build_model(encoder, contrastive, config, measured.labels)
    tokenizer = AutoTokenizer.from_pretrained(contrastive.text_model_name_or_path)

    # ---- 4 texts and splits
    text_table = load_text_table(
        contrastive.text_table_dir or data.dataset_name_or_path,
        contrastive.text_model_name_or_path,
        contrastive.text_pooling,
        model.text_model,
    )
    facts = dataset_facts(table)
    warn_of_conclusions(facts)
    splits = read_splits(data, TextEmbeddings(text_table), table.splits, contrastive.pair_with, args.seed)
    plan = plan_steps(args, len(splits["train"]), accelerator.num_processes)
    if contrastive.center_text:
        model.text_center.copy_(mean_text_embedding(splits["train"]))
    recordings = hold_recordings(data.cache_dataset_on_device, table, splits, accelerator.device)

    # ---- 5 optimizer and schedule, 6 prepare
    if args.sync_batchnorm:
        model = with_sync_batchnorm(model, accelerator)
    steps = total_steps(args, plan)
    optimizer, schedule = make_optimizer(model, args, steps)
    module, optimizer = accelerator.prepare(model, optimizer)
    task = make_task(feed, module, splits, contrastive, tokenizer)
    best = BestWeights(accelerator, module, output_dir / "best.safetensors", frozen_prefix="text_model.")
    loop = TrainingLoop(feed, task, optimizer, schedule, plan, args, best.save)
    notes = {
        "matched with": contrastive.pair_with,
        "negatives per ECG": f"{plan.global_batch_size - 1:,}",
        "distinct reports": f"{len(text_table):,}",
        "recordings": recordings,
    }
    print_plan(accelerator, table, splits, plan, steps, model, notes)

    # ---- 7 resume, 8 loop
    loop.resume()
    if not loop.run():
        return None

    # ---- 9 final evaluation, save, push
    best.load()
    module.eval()
    metrics, ranks = measure(task, splits, loop.state.best_step)
    if accelerator.is_main_process:
        model.config.ecg_config.training_statistics = statistics_of_split(splits["train"], signal)
        save_for_hub(model, output_dir, EcgClipProcessor(feature_extractor, tokenizer))
        write_figures(output_dir, loop.state.history, ranks)
        of_run = run_facts("contrastive", table, measured, splits, encoder) | {"best_step": loop.state.best_step}
        write_run_record(output_dir, accelerator, arguments, facts, **of_run)
        # Last: a folder with metrics is a finished one.
        write_json(output_dir / "metrics.json", metrics)
        best.path.unlink()
        finish_folder(output_dir, hub)
    accelerator.end_training()
    return metrics.get("validation", {})


if __name__ == "__main__":
    sys.exit(exit_code(main))
