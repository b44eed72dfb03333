"""A probe's record as tables in Markdown."""

from collections.abc import Mapping
from typing import Any

from common.markdown import markdown_table


PROTOCOLS = {
    "split": "Trained on train, penalty chosen on validation, measured on test",
    "folds": "Five folds by patient over all exams",
}


def cell(value: Mapping[str, Any]) -> str:
    """Returns AUROC, its standard deviation over draws and its interval, whichever there are."""
    if value["auroc"] is None:
        return "–"
    spread = "" if value["sd"] is None else f" ± {value['sd']:.3f}"
    ends = "" if value["low"] is None else f" [{value['low']:.3f}, {value['high']:.3f}]"
    return f"{value['auroc']:.3f}{spread}{ends}"


def share(result: Mapping[str, Any]) -> str:
    """Returns how much was trained on, in words."""
    return f"{100 * result['fraction']:g} % ({result['n_trained']:.0f})"


def report(record: Mapping[str, Any]) -> str:
    """Returns all tables: the means of every label set, and the labels one by one at the largest share."""
    sections = []
    for name, found in record["label_sets"].items():
        counts = ", ".join(f"{split} {n['exams']} ({n['patients']})" for split, n in found["splits"].items())
        sections.append(f"## {name}\n\nExams (patients): {counts}.")
        for protocol, title in PROTOCOLS.items():
            results = [one for one in found["results"] if one["protocol"] == protocol]
            sections.append(f"### {name}: {title[0].lower()}{title[1:]}\n\n{means(results)}\n\n{classes(results)}")
    return "\n\n".join(sections)


def means(results: list[dict[str, Any]]) -> str:
    """Returns the mean AUROC by encoder (rows) and share of the training exams (columns)."""
    shares = {one["fraction"]: share(one) for one in results}
    tables = []
    labels = {"mean": "labels that test defines", "mean_10": "labels of ten positives or more"}
    if all(one["mean"]["n_labels"] == one["mean_10"]["n_labels"] for one in results):
        labels = {"mean": "labels, all of ten positives or more"}
    for key, words in labels.items():
        numbers = sorted({one[key]["n_labels"] for one in results})
        if numbers == [0]:
            continue
        rows = [[f"mean of {', '.join(map(str, numbers))} {words}", *shares.values()]]
        for encoder in dict.fromkeys(one["encoder"] for one in results):
            of_encoder = {one["fraction"]: one for one in results if one["encoder"] == encoder}
            rows.append([encoder, *(cell(of_encoder[fraction][key]) for fraction in shares)])
        tables.append(markdown_table(rows))
    return "\n\n".join(tables)


def classes(results: list[dict[str, Any]]) -> str:
    """Returns AUROC by label (rows) and encoder (columns) at the largest share."""
    largest = max(one["fraction"] for one in results)
    shown = {one["encoder"]: one["per_class"] for one in results if one["fraction"] == largest}
    rows = [[f"{100 * largest:g} %", "positives", *shown]]
    for name, entry in next(iter(shown.values())).items():
        rows.append([name, str(entry["n_positive"]), *(cell(of[name]) for of in shown.values())])
    return markdown_table(rows)
