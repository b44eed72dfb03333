"""
The reports that lie nearest to an ECG in the joint space, among a small set that is embedded beforehand.

    python -m space.nearest --clip_model_name_or_path R --dataset_name_or_path O [--num_reports 300] [--output_file F]

writes that set. It runs where the exam table is; the Space needs nothing but the file.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch


DEFAULT_FILE = "report_index.npz"
DEFAULT_REPORTS = 300
BATCH_SIZE = 64
SIMULATED = "simulated"  # the source that the simulator states


@dataclass(frozen=True)
class ReportIndex:
    """
    Reports with their places in the joint space of one dual encoder.

    Args:
        reports (`list[str]`): Their descriptions.
        text_embeds (`np.ndarray` float32 of shape `(reports, projection_dim)`): L2-normalised.
        fingerprint (`str`): Of the dual encoder, see [`fingerprint`].
        source (`str`): Where the reports come from, as the exam table states it.
    """

    reports: list[str]
    text_embeds: np.ndarray
    fingerprint: str
    source: str

    def nearest(self, ecg_embeds: np.ndarray, count: int = 5) -> list[dict[str, Any]]:
        """
        Returns the nearest reports, the nearest first.

        Args:
            ecg_embeds (`np.ndarray` of shape `(projection_dim,)`): An ECG's place in the same space.
            count (`int`, defaults to 5): How many.

        Returns:
            `list[dict]` with `report` and `similarity`, the cosine.
        """
        similarity = self.text_embeds @ np.asarray(ecg_embeds, np.float32)  # (reports,)
        order = np.argsort(-similarity, kind="stable")[:count]
        return [{"report": self.reports[i], "similarity": float(similarity[i])} for i in order]

    def save(self, path: str | Path) -> None:
        """Writes the index as `.npz`, aside and then renamed."""
        path = Path(path)
        aside = path.with_name(f".{path.name}.incomplete.npz")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            np.savez_compressed(
                aside,
                text_embeds=self.text_embeds.astype(np.float32),
                # UTF-8: numpy's own text takes four bytes a character and as many characters as the longest report.
                reports=np.frombuffer("\0".join(self.reports).encode(), np.uint8),
                fingerprint=np.array(self.fingerprint),
                source=np.array(self.source),
            )
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path, model: Any = None) -> "ReportIndex":
        """
        Returns the index of a file.

        Args:
            path (`str` or `Path`): Written by [`save`].
            model (`EcgClipModel`, *optional*): The dual encoder it must belong to.

        Raises:
            `FileNotFoundError`: where there is no such file.
            `ValueError`: for another kind of file, or an index of another dual encoder.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: no such report index: make one with python -m space.nearest --help")
        try:
            with np.load(path, allow_pickle=False) as held:
                index = cls(
                    held["reports"].tobytes().decode().split("\0"),
                    held["text_embeds"],
                    str(held["fingerprint"]),
                    str(held["source"]),
                )
        except (ValueError, KeyError, EOFError, OSError) as error:
            raise ValueError(
                f"{path}: expected a report index, as python -m space.nearest writes it: {error}"
            ) from error
        if index.text_embeds.ndim != 2 or len(index.reports) != len(index.text_embeds):
            raise ValueError(
                f"{path}: expected one embedding for each of {len(index.reports)} reports: "
                f"found {index.text_embeds.shape}"
            )
        if model is not None and index.fingerprint != fingerprint(model):
            raise ValueError(
                f"{path}: these reports were embedded by another dual encoder: make the index again with "
                "python -m space.nearest"
            )
        return index


def fingerprint(model: Any) -> str:
    """Returns a sha256 of what spans the joint space of an `EcgClipModel`: projections and the text's centre."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if name.startswith(("ecg_projection.", "text_projection.", "text_center")):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def embed_reports(model: Any, tokenizer: Any, reports: Sequence[str]) -> np.ndarray:
    """
    Returns the places of reports in the joint space, float32 `(reports, projection_dim)`, L2-normalised.

    Args:
        model (`EcgClipModel`), tokenizer: From one folder.
        reports (`list[str]`): Descriptions.
    """
    embeds = []
    for first in range(0, len(reports), BATCH_SIZE):
        tokens = tokenizer(reports[first : first + BATCH_SIZE], padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            embeds.append(model.get_text_features(**tokens.to(model.device)).float().cpu().numpy())
    return np.concatenate(embeds)


def build_index(
    clip_model: str, dataset: str, num_reports: int = DEFAULT_REPORTS, seed: int = 0, allow_real_reports: bool = False
) -> ReportIndex:
    """
    Returns an index of distinct reports of an exam table's training split.

    Args:
        clip_model (`str`): Folder or Hub id of an `EcgClipModel` with its processor.
        dataset (`str`): Folder or Hub id of an exam table with reports.
        num_reports (`int`, defaults to 300): Drawn at random; all, where the table has fewer.
        seed (`int`, defaults to 0): Of the draw.
        allow_real_reports (`bool`, defaults to `False`): The reports may be published although they are not simulated.

    Raises:
        `ValueError`: for a table without reports, or reports of patients without `allow_real_reports`.
    """
    from data_scripts.schema import NO_REPORT, load_exam_table
    from modeling_ecgclip import EcgClipModel, EcgClipProcessor

    if num_reports < 1:
        raise ValueError(f"--num_reports must be at least 1: found {num_reports}")
    train = load_exam_table(dataset)["train"].select_columns(["source", "report", "report_id"])
    sources = sorted(set(train["source"]))
    if sources != [SIMULATED] and not allow_real_reports:
        raise ValueError(
            f"{dataset}: the reports come from {', '.join(sources)} and may speak of patients, and everyone who opens "
            "the Space can read them: --allow_real_reports says that you may publish them"
        )
    reports = dict.fromkeys(
        report for report, report_id in zip(train["report"], train["report_id"], strict=True) if report_id != NO_REPORT
    )
    if not reports:
        raise ValueError(f"{dataset}: the training split has no reports")
    reports = list(reports)
    chosen = np.random.default_rng(seed).permutation(len(reports))[:num_reports]
    reports = [reports[i] for i in sorted(chosen)]
    model = EcgClipModel.from_pretrained(clip_model).eval()
    tokenizer = EcgClipProcessor.from_pretrained(clip_model).tokenizer
    return ReportIndex(reports, embed_reports(model, tokenizer, reports), fingerprint(model), ", ".join(sources))


def main(argv: Sequence[str] | None = None) -> int:
    """Builds and writes an index; returns 0, or 2 for arguments that cannot be honoured."""
    parser = argparse.ArgumentParser(
        prog="python -m space.nearest",
        description="Embed a small set of reports in a dual encoder's joint space, for the Space to search.",
    )
    parser.add_argument("--clip_model_name_or_path", required=True, help="dual encoder: a folder or a model id")
    parser.add_argument("--dataset_name_or_path", required=True, help="exam table with reports: a folder or an id")
    parser.add_argument(
        "--output_file", default=DEFAULT_FILE, help=f"where app.py looks for it (default {DEFAULT_FILE})"
    )
    parser.add_argument(
        "--num_reports",
        type=int,
        default=DEFAULT_REPORTS,
        help=f"how many, drawn at random (default {DEFAULT_REPORTS})",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default 0)")
    parser.add_argument(
        "--allow_real_reports",
        action="store_true",
        help="the reports may be published although they are not simulated",
    )
    args = parser.parse_args(argv)
    try:
        index = build_index(
            args.clip_model_name_or_path,
            args.dataset_name_or_path,
            args.num_reports,
            args.seed,
            args.allow_real_reports,
        )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    index.save(args.output_file)
    print(f"{len(index.reports)} {index.source} reports in {args.output_file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
