"""Reports as a text tower in training reads them: whole or in part, tokenised when a batch asks for them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from data_scripts.embed_reports import token_limit
from training.data import Batch


# A full stop, not that of a decimal or an ordinal number, and white space behind it; or a new line.
_SENTENCE_END = re.compile(r"(?<=[^\d\s]\.)\s+|\s*\n\s*")


def sentences_of(text: str) -> list[str]:
    """Returns the sentences of a text, each with its full stop."""
    return [sentence for sentence in _SENTENCE_END.split(text.strip()) if sentence]


class ReportTokens:
    """
    The distinct reports of an exam table, found by report id.

    Args:
        reports (`Mapping[int, str]`): Text of each id.
        model (`PreTrainedModel`): The text tower, which says how many tokens it takes.
        tokenizer (`PreTrainedTokenizerBase`): Of the same tower.
        drop_sentences (`float`, defaults to 0.0): Probability with which a training batch leaves a sentence out.
    """

    def __init__(self, reports: Mapping[int, str], model: Any, tokenizer: Any, drop_sentences: float = 0.0):
        self.reports, self.tokenizer, self.drop_sentences = reports, tokenizer, drop_sentences
        self.limit = token_limit(model, tokenizer)

    def __call__(self, report_ids: torch.Tensor, training: bool = False) -> Batch:
        """
        Returns `input_ids` and `attention_mask`, int64 (batch, tokens), on the device of `report_ids`.

        Args:
            report_ids (`torch.Tensor` of int, shape `(batch,)`): Each has a report.
            training (`bool`, defaults to `False`): Leave sentences out; torch's generator draws them.
        """
        texts: Sequence[str] = [self.reports[report_id] for report_id in report_ids.tolist()]
        if training and self.drop_sentences:
            texts = [self._part(text) for text in texts]
        inputs = self.tokenizer(texts, padding=True, truncation=True, max_length=self.limit, return_tensors="pt")
        return {name: inputs[name].to(report_ids.device) for name in ("input_ids", "attention_mask")}

    def _part(self, text: str) -> str:
        """Some of the sentences, in their order, at least one."""
        sentences = sentences_of(text)
        drawn = torch.rand(len(sentences)).tolist()
        kept = [one for one, luck in zip(sentences, drawn, strict=True) if luck >= self.drop_sentences]
        return " ".join(kept) or sentences[drawn.index(max(drawn))]
