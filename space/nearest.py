"""The reports that lie nearest to an ECG in the joint space, among a small set that is embedded beforehand."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch


INDEX_FILE = "report_index.npz"  # in the folder of the dual encoder, whose space it belongs to
BATCH_SIZE = 64


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
            raise FileNotFoundError(f"{path}: no such report index: make one with python -m space.index_reports")
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
                f"{path}: expected a report index, as python -m space.index_reports writes it: {error}"
            ) from error
        if index.text_embeds.ndim != 2 or len(index.reports) != len(index.text_embeds):
            raise ValueError(
                f"{path}: expected one embedding for each of {len(index.reports)} reports: "
                f"found {index.text_embeds.shape}"
            )
        if model is not None and index.fingerprint != fingerprint(model):
            raise ValueError(
                f"{path}: these reports were embedded by another dual encoder: make the index again with "
                "python -m space.index_reports"
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


__all__ = ["INDEX_FILE", "ReportIndex", "embed_reports", "fingerprint"]
