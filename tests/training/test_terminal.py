"""What a training shows in a terminal."""

import logging

import pytest

from training.terminal import Plain, is_news, validation_line


def line(message):
    return logging.LogRecord("training.loop", logging.INFO, __file__, 1, message, (), None)


def test_lines_have_a_time_and_no_rank():
    shown = Plain().format(line("[RANK 0] step 1, of [RANK 2]"))
    assert shown.partition(" ")[2] == "step 1, of [RANK 2]"


@pytest.mark.parametrize(
    ("rows", "news"),
    [
        ("pooler.dense.bias | UNEXPECTED |", False),
        ("classifier.weight | MISSING    |", False),
        ("pooler.dense.bias | MISSING    |", False),
        ("encoder.weight    | \x1b[31mMISSING\x1b[0m |", True),
        ("classifier.weight | MISSING    |\nencoder.weight | MISMATCH | (2,) (3,)", True),
    ],
)
def test_a_report_of_weights_is_shown_where_it_can_be_a_fault(rows, news):
    report = f"BertModel LOAD REPORT from: m\nKey | Status |\n--+--\n{rows}\n\nNotes:\n- MISSING: newly initialized"
    assert is_news(line(report)) == news
    assert is_news(line("another warning"))


def test_a_validation_is_one_short_line():
    results = {
        "loss": 1.5,
        "ecg_to_text_recall_at_1": 0.1,
        "ecg_to_text_recall_at_10": 0.25,
        "zero_shot_auroc_AF": 1.0,
    }
    results |= {"zero_shot_auroc_AF": 1.0, "zero_shot_en_auroc_mean": 0.5}
    said = "step 3, validation: loss 1.5000, ecg_to_text_recall_at_10 0.2500, zero_shot_en_auroc_mean 0.5000"
    assert validation_line(3, results) == said
