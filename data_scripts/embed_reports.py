"""Embeds each distinct report of an exam table once, with a frozen text encoder.

python -m data_scripts.embed_reports --dataset_name_or_path O --text_model_name_or_path M [--text_pooling mean|cls]
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import hashlib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset, DatasetDict, load_from_disk
from datasets.utils import tqdm
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from common.arguments import Parser
from common.checksums import verify_data, write_checksums
from common.commands import exit_status
from common.hub_access import check_model
from common.locks import only_writer
from common.writing import written_aside
from data_scripts.tables.schema import load_exam_table, refuse_chained_name, text_features
from modeling_ecgclip.clip_ecgclip import pool_tokens
from modeling_ecgclip.hub_ecgclip import load_verified
from modeling_ecgclip.losses_ecgclip import NO_REPORT


TEXT_TABLE_FOLDER = "text_table"
RECORD_FILE = "text_table.json"
# Tokenizers that state no limit say 1e30.
LARGEST_STATED_LIMIT = 1_000_000


def embed_texts(
    texts: Sequence[str],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pooling: str = "mean",
    batch_size: int = 64,
    device: str | torch.device | None = None,
    progress: bool = True,
) -> np.ndarray:
    """
    Returns the pooled last hidden state of each text: H_t of the paper, not normalised.

    Args:
        texts (`list[str]`): None of them blank. Texts beyond the encoder's limit are cut at their end.
        model (`PreTrainedModel`): Text encoder; moved to `device` and set to evaluation.
        tokenizer (`PreTrainedTokenizerBase`): Of the same encoder.
        pooling (`str`, defaults to `"mean"`): Over the attention mask, or `"cls"`, the first token.
        batch_size (`int`, defaults to 64): Texts at a time; batches hold texts of like length.
        device (`str` or `torch.device`, *optional*): The accelerator if there is one, or else the CPU.
        progress (`bool`, defaults to `True`): Show a bar.

    Returns:
        `np.ndarray` float32 of shape (n, width), in the order of `texts`.

    Raises:
        `ValueError`: for a blank text, naming its place.
    """
    for i, text in enumerate(texts):
        if not text.strip():
            raise ValueError(f"text {i} of {len(texts)} is empty: an empty report has no embedding")
    if device is None:
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
    model = model.to(device).eval()
    embeds = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    # The longest first: where memory runs out, it does so at once.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True)
    with tqdm(total=len(texts), desc="Embedding reports", unit=" reports", disable=not progress) as bar:
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            inputs = tokenizer(
                [texts[i] for i in chosen],
                padding=True,
                truncation=True,
                max_length=token_limit(model, tokenizer),
                return_tensors="pt",
            ).to(device)
            with torch.inference_mode():
                hidden = model(**inputs).last_hidden_state  # (batch, tokens, width)
                pooled = pool_tokens(hidden, inputs["attention_mask"], pooling)  # (batch, width)
            embeds[chosen] = pooled.float().cpu().numpy()
            bar.update(len(chosen))
    return embeds


def token_limit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Returns how many tokens the encoder takes, as its tokenizer states or else its positions; None for no limit."""
    if tokenizer.model_max_length < LARGEST_STATED_LIMIT:
        return tokenizer.model_max_length
    return getattr(model.config, "max_position_embeddings", None)


def load_text_encoder(name_or_path: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """
    Returns a text encoder in float32 and its tokenizer.

    Args:
        name_or_path (`str` or `Path`): Folder or Hub id.

    Raises:
        `FileNotFoundError`: where there is no such folder, or model or tokenizer cannot be found in it or on the Hub.
        [`DamagedFileError`]: where a file differs from the digest in the folder's `SHA256SUMS`.
    """
    path = Path(name_or_path)
    if not path.is_dir() and (path.is_absolute() or str(name_or_path).startswith(".") or len(path.parts) > 2):
        raise FileNotFoundError(f"text model {name_or_path}: no such folder, and not the id of a model on the Hub")
    if path.is_dir() and not (path / "config.json").is_file():
        raise FileNotFoundError(f"text model {name_or_path}: no config.json in this folder")
    try:
        # In the checkpoint's own, perhaps half precision, embeddings would differ from device to device.
        load_model = partial(AutoModel.from_pretrained, name_or_path, dtype=torch.float32)
        return load_verified(lambda: (load_model(), AutoTokenizer.from_pretrained(name_or_path)), name_or_path)
    except OSError as error:
        raise FileNotFoundError(f"text model {name_or_path}: found neither here nor on the Hub: {error}") from error


def weights_fingerprint(model: PreTrainedModel) -> str:
    """
    Returns a sha256 of all weights but those of a pooler, in float32.

    A pooler is left out because embeddings do not use it, and because a checkpoint without one gets a random one.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith("pooler."):
            values = tensor.detach().cpu().float().contiguous().numpy()
            digest.update(f"{name} {values.shape}".encode())
            digest.update(values.data)
    return digest.hexdigest()


def distinct_reports(table: DatasetDict, name: str) -> dict[int, str]:
    """
    Returns the text of each report id of an exam table, ids rising.

    Raises:
        `ValueError`: for a table without reports, or an id that stands for two texts.
    """
    reports: dict[int, str] = {}
    for split, rows in table.items():
        for batch in rows.data.select(["report_id", "report"]).to_batches():
            for report_id, report in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if report_id != NO_REPORT and reports.setdefault(report_id, report) != report:
                    raise ValueError(f"exam table {name}, split {split}: report_id {report_id} stands for two texts")
    if not reports:
        raise ValueError(f"exam table {name} has no reports: nothing to embed")
    return dict(sorted(reports.items()))


def text_table_folder(dataset_folder: str | Path, text_model: str | Path, pooling: str) -> Path:
    """Returns where the text table of a text model lies beside an exam table; errors as in [`refuse_chained_name`]."""
    refuse_chained_name(Path(dataset_folder))
    name = str(text_model).rstrip("/")
    name = Path(name).resolve().name if Path(name).is_dir() else name
    slug = re.sub(r"[^A-Za-z0-9._-]+", "--", name)
    return Path(dataset_folder, TEXT_TABLE_FOLDER, f"{slug}-{pooling}")


def load_text_table(
    dataset_folder: str | Path,
    text_model: str | Path,
    pooling: str = "mean",
    model: PreTrainedModel | None = None,
    verify: bool = True,
) -> Dataset:
    """
    Returns the text table that `embed_reports` wrote: `report_id`, `report`, `text_embeds` (float32, fixed size).

    Args:
        dataset_folder (`str` or `Path`): The exam table, or the folder that was named as `--output_dir`.
        text_model (`str` or `Path`): As it was named when embedding.
        pooling (`str`, defaults to `"mean"`): `"mean"` or `"cls"`.
        model (`PreTrainedModel`, *optional*): The text encoder, to check that these are its embeddings.
        verify (`bool`, defaults to `True`): Compare its files with their `SHA256SUMS`, where there is one.

    Raises:
        `FileNotFoundError`: where there is no such text table; the message has the command that makes it.
        `ValueError`: where the table was made with other weights than those of `model`, or a file differs from its
            digest.
    """
    folder = text_table_folder(dataset_folder, text_model, pooling)
    if not (folder / RECORD_FILE).is_file():
        raise FileNotFoundError(
            f"no text table {folder}: make it with python -m data_scripts.embed_reports "
            f"--dataset_name_or_path {dataset_folder} --text_model_name_or_path {text_model} --text_pooling {pooling}"
        )
    if verify:
        verify_data(folder)
    record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    if model is not None and record["fingerprint"] != weights_fingerprint(model):
        raise ValueError(
            f"text table {folder} was made with other weights than {text_model} has now: expected fingerprint "
            f"{weights_fingerprint(model)}, found {record['fingerprint']}; run data_scripts.embed_reports again"
        )
    return load_from_disk(str(folder))


@dataclass
class EmbedArguments:
    """What is embedded, and with what."""

    dataset_name_or_path: str = field(metadata={"help": "exam table: a folder or a data set id on the Hub"})
    text_model_name_or_path: str = field(metadata={"help": "text encoder: a folder or a model id on the Hub"})
    text_pooling: Literal["mean", "cls"] = field(default="mean", metadata={"help": "how tokens become one vector"})
    batch_size: int = field(default=64, metadata={"help": "texts at a time"})
    output_dir: str | None = field(
        default=None, metadata={"help": "where text_table/ goes; the exam table's own folder where left out"}
    )
    verify: bool = field(default=True, metadata={"help": "compare the exam table's files with its SHA256SUMS first"})

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"--batch_size must be at least 1: found {self.batch_size}")
        if self.output_dir is None and not Path(self.dataset_name_or_path).is_dir():
            raise FileNotFoundError(
                f"--dataset_name_or_path {self.dataset_name_or_path}: no such folder; for a data set on the Hub name "
                "an --output_dir for the text table"
            )


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Embeds and writes the text table; returns what `text_table.json` says."""
    (arguments,) = Parser(__doc__, EmbedArguments).parse_args_into_dataclasses(args=argv)
    dataset, text_model = arguments.dataset_name_or_path, arguments.text_model_name_or_path
    check_model(text_model, "--text_model_name_or_path")
    model, tokenizer = load_text_encoder(text_model)
    reports = distinct_reports(load_exam_table(dataset, verify=arguments.verify), dataset)
    folder = text_table_folder(arguments.output_dir or dataset, text_model, arguments.text_pooling)
    record = {
        "text_model": folder.name.removesuffix(f"-{arguments.text_pooling}"),
        "pooling": arguments.text_pooling,
        "fingerprint": weights_fingerprint(model),
        "reports_sha256": hashlib.sha256(json.dumps(list(reports.items())).encode()).hexdigest(),
        "width": model.config.hidden_size,
        "count": len(reports),
    }
    with only_writer(folder):
        if _holds(folder, record):
            print(f"{folder} holds these {len(reports)} embeddings already")
            return record
        embeds = embed_texts(list(reports.values()), model, tokenizer, arguments.text_pooling, arguments.batch_size)
        write_text_table(folder, reports, embeds, record)
    print(f"{len(reports)} distinct reports, {record['width']} numbers each, written to {folder}")
    return record


def _holds(folder: Path, record: dict[str, Any]) -> bool:
    """Whether a text table is there already, and whole; one that is damaged is written anew."""
    try:
        if json.loads((folder / RECORD_FILE).read_text(encoding="utf-8")) != record:
            return False
        verify_data(folder)
    except FileNotFoundError:
        return False
    except ValueError as error:
        print(f"embedding again: {error}", file=sys.stderr)
        return False
    return True


def write_text_table(folder: Path, reports: dict[int, str], embeds: np.ndarray, record: dict[str, Any]) -> None:
    """
    Writes a text table, aside and then renamed.

    Args:
        folder (`Path`): Its final name.
        reports (`dict[int, str]`): Text of each report id.
        embeds (`np.ndarray` float32 of shape (reports, width)): In the same order.
        record (`dict`): For `text_table.json`.
    """
    features = text_features(embeds.shape[1])
    flat = pa.array(np.ascontiguousarray(embeds, dtype=np.float32).ravel())
    columns = [
        pa.array(list(reports), pa.int32()),
        pa.array(list(reports.values()), pa.string()),
        pa.FixedSizeListArray.from_arrays(flat, embeds.shape[1]),
    ]
    table = Dataset(pa.Table.from_arrays(columns, schema=features.arrow_schema))
    with written_aside(folder) as aside:
        table.save_to_disk(str(aside))
        (aside / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        write_checksums(aside)


if __name__ == "__main__":
    sys.exit(exit_status(main))
