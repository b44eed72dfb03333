"""Dual encoders: ECGs and reports in one space."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from common.markdown import markdown_table
from data_scripts.text.reports import free_of_conclusions
from modeling_ecgclip.pipeline_ecgclip import DEFAULT_HYPOTHESIS_TEMPLATE, HYPOTHESIS_TEMPLATES
from publishing.card_text import (
    MANY_LABELS,
    ecg_kind,
    exams_of,
    few_to_measure,
    in_paragraphs,
    metric_table,
    missing_note,
    with_interval,
)
from publishing.report_text import labels_in_texts, report_text
from publishing.stages.base import Stage, Table
from training.result_tables import NO_INTERVAL, TABLE_COLUMNS, about_resamples, of_whom


if TYPE_CHECKING:
    from publishing.run_folder import RunFolder


# Results by zero-shot classification, and the language of their prompts; None: that of --prompt_language.
ZERO_SHOT = {"zero_shot": None, "zero_shot_en": "en"}
DIRECTIONS = {"ecg_to_text": "ECG to report", "text_to_ecg": "report to ECG"}
WORDS_SHOWN = 2  # of the card's code
RANKING = {metric: TABLE_COLUMNS[metric] for metric in ("auroc", "average_precision")}
# Of runs with `--pair_with`: what took the place of the report. Release 0.1.0 knew reports alone.
COMPARISONS = {
    "second_view": "another augmented view of the same ECG: no report was read",
    "other_report": "the report of another patient, as a control",
    "random_vector": "a random vector for each distinct report, as a control",
}


class Contrastive(Stage):
    """Pre-training on pairs of ECG and report."""

    name = "contrastive"
    task, task_title = "zero-shot-ecg-classification", "Zero-shot ECG classification"
    pipeline = "zero-shot-ecg-classification"
    needed = ("processor_config.json", "tokenizer_config.json")
    needed_with = {"validation": ("retrieval.png",), "test": ("retrieval_test.png",)}
    tags = ("contrastive-learning", "zero-shot")
    metrics = ("roc_auc", "recall")
    figures = {
        "retrieval_test.png": "Retrieval on the test split: how often the right one is among the first k",
        "retrieval.png": "Retrieval on the validation split during training",
    }

    def summary(self, run: "RunFolder") -> str:
        """As in the base class."""
        ecg, text = run.parameters
        paired = run.arguments.get("pair_with", "report")
        if paired in COMPARISONS:
            return (
                f"Made for a comparison, not for use: {run.encoder} of {ecg:,} parameters, matched with "
                f"{COMPARISONS[paired]}. Its joint space says nothing about texts."
            )
        return (
            f"Puts {ecg_kind(run.signal)}s and the text of their reports into one space of "
            f"{run.config['projection_dim']} numbers, where a cosine says how well they fit: for retrieval both ways, "
            "for labels in words of your own (zero-shot), and as the start of a classifier that needs few labels. "
            f"{run.encoder} of {ecg:,} parameters {_trained(run.arguments)} "
            f"`{run.arguments['text_model_name_or_path']}` ({text:,} parameters, included)."
        )

    def snippet(self, run: "RunFolder") -> list[str]:
        """As in the base class."""
        phrases = [json.dumps(label.phrase, ensure_ascii=False) for label in run.labels[:WORDS_SHOWN]]
        return [
            "words = [",
            *(f"    {phrase}," for phrase in phrases),
            "]",
            f'stated = {{"sampling_rate": {run.signal.sampling_rate}, "unit": "mV", "lead_names": leads}}',
            "for result in read(ecg, candidate_labels=words, **stated):",
            '    print(round(result["score"], 3), result["label"])',
        ]

    def use_note(self, run: "RunFolder") -> str:
        """As in the base class."""
        return (
            f"Labels are put into the sentence `{DEFAULT_HYPOTHESIS_TEMPLATE}` (`hypothesis_template=`); findings, as "
            "reports describe them, are what the model has seen. Without pipelines: `AutoModel` and "
            "`AutoProcessor`, both with `trust_remote_code=True`."
        )

    def results(self, run: "RunFolder") -> tuple[str, list[Table]]:
        """As in the base class."""
        test = run.metrics["test"]
        note = (
            f"Test split, exams with a report: {exams_of(run, test)}"
            f"{', simulated' if run.simulated else ''}, none of them in training or validation."
        )
        tables = [_retrieval(run, test["retrieval"])]
        tables += [_zero_shot(run, key, language) for key, language in ZERO_SHOT.items() if key in test]
        return note, tables

    def main_result(self, run: "RunFolder") -> tuple[float | None, str]:
        """As in the base class."""
        zero_shot = run.metrics["test"].get("zero_shot", {"mean": {"auroc": None}})
        return zero_shot["mean"]["auroc"], "mean zero-shot AUROC over labels"

    def eval_results(self, run: "RunFolder") -> Iterator[tuple[str, str, float | None]]:
        """As in the base class; of many labels the mean alone."""
        test = run.metrics["test"]
        for key, title in DIRECTIONS.items():
            for k, recall in _recalls(test["retrieval"][key]).items():
                yield "recall", f"recall at {k}, {title}", recall["value"]
        if "zero_shot" not in test:
            return
        rows = [("mean", test["zero_shot"]["mean"]), *test["zero_shot"]["per_class"].items()]
        for name, values in rows if len(rows) <= MANY_LABELS + 1 else rows[:1]:
            yield "roc_auc", f"zero-shot AUROC, {name}", values["auroc"]

    def intended(self, run: "RunFolder") -> str:
        """As in the base class."""
        return "Research on representations of ECGs, retrieval, and classifiers that need few labels."

    def loss_rows(self, arguments: dict[str, Any]) -> list[list[str]]:
        """As in the base class."""
        text = arguments["text_model_name_or_path"]
        return [
            ["loss", f"{arguments['loss']}, positives: {arguments['positives']}"],
            ["text", f"`{text}`, pooling: {arguments['text_pooling']}, {_text_side(arguments)}"],
        ]

    def out_of_scope(self, run: "RunFolder") -> list[str]:
        """As in the base class."""
        return ["Diagnoses: the best of some words is not thereby true. An ECG that fits none is not thereby normal."]

    def limits(self, run: "RunFolder") -> list[str]:
        """As in the base class."""
        return [
            *few_to_measure(run),
            "Texts unlike the reports that it was trained on, in other languages above all, lie anywhere in the joint "
            "space. Zero-shot numbers hold for the words in the table.",
        ]

    def data_details(self, run: "RunFolder") -> list[str]:
        """As in the base class."""
        exams = run.record["used"]["train"]["exams"]
        return [
            f"Pre-training saw {exams:,} ECGs with the text of their reports, and no column of labels"
            + ("; those of the validation exams chose the step." if run.arguments.get("keep") == "zero_shot" else "."),
            report_text(run.reports),
        ]

    def base_models(self, run: "RunFolder") -> list[str]:
        """As in the base class: the text encoder."""
        return [run.arguments["text_model_name_or_path"]]

    def texts_seen(self, run: "RunFolder") -> list[Mapping[str, Any]]:
        """As in the base class."""
        return [run.reports]


def _recalls(direction: Mapping[str, Any]) -> dict[int, dict[str, float]]:
    """What is known of each recall of one direction, by its number of candidates."""
    prefix = "recall_at_"
    return {int(key.removeprefix(prefix)): value for key, value in direction.items() if key.startswith(prefix)}


def _labels_in_texts(run: "RunFolder") -> str:
    """The end of a sentence on labels that training did not use: the texts may have stated them."""
    if free_of_conclusions(run.reports) is None:
        return "; whether the reports name diagnoses is not recorded"
    seen = labels_in_texts(run.reports)
    return f", but {seen}" if seen else ""


def _retrieval(run: "RunFolder", retrieval: Mapping[str, Any]) -> Table:
    head = [f"in the first {k}" for k in _recalls(retrieval["ecg_to_text"])]
    rows = [["direction", *head, "median rank"]]
    for key, title in DIRECTIONS.items():
        found = _recalls(retrieval[key]).values()
        cells = [with_interval(cell["value"], cell if "low" in cell else None, {}) for cell in found]
        rows.append([title, *cells, f"{retrieval[key]['median_rank']:g}"])
        rows.append(["by chance", *(f"{cell['chance']:.3f}" for cell in found), ""])
    reasons = {cell["reason"] for cell in _recalls(retrieval["ecg_to_text"]).values() if "reason" in cell}
    none = "".join(f" {NO_INTERVAL}: {reason}, no interval." for reason in sorted(reasons))
    return {
        "title": "Retrieval",
        "rows": markdown_table(rows),
        "note": f"Among {retrieval['reports']:,} distinct reports and {retrieval['ecgs']:,} ECGs; reports repeat, "
        f"and every ECG with an equal report is a hit. In brackets: 95 % intervals by resampling {of_whom(retrieval)}."
        + none,
    }


def _trained(arguments: Mapping[str, Any]) -> str:
    """Which of the two encoders learned, in words that the text encoder's name follows. Release 0.1.0 trained one."""
    measured = "to tell what a program measures of the ECG, and " if arguments.get("measurements") else ""
    if not arguments.get("train_text_model"):
        return f"was trained {measured}against the frozen text encoder"
    if arguments["freeze_encoder"]:
        return "stayed as it was; against it was trained"
    return f"was trained {measured}together with"


def _text_side(arguments: Mapping[str, Any]) -> str:
    """How the text encoder was trained, if it was."""
    if not arguments.get("train_text_model"):
        return "frozen"
    dropped = arguments["drop_sentences"]
    return f"trained, {100 * dropped:g} % of the sentences left out at random" if dropped else "trained"


def _zero_shot(run: "RunFolder", key: str, language: str | None) -> Table:
    measured = run.metrics["test"][key]
    # Not stated by release 0.1.0, whose prompts were Portuguese.
    language = language or ("en" if run.arguments.get("prompt_language") == "en" else "pt")
    begin = {
        "words": lambda label, _: label.phrase_in(language),
        "positives": lambda _, values: f"{values['n_positive']:,} of {values['n_known']:,}",
    }
    return {
        "title": "Zero-shot" if key == "zero_shot" else "Zero-shot, in English",
        "rows": metric_table(run, measured, RANKING, begin, right=()),
        "note": in_paragraphs(
            f"By the cosine between an ECG and `{HYPOTHESIS_TEMPLATES[language]}` with the words put in; no "
            f"column of labels was used in training{_labels_in_texts(run)}. In brackets: "
            f"{100 * measured['intervals']['level']:g} % intervals, {about_resamples(measured['intervals'])}.",
            missing_note(measured, RANKING),
        ),
    }
