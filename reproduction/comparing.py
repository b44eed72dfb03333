"""Arms against each other: the primary comparisons with Holm's correction, and all the others."""

from collections.abc import Sequence
from dataclasses import asdict

from reproduction.formatting import DASH, PAPER_METRICS, RANK_METRICS, Row, number, p_shown, signed, with_interval
from reproduction.paper import paper_number
from reproduction.results import MEAN, Results
from reproduction.settings import ARMS, PRIMARY, SETTINGS
from reproduction.statistics import holm


METRIC_TITLES = {**PAPER_METRICS, **RANK_METRICS}
INTERVAL_NOTE = (
    "In brackets the 95 % interval of a bootstrap that draws seeds and test patients together, both with replacement "
    "({n_resamples} resamples, paired between arms; the patients of a resample are the same for all seeds). A seed "
    "is a whole run: weights, order of exams, patients that keep their labels, and thresholds of its own validation. "
    "A mean over a class with fewer than ten test positives has no interval."
)


def primary_rows(results: Results, n_resamples: int) -> list[Row]:
    """Pre-trained against random initialisation in each setting: mean F1, with and without Holm's correction."""
    random, pretrained = PRIMARY
    if not {random, pretrained} <= set(results.arms):
        return []
    found = {}
    for setting in results.settings:
        of_setting = results.difference(setting, random, pretrained, n_resamples)
        if of_setting:
            found[setting] = of_setting[MEAN]["f1"]
    corrected = holm([entry.p_value for entry in found.values()])
    rows = []
    for (setting, entry), p_holm in zip(found.items(), corrected, strict=True):
        seeds = [s for s in results.seeds if all((setting, arm, s) in results.cells for arm in PRIMARY)]
        row: Row = {"setting": setting, "seeds": len(seeds), **asdict(entry), "p_holm": p_holm}
        row["not_converged"] = sum(results.not_converged(setting, arm) for arm in PRIMARY)
        for arm in PRIMARY:
            row[f"paper_{arm}"] = paper_number(setting, arm, MEAN, "f1") if results.labels_of_paper else None
        rows.append(row)
    return rows


def shown_primary(results: Results, rows: Sequence[Row]) -> list[Row]:
    """Those rows as the Markdown shows them."""
    entries = []
    for row in rows:
        interval = "" if row["low"] is None else f" [{signed(row['low'])}, {signed(row['high'])}]"
        entry = {
            "setting": SETTINGS[row["setting"]].title,
            "seeds": row["seeds"],
            "random initialisation": number(row["a"]),
            "pre-trained": number(row["b"]),
            "gain": signed(row["difference"]) + interval,
            "p": p_shown(row["p_value"]),
            "p (Holm)": p_shown(row["p_holm"]),
            "converged": "yes" if not row["not_converged"] else f"not converged ({row['not_converged']} runs)",
        }
        if results.labels_of_paper:
            before, after = (row[f"paper_{arm}"] for arm in PRIMARY)
            known = before is not None and after is not None
            entry["paper (one run)"] = f"{before:.3f} → {after:.3f} ({signed(after - before)})" if known else DASH
        entries.append(entry)
    return entries


def difference_rows(results: Results, n_resamples: int) -> list[Row]:
    """Every difference of `Results.comparisons`, of every class and metric."""
    rows = []
    for setting in results.settings:
        for a, b in results.comparisons():
            for label, of_label in results.difference(setting, a, b, n_resamples).items():
                for metric in METRIC_TITLES:
                    which = {"setting": setting, "arm_a": a, "arm_b": b, "class": label, "metric": metric}
                    rows.append({**which, **asdict(of_label[metric])})
    return rows


def shown_differences(results: Results, n_resamples: int) -> list[Row]:
    """The differences of mean F1, AUROC and average precision, as the Markdown shows them."""
    rows = []
    for setting in results.settings:
        for a, b in results.comparisons():
            found = results.difference(setting, a, b, n_resamples)
            if found:
                row: Row = {
                    "setting": SETTINGS[setting].title,
                    "difference": f"{ARMS[b].title} − {ARMS[a].title}",
                }
                for metric in ("f1", *RANK_METRICS):
                    row[f"mean {METRIC_TITLES[metric]}"] = with_interval(found[MEAN][metric])
                rows.append(row)
    return rows
