from types import SimpleNamespace

import pytest
import torch

from training.report_tokens import ReportTokens, sentences_of


REPORTS = {3: "P: normal. PR: 0.21 s, aumentado. QRS: estreito.", 5: "FC normal."}


@pytest.fixture
def tokens_of(monkeypatch):
    """Makes `ReportTokens` whose tokenizer only keeps the texts."""

    def tokenizer(texts, **_):
        return {"input_ids": torch.zeros(len(texts), 1), "attention_mask": torch.ones(len(texts), 1), "texts": texts}

    tokenizer.model_max_length = 16

    def make(drop):
        read = []
        made = ReportTokens(REPORTS, SimpleNamespace(config=None), tokenizer, drop)
        made.tokenizer = lambda texts, **options: read.append(texts) or tokenizer(texts)
        return made, read

    return make


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("P: normal. PR: 0.21 s. QRS: largo.", ["P: normal.", "PR: 0.21 s.", "QRS: largo."]),
        ("Ritmo\nP normal.\n\nQRS largo", ["Ritmo", "P normal.", "QRS largo"]),
        ("AV-Block 1. Grades. ", ["AV-Block 1. Grades."]),
    ],
)
def test_sentences(text, sentences):
    assert sentences_of(text) == sentences


def test_whole_reports_unless_in_training(tokens_of):
    tokens, read = tokens_of(0.9)
    assert set(tokens(torch.tensor([5, 3]))) == {"input_ids", "attention_mask"}
    whole, _ = tokens_of(0.0)
    whole(torch.tensor([5]), training=True)
    assert read == [[REPORTS[5], REPORTS[3]]]


def test_training_leaves_sentences_out_in_order_and_never_all(tokens_of):
    tokens, read = tokens_of(0.6)
    torch.manual_seed(0)
    tokens(torch.tensor([3, 5] * 400), training=True)
    torch.manual_seed(0)
    tokens(torch.tensor([3, 5] * 400), training=True)
    assert read[0] == read[1]
    of_three = sentences_of(REPORTS[3])
    for text, report in zip(read[0], [REPORTS[3], REPORTS[5]] * 400, strict=True):
        kept = sentences_of(text)
        assert kept and kept == [one for one in sentences_of(report) if one in kept]
    share = sum(of_three[0] in text for text in read[0][::2]) / 400
    assert 0.4 < share < 0.55  # 0.4, and a third of the reports of which none would be left
