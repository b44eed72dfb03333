"""What the demo tells of its runs."""

from examples.demo.compare import pretraining_table, where_it_helped


def results(**f1):
    return {"per_class": {name: {"f1": value} for name, value in f1.items()}}


def test_it_says_where_pretraining_did_not_help():
    before = results(AF=0.5, SB=0.2, ST=None)
    assert where_it_helped(before, results(AF=0.25, SB=0.3, ST=None)) == (
        "F1 is higher from pre-trained weights for SB; not for AF (-0.250), ST (+0.000)."
    )
    assert "for no label; not for AF" in where_it_helped(before, before)
    assert "for every label" in where_it_helped(before, results(AF=0.6, SB=0.3, ST=0.1))


def test_pretraining_is_told_by_the_weights_that_were_kept():
    names = ("eval_ecg_to_text_recall_at_10", "eval_ecg_to_text_median_rank", "eval_zero_shot_auroc_mean")
    history = [{"step": 10, "loss": 9.0}]
    history += [{"step": step, "eval_loss": 3.0 - step, **dict.fromkeys(names, float(step))} for step in (0, 1, 2)]
    lines = pretraining_table(history, 1).splitlines()
    assert [line.split()[1] for line in lines[2:]] == ["before", "after"]
    assert "after step 1" in lines[-1] and lines[-1].count("1.000") == 3 and "2.000" in lines[-1]
