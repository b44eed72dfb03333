import copy
from dataclasses import replace

import pytest

from modeling_ecgclip import Label, SignalSpec
from publishing.card_text import ecg_kind, few_of, folded_table, in_order, listed, some_of, titled, with_interval


def test_sentences_name_a_few_and_count_the_rest():
    assert (listed(["a"]), listed(["a", "b", "c"])) == ("a", "a, b and c")
    names = [f"L{i}" for i in range(71)]
    assert some_of(names[:8]) == listed(names[:8])
    assert some_of(names) == "L0, L1, L2, L3, L4, L5 and 65 more"
    assert titled(Label("AF", "atrial fibrillation")) == "atrial fibrillation (AF)"
    assert titled(Label("AF")) == "AF"
    assert ecg_kind(SignalSpec()) == "12-lead ECG"
    assert ecg_kind(SignalSpec(("II",))) == "single-lead ECG"


def test_few_positives_are_named_or_of_many_counted():
    assert few_of({"AF": 3, "ST": 9, "SB": 40}, 30) == "AF 3 and ST 9"
    assert few_of({"SB": 40}, 30) is None
    assert few_of({str(i): i for i in range(71)}, 30) == "30 of 71 labels"


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ({}, "not defined"),
        ({"n_known": 0, "n_positive": 0}, "not defined (no known labels)"),
        ({"n_known": 9, "n_positive": 0}, "not defined (no positives)"),
        ({"n_known": 9, "n_positive": 9}, "not defined (no negatives)"),
        ({"n_known": 9, "n_positive": 4}, "not defined (no exams called positive)"),
        ({"n_known": 0}, "not defined (no known values)"),
        ({"n_known": 9}, "not defined"),
    ],
)
def test_what_is_not_defined_says_why(counts, shown):
    assert with_interval(None, None, counts) == shown
    assert with_interval(0.5, {"low": 0.25, "high": 0.75}, counts) == "0.500 [0.250, 0.750]"
    assert with_interval(0.5, {"low": None, "high": None}, counts) == "0.500 [–]"
    assert with_interval(0.5, None, counts) == "0.500"


def test_long_tables_are_folded_behind_the_mean():
    rows = [[f"L{i}", str(i)] for i in range(14)]
    table = folded_table(["label", "n"], rows, first=[["all", "99"]], last=[["mean", "5"]])
    shown, fold = table.split("<details>")
    assert [line.split()[1] for line in shown.split("\n")[2:-2]] == ["all", *(f"L{i}" for i in range(12)), "mean"]
    assert "The other 2" in fold and "L13" in fold and "mean" not in fold
    assert "<details>" not in folded_table(["label", "n"], rows[:12])


def test_many_labels_are_sorted_by_their_positives(run_of):
    run = run_of("many")
    run = replace(run, record=copy.deepcopy(run.record))
    assert [label.name for label in in_order(run)] == run.label_names  # made so that the first have the most
    run.record["used"]["test"]["positives"]["L70"] = 500
    assert in_order(run)[0].name == "L70"
    assert in_order(run, "train")[0].name == "L00"
    assert [label.name for label in in_order(run_of("superclasses"))] == ["NORM", "MI", "STTC", "CD", "HYP"]
