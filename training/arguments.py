"""Command-line arguments of both training scripts, as dataclasses for `HfArgumentParser`."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from common.hub_access import check_repo_id
from common.locks import lock_path
from modeling_ecgclip.towers_ecgclip import PRESETS
from training.augmentation import Augmentation


@dataclass
class DataArguments:
    """Which exams."""

    dataset_name_or_path: str = field(
        metadata={"help": "Exam table: a folder made by data_scripts, or a dataset id on the Hub."}
    )
    dataset_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of a dataset on the Hub."}
    )
    verify: bool = field(
        default=True,
        metadata={
            "help": "Compare the files of a table and of its text embeddings with their SHA256SUMS before the first "
            "step; each is read once for it."
        },
    )
    train_fraction: float = field(
        default=1.0,
        metadata={
            "help": "Share of the training and of the validation exams to use, in (0, 1]. Whole patients, drawn by "
            "--subset_seed; a smaller share lies inside a larger one. The test split never changes."
        },
    )
    labels_from: Literal["train", "validation"] = field(
        default="train",
        metadata={
            "help": "train: labels of the training split, thresholds from validation. validation: half of the "
            "validation patients train and the other half choose thresholds, for an encoder whose pre-training saw "
            "the training split (the paper's unseen data). Fine-tuning alone."
        },
    )
    subset_seed: int = field(
        default=0, metadata={"help": "Which patients --train_fraction keeps, and which half of validation trains."}
    )
    allow_empty_splits: bool = field(
        default=False,
        metadata={
            "help": "Do without a validation split (the last step is kept, thresholds are 0.5) or a test split "
            "(nothing is measured) where the table has no such exams."
        },
    )
    dataloader_num_workers: int | None = field(
        default=None,
        metadata={
            "help": "Threads that read the table ahead of the step; 0 reads when the step asks. Default: some on a "
            "GPU, none on a CPU."
        },
    )
    cache_dataset_on_device: Literal["auto", "on", "off"] = field(
        default="auto",
        metadata={
            "help": "Hold the recordings in the device's memory, two bytes a sample. auto: on a GPU, where they take "
            "at most 60 %% of what is free, unless each is read but once. on (or no value): an error where they do "
            "not fit. No choice changes a number.",
            "nargs": "?",
            "const": "on",
        },
    )
    augment: list[str] | None = field(
        default=None,
        metadata={
            "help": "Random changes of training ECGs, name=strength: amplitude (factor up to 1 + strength), noise_mv, "
            "wander_mv (mV), shift_s (seconds), lead_masking (probability). Default: none, as in the paper."
        },
    )

    def __post_init__(self) -> None:
        Augmentation.parse(self.augment)
        if not 0 < self.train_fraction <= 1:
            raise ValueError(f"--train_fraction must lie in (0, 1]: found {self.train_fraction}")


@dataclass
class EncoderArguments:
    """Where the ECG encoder starts."""

    model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Folder or Hub id whose encoder to start from (dual encoder, classifier or encoder). Left out: "
            "random initialisation."
        },
    )
    model_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of that model."})
    encoder_preset: str = field(
        default="fernandes2024",
        metadata={"help": f"Encoder for a random initialisation: {', '.join(PRESETS)}.", "choices": list(PRESETS)},
    )
    dropout: float | None = field(default=None, metadata={"help": "Replaces the encoder's own dropout rate."})


@dataclass
class ContrastiveArguments:
    """Stage 1 alone."""

    text_model_name_or_path: str = field(
        metadata={"help": "Text encoder: folder or Hub id, such as pucpr/biobertpt-all; frozen by default."}
    )
    train_text_model: bool = field(
        default=False,
        metadata={
            "help": "Train the text encoder too. It reads the reports in each step: data_scripts.embed_reports is not "
            "needed."
        },
    )
    freeze_encoder: bool = field(
        default=False,
        metadata={
            "help": "Leave the ECG encoder of --model_name_or_path as it is: its embeddings are computed once, and "
            "its projection and the text side are trained against them."
        },
    )
    drop_sentences: float = field(
        default=0.0,
        metadata={
            "help": "Leave each sentence of a training report out with this probability, all but one, so that single "
            "findings are texts that the encoder knows (--train_text_model)."
        },
    )
    text_table_dir: str | None = field(
        default=None,
        metadata={
            "help": "Folder that data_scripts.embed_reports was given as --output_dir; default: the exam table's own. "
            "Needed for an exam table on the Hub."
        },
    )
    text_pooling: Literal["mean", "cls"] = field(
        default="mean", metadata={"help": "How token states become one vector."}
    )
    text_projection: Literal["identity", "linear"] = field(
        default="identity", metadata={"help": "identity: the text embedding is the target, as in the paper."}
    )
    projection_dim: int | None = field(
        default=None, metadata={"help": "Width of the joint space; default: the text encoder's width."}
    )
    center_text: bool = field(
        default=False,
        metadata={"help": "Subtract the training set's mean text embedding; for encoders whose texts all look alike."},
    )
    positives: Literal["paired", "same_report"] = field(
        default="paired",
        metadata={"help": "paired: each ECG's own report (the paper). same_report: every exam with an equal report."},
    )
    pair_with: Literal["report", "second_view", "other_report", "random_vector"] = field(
        default="report",
        metadata={
            "help": "What each ECG is matched with. report: its own (the paper). For comparisons: second_view, "
            "another augmented view of itself (SimCLR; no report is read); other_report, another patient's; "
            "random_vector, a random vector for each distinct report. The last two are controls: they hold no meaning."
        },
    )
    loss: Literal["clip", "siglip"] = field(
        default="clip",
        metadata={"help": "clip: softmax over the whole global batch (the paper). siglip: sigmoid of each pair."},
    )
    prompt_language: Literal["pt", "en", "both"] = field(
        default="pt",
        metadata={"help": "Of the labels' phrases by which zero-shot classification is measured."},
    )
    measurements: str | None = field(
        default=None,
        metadata={
            "help": "Also learn what python -m data_scripts.measure --waves measured of each ECG: its Parquet file. "
            "Intervals, axes and waves in each lead reach the encoder, which no report tells."
        },
    )
    measurement_weight: float = field(
        default=4.0, metadata={"help": "How much the loss of --measurements counts beside the contrastive one."}
    )

    def __post_init__(self) -> None:
        if self.measurement_weight <= 0:
            raise ValueError(f"--measurement_weight must be above 0: found {self.measurement_weight}")
        if self.measurements and (self.freeze_encoder or self.pair_with == "second_view"):
            raise ValueError("--measurements goes without --freeze_encoder and without --pair_with second_view")
        if not 0 <= self.drop_sentences < 1:
            raise ValueError(f"--drop_sentences must lie in [0, 1): found {self.drop_sentences}")
        if self.drop_sentences and not self.train_text_model:
            raise ValueError("--drop_sentences needs --train_text_model: a frozen encoder embeds each report once")
        if self.train_text_model and (self.center_text or self.pair_with != "report"):
            raise ValueError("--train_text_model goes with --pair_with report, and without --center_text")


@dataclass
class ClassificationArguments:
    """Stage 2 alone."""

    task: Literal["multi_label", "multi_class", "regression"] = field(
        default="multi_label",
        metadata={
            "help": "multi_label: each label by itself. multi_class: the one label of several that an exam has. "
            "regression: the numbers of --target_columns."
        },
    )
    labels: list[str] | None = field(
        default=None, metadata={"help": "Names of the labels to learn; default: all of the exam table."}
    )
    target_columns: list[str] | None = field(
        default=None, metadata={"help": "Columns with the numbers to learn (--task regression), such as age."}
    )
    allow_one_sided_labels: bool = field(
        default=False,
        metadata={"help": "Train on labels that no training exam has, or that all have: nothing is learned of them."},
    )
    freeze_encoder: bool = field(
        default=False,
        metadata={"help": "Train the linear head alone, on embeddings that are computed once (linear probing)."},
    )
    head_learning_rate: float | None = field(
        default=None, metadata={"help": "Peak learning rate of the head; default: --learning_rate."}
    )
    pos_weight: Literal["none", "auto"] = field(
        default="none",
        metadata={"help": "auto: a label's positives weigh negatives / positives of the training exams, at most 100."},
    )

    def __post_init__(self) -> None:
        regression = self.task == "regression"
        if regression != bool(self.target_columns):
            raise ValueError("--task regression and --target_columns belong together: give both or neither")
        if regression and self.labels:
            raise ValueError("--labels are for classification: --task regression learns --target_columns")
        if self.pos_weight != "none" and self.task != "multi_label":
            raise ValueError(f"--pos_weight {self.pos_weight} is for --task multi_label: found --task {self.task}")
        if self.head_learning_rate is not None and self.head_learning_rate <= 0:
            raise ValueError(f"--head_learning_rate must be above 0: found {self.head_learning_rate}")
        if self.freeze_encoder and self.head_learning_rate is not None:
            raise ValueError("--freeze_encoder trains the head alone, with --learning_rate: no --head_learning_rate")


@dataclass
class TrainingArguments:
    """The loop, for both stages."""

    output_dir: str = field(metadata={"help": "Folder for the model, checkpoints, logs and plots."})
    per_device_train_batch_size: int = field(default=32, metadata={"help": "ECGs per process and forward pass."})
    per_device_eval_batch_size: int = field(default=128, metadata={"help": "The same, for evaluation."})
    gradient_accumulation_steps: int = field(
        default=1,
        metadata={"help": "Forward passes per optimizer step. In stage 1 all of them are each other's negatives."},
    )
    learning_rate: float = field(default=1e-3, metadata={"help": "Peak learning rate of AdamW."})
    weight_decay: float = field(default=0.0, metadata={"help": "Of weights with two or more axes."})
    lr_scheduler_type: Literal["linear", "cosine", "constant_with_warmup"] = field(
        default="linear", metadata={"help": "How the rate falls after the warm-up."}
    )
    warmup_steps: int = field(default=0, metadata={"help": "Steps of linear warm-up."})
    max_grad_norm: float = field(default=1.0, metadata={"help": "Gradients are scaled down to this norm; 0: never."})
    ema_decay: float | None = field(
        default=None,
        metadata={"help": "Validate and save a running average of the weights that keeps this share, such as 0.999."},
    )
    sync_batchnorm: bool = field(
        default=False, metadata={"help": "BatchNorm statistics of the whole global batch; GPUs alone."}
    )
    num_train_epochs: float = field(
        default=30.0, metadata={"help": "Passes over the training split; when resuming, as many or more."}
    )
    max_train_steps: int | None = field(
        default=None, metadata={"help": "Optimizer steps; replaces the epochs. When resuming, as many or more."}
    )
    eval_steps: int | None = field(default=None, metadata={"help": "Steps between validations; default: an epoch."})
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "Stop after this many validations without a better one."}
    )
    keep: Literal["best", "zero_shot", "last"] = field(
        default="best",
        metadata={
            "help": "Weights that are saved: of the lowest validation loss, of the highest mean AUROC of zero-shot "
            "classification on the validation split's labels (stage 1 alone), or of the last step."
        },
    )
    checkpointing_steps: str = field(
        default="epoch", metadata={"help": "Steps between checkpoints, 'epoch', or 'no'."}
    )
    checkpoints_total_limit: int = field(default=2, metadata={"help": "Checkpoints kept, the newest."})
    resume_from_checkpoint: str | None = field(
        default=None,
        metadata={
            "help": "'latest' (or nothing there yet: from the start), or a checkpoint's folder. What changes the "
            "result must be given as before; more steps may be asked for. A finished run is left as it is."
        },
    )
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "Remove what an earlier run left in --output_dir."}
    )
    mixed_precision: Literal["no", "bf16", "fp16"] | None = field(
        default=None, metadata={"help": "Autocast precision; default: what accelerate launch was told, else no."}
    )
    graph: Literal["auto", "off"] = field(
        default="auto",
        metadata={
            "help": "auto: on a CUDA GPU each step is captured once as a graph and replayed, with torch.compile "
            "inside in long runs; what cannot be captured runs eagerly, and a line says why. off: always eagerly."
        },
    )
    seed: int = field(default=0, metadata={"help": "Of weights, order of exams and dropout."})
    logging_steps: int = field(default=10, metadata={"help": "Steps between log entries."})
    report_to: str = field(
        default="none", metadata={"help": "Experiment tracker of accelerate (tensorboard, wandb, ...), or none."}
    )

    def __post_init__(self) -> None:
        for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
            _at_least_one(name, getattr(self, name))
        for name in ("max_train_steps", "eval_steps", "logging_steps", "checkpoints_total_limit"):
            _at_least_one(name, getattr(self, name))
        if self.learning_rate <= 0 or self.num_train_epochs <= 0:
            raise ValueError(
                "--learning_rate and --num_train_epochs must be above 0: "
                f"found {self.learning_rate} and {self.num_train_epochs}"
            )
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"--ema_decay must lie between 0 and 1: found {self.ema_decay}")
        if self.checkpointing_steps not in ("epoch", "no") and not self.checkpointing_steps.isdigit():
            raise ValueError(
                f"--checkpointing_steps must be a number, 'epoch' or 'no': found {self.checkpointing_steps!r}"
            )
        if self.overwrite_output_dir and self.resume_from_checkpoint:
            raise ValueError("--overwrite_output_dir would remove what --resume_from_checkpoint needs: choose one")


@dataclass
class HubArguments:
    """Publishing the result."""

    push_to_hub: bool = field(default=False, metadata={"help": "Upload the finished folder to the Hub."})
    hub_model_id: str | None = field(
        default=None, metadata={"help": "Repository, user/name or name; default: the name of --output_dir."}
    )
    hub_private_repo: bool = field(
        default=True, metadata={"help": "A new repository is private; --no_hub_private_repo makes it public."}
    )

    def __post_init__(self) -> None:
        if self.hub_model_id is not None:
            check_repo_id(self.hub_model_id if "/" in self.hub_model_id else f"user/{self.hub_model_id}")


GROUPS: tuple[type, ...] = (
    DataArguments,
    EncoderArguments,
    ContrastiveArguments,
    ClassificationArguments,
    TrainingArguments,
    HubArguments,
)


def as_record(*groups: Any) -> dict[str, Any]:
    """Returns all arguments as one flat dictionary for `run.json`."""
    return {f.name: getattr(group, f.name) for group in groups for f in fields(group)}


def check_output_dir(training: TrainingArguments) -> Path:
    """
    Returns the output folder, not yet made.

    Raises:
        `FileExistsError`: where an earlier run left files and neither resuming nor overwriting was asked for.
    """
    folder = Path(training.output_dir)
    occupied = folder.is_dir() and any(path != lock_path(folder) for path in folder.iterdir())
    if occupied and not training.overwrite_output_dir and not training.resume_from_checkpoint:
        raise FileExistsError(
            f"{folder} is not empty: give --resume_from_checkpoint latest, --overwrite_output_dir, or another folder"
        )
    return folder


def _at_least_one(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"--{name} must be at least 1: found {value}")
