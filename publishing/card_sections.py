"""The parts of a model card that follow from a run's records, as Markdown."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from common.markdown import markdown_table
from modeling_ecgclip.labels_ecgclip import labels_named
from modeling_ecgclip.pipeline_ecgclip import DEFAULT_HYPOTHESIS_TEMPLATE
from publishing.run_folder import RunFolder
from publishing.source_facts import source_facts
from training.evaluation import TABLE_COLUMNS
from training.retrieval import RECALL_AT


LABEL_TITLES = {
    "1dAVb": "first-degree AV block",
    "RBBB": "right bundle branch block",
    "LBBB": "left bundle branch block",
    "SB": "sinus bradycardia",
    "AF": "atrial fibrillation",
    "ST": "sinus tachycardia",
}
FEW_TO_MEASURE = 30  # positives; below, the interval of a recall of 0.5 is wider than a third of the scale
FEW_TO_CHOOSE = 10  # positives; below, one exam more or less moves a threshold far
DIRECTIONS = {"ecg_to_text": "ECG to report", "text_to_ecg": "report to ECG"}
FIGURES = {
    "precision_recall.png": "Precision and recall of each label on the test split; the dot is the chosen threshold",
    "calibration.png": "Calibration on the test split: how often a label is there, against its probability",
    "retrieval_test.png": "Retrieval on the test split: how often the right one is among the first k",
    "retrieval.png": "Retrieval on the validation split during training",
    "loss.png": "Loss during training; the ringed step is the one whose weights these are",
}
OUT_OF_SCOPE = (
    "Decisions on anybody's treatment, screening of patients, monitoring.",
    "Diagnoses other than the labels above. An ECG with none of them is not thereby normal.",
    "Recordings of fewer leads, wearables and Holter monitors: nothing here was measured on them.",
)


def data_statement(run: RunFolder) -> str:
    """Returns what the top of the card says: simulated or recorded, for this run and for what it starts from."""
    named = _listed([source_facts(source).title for source in run.sources])
    kinds = {source_facts(source).simulated for source in run.sources}
    if kinds == {True}:
        said = (
            "**Trained and measured on simulated ECGs.** No number here says how well the model reads a patient's "
            "ECG: it shows that the method runs, and nothing more."
        )
    elif kinds == {False}:
        said = f"**Trained and measured on recorded ECGs** of {named}."
    else:
        said = f"**Trained and measured on recorded and simulated ECGs together** ({named})."
    for origin in run.origins:
        data = origin.get("data")
        if data is None:
            said += f" It starts from the weights of `{origin['name']}`, which came without a record of their exams."
            break
        facts = [source_facts(source) for source in data["sources"] or []]
        kind = "simulated" if all(fact.simulated for fact in facts) else "recorded"
        if any(fact.simulated for fact in facts) and kind == "recorded":
            kind = "recorded and simulated"
        said += f" It starts from `{origin['name']}`, which was trained on {kind} ECGs"
        said += "." if kind == "simulated" else f" ({_listed([fact.title for fact in facts])})."
    return said


def summary(run: RunFolder) -> str:
    """Returns what the model is, in a few sentences."""
    ecg, text = run.parameters
    preset = run.arguments["encoder_preset"]
    encoder = f"A residual 1D network (`{preset}`)" if not run.origins else "A residual 1D network"
    if run.stage == "classification":
        labels = _listed([f"{LABEL_TITLES.get(name, name)} ({name})" for name in run.labels])
        trained = "the linear head alone was trained" if run.arguments["freeze_encoder"] else "all of it was trained"
        return (
            f"Gives a 12-lead ECG a probability for each of {len(run.labels)} abnormalities: {labels}. {encoder} with "
            f"a linear head, {ecg:,} parameters; {trained}."
        )
    width = run.config["projection_dim"]
    return (
        f"Puts 12-lead ECGs and the text of their reports into one space of {width} numbers, where a cosine says how "
        f"well they fit: for retrieval both ways, for labels in words of your own (zero-shot), and as the start of a "
        f"classifier that needs few labels. {encoder} of {ecg:,} parameters was trained against the frozen text "
        f"encoder `{run.arguments['text_model_name_or_path']}` ({text:,} parameters, included)."
    )


def snippet(run: RunFolder, model: str) -> str:
    """
    Returns Python code that runs as it stands where `model` can be found.

    Args:
        run (`RunFolder`): Its feature extractor says what the array must look like.
        model (`str`): Hub id or folder.
    """
    extractor = run.feature_extractor
    rate, n_leads = extractor.sampling_rate, len(extractor.lead_names)
    task = "ecg-classification" if run.stage == "classification" else "zero-shot-ecg-classification"
    lines = [
        "import numpy as np",
        "from transformers import pipeline",
        "",
        f'classify = pipeline("{task}", model="{model}", trust_remote_code=True)',
        "",
        "# Made up, to show the shape: leads, samples, in millivolts.",
        "# It is no ECG, so its result means nothing.",
        f"time = np.arange({10 * rate}) / {rate}",
        f"ecg = np.sin(2 * np.pi * time) * np.linspace(0.2, 1.0, {n_leads})[:, None]",
        "",
    ]
    if run.stage == "classification":
        lines.append(f'for result in classify(ecg, sampling_rate={rate}, unit="mV"):')
        lines.append('    print(result["label"], round(result["score"], 3), result["positive"])')
    else:
        phrases = [json.dumps(phrase, ensure_ascii=False) for phrase in list(_phrases(run).values())[:2]]
        lines += ["words = [", *(f"    {phrase}," for phrase in phrases), "]"]
        lines.append(f'for result in classify(ecg, candidate_labels=words, sampling_rate={rate}, unit="mV"):')
        lines.append('    print(round(result["score"], 3), result["label"])')
    return "\n".join(lines)


def use_note(run: RunFolder) -> str:
    """Returns which files the pipelines read and what else the folder offers."""
    said = (
        "A path serves as well: of a WFDB record, `.csv`, `.npy`, `.npz`, or `.hdf5` with `exam_id=`. The pipeline "
        "`ecg-feature-extraction` returns the embedding."
    )
    if run.stage == "classification":
        return said + (
            " `classify.plot(ecg, ...)` draws the ECG as on paper, with its probabilities. Without pipelines: "
            "`AutoModelForAudioClassification` (transformers' class for a signal with a feature extractor) and "
            "`AutoFeatureExtractor`, both with `trust_remote_code=True`."
        )
    return said + (
        f" Labels are put into the sentence `{DEFAULT_HYPOTHESIS_TEMPLATE}` (`hypothesis_template=`); findings, as "
        "reports describe them, are what the model has seen. Without pipelines: `AutoModel` and "
        "`AutoProcessor`, both with `trust_remote_code=True`."
    )


def input_table(run: RunFolder) -> str:
    """Returns the input contract, from the feature extractor's own values."""
    extractor = run.feature_extractor
    length, rate = extractor.n_samples, extractor.sampling_rate
    unit = "millivolts; files in µV or V are converted, where they or the caller say so"
    if extractor.do_scale:
        unit += f"; the network sees millivolts times {extractor.scale:g}"
    filters = []
    if extractor.highpass_hz:
        filters.append(f"high-pass at {extractor.highpass_hz:g} Hz")
    if extractor.notch_hz:
        filters.append(f"notch at {extractor.notch_hz:g} Hz")
    rows = [
        ["", "value"],
        ["leads", ", ".join(extractor.lead_names) + "; any order, by name"],
        ["sampling rate", f"{rate:,} Hz; other rates are resampled"],
        ["unit", unit],
        [
            "length",
            f"{length:,} samples ({length / rate:g} s): shorter ones get zeros on both sides, longer lose both ends",
        ],
        ["filters", ", ".join(filters) or "none"],
        [
            "missing leads",
            "zeros, with a mask"
            if extractor.allow_missing_leads
            else "limb leads that others determine are computed; the rest is refused",
        ],
        ["missing samples (NaN)", "interpolated" if extractor.repair_nan else "refused"],
        ["tensor", f"`input_values`, float32, (batch, {len(extractor.lead_names)}, {length})"],
    ]
    return markdown_table(rows, right=())


def results(run: RunFolder) -> tuple[str, list[dict[str, str]]]:
    """Returns how the numbers came about, and tables as `title`, `rows`, `note`."""
    return _classification_results(run) if run.stage == "classification" else _contrastive_results(run)


def with_interval(value: float | None, interval: Mapping[str, Any] | None, counts: Mapping[str, Any]) -> str:
    """
    Returns one cell: the value with its interval, or why it is not defined.

    Args:
        value (`float`, *optional*): None where the data do not define it.
        interval (`Mapping`, *optional*): `low` and `high`, None where there are none.
        counts (`Mapping`): `n_known` and `n_positive` of the label; without them the mean over labels is meant.
    """
    if value is None:
        if "n_known" not in counts:
            return "not defined"
        missing = "known labels" if not counts["n_known"] else "positives" if not counts["n_positive"] else "negatives"
        return f"not defined (no {missing})"
    shown = f"{value:.3f}"
    if interval and interval["low"] is not None:
        shown += f" [{interval['low']:.3f}, {interval['high']:.3f}]"
    return shown


def _metric_rows(
    measured: Mapping[str, Any], metrics: Sequence[str], begin: Callable[[str, Any], list[str]]
) -> list[list[str]]:
    """A row for each label and their mean, `begin` giving the cells before the metrics."""
    intervals = measured["intervals"]
    rows = []
    for name, values in [*measured["per_class"].items(), ("mean", measured["mean"])]:
        of_row = intervals["mean"] if name == "mean" else intervals["per_class"][name]
        cells = [with_interval(values[metric], of_row.get(metric), values) for metric in metrics]
        rows.append([name, *begin(name, values), *cells])
    return rows


def _classification_results(run: RunFolder) -> tuple[str, list[dict[str, str]]]:
    metrics, test = run.metrics, run.metrics["test"]
    intervals = test["intervals"]
    note = (
        f"Test split: {test['n_exams']:,} exams of {test['n_patients']:,} patients"
        f"{', simulated' if run.simulated else ''}, none of them in training or validation. In brackets: "
        f"{100 * intervals['level']:g} % intervals, {intervals['n_resamples']:,} resamples of patients."
    )
    if metrics["thresholds_from"] == "validation":
        chosen = metrics["validation"]
        where = (
            f"Thresholds maximise F1 on the validation split ({chosen['n_exams']:,} exams of "
            f"{chosen['n_patients']:,} patients), never on the test split. They are in `config.json`; the pipeline "
            "uses them for `positive`."
        )
    else:
        where = "Thresholds were given, and not chosen in this run."
    defaults = [entry for entry in metrics["undefined"] if entry["metric"] == "threshold"]
    where += "".join(f" {entry['label']}: {entry['reason']}." for entry in defaults)

    def counts(name: str, values: Mapping[str, Any]) -> list[str]:
        return ["" if name == "mean" else f"{values['n_positive']:,} of {values['n_known']:,}"]

    def with_threshold(name: str, values: Mapping[str, Any]) -> list[str]:
        return [*counts(name, values), "" if name == "mean" else f"{metrics['thresholds'][name]:.3f}"]

    decisions, ranking = ("f1", "precision", "recall", "specificity"), ("auroc", "average_precision")
    heads = [[TABLE_COLUMNS[metric] for metric in metrics] for metrics in (decisions, ranking)]
    tables = [
        {
            "title": "Decisions at the thresholds",
            "rows": markdown_table(
                [["label", "positives", "threshold", *heads[0]], *_metric_rows(test, decisions, with_threshold)]
            ),
            "note": where,
        },
        {
            "title": "Ranking, without a threshold",
            "rows": markdown_table([["label", "positives", *heads[1]], *_metric_rows(test, ranking, counts)]),
            "note": "",
        },
    ]
    return note, tables


def _contrastive_results(run: RunFolder) -> tuple[str, list[dict[str, str]]]:
    test = run.metrics["test"]
    retrieval = test["retrieval"]
    note = (
        f"Test split: {test['n_exams']:,} exams with a report, of {test['n_patients']:,} patients"
        f"{', simulated' if run.simulated else ''}, none of them in training or validation."
    )
    rows = [["direction", *(f"in the first {k}" for k in RECALL_AT), "median rank"]]
    for key, title in DIRECTIONS.items():
        found = [retrieval[key][f"recall_at_{k}"] for k in RECALL_AT]
        cells = [with_interval(cell["value"], cell if "low" in cell else None, {}) for cell in found]
        rows.append([title, *cells, f"{retrieval[key]['median_rank']:g}"])
        rows.append(["by chance", *(f"{cell['chance']:.3f}" for cell in found), ""])
    tables = [
        {
            "title": "Retrieval",
            "rows": markdown_table(rows),
            "note": f"Among {retrieval['reports']:,} distinct reports and {retrieval['ecgs']:,} ECGs; reports repeat, "
            "and every ECG with an equal report is a hit. In brackets: 95 % intervals by resampling patients.",
        }
    ]
    if "zero_shot" in test:
        measured, phrases = test["zero_shot"], _phrases(run)
        intervals = measured["intervals"]
        ranking = ("auroc", "average_precision")
        rows = _metric_rows(
            measured,
            ranking,
            lambda name, values: (
                ["", ""] if name == "mean" else [phrases[name], f"{values['n_positive']:,} of {values['n_known']:,}"]
            ),
        )
        tables.append(
            {
                "title": "Zero-shot",
                "rows": markdown_table(
                    [["label", "words", "positives", *(TABLE_COLUMNS[metric] for metric in ranking)], *rows], right=()
                ),
                "note": f"By the cosine between an ECG and `{DEFAULT_HYPOTHESIS_TEMPLATE}` with the words put in; no "
                f"label was used in training. In brackets: {100 * intervals['level']:g} % intervals, "
                f"{intervals['n_resamples']:,} resamples of patients.",
            }
        )
    return note, tables


def _phrases(run: RunFolder) -> dict[str, str]:
    """What zero-shot classification puts in for each label, by its name."""
    return {label.name: label.phrase for label in labels_named(run.labels, run.config.get("label_details"))}


def figures(run: RunFolder) -> list[dict[str, str]]:
    """Returns `file` and `caption` of the pictures that the folder holds."""
    kind = " (simulated ECGs)" if run.simulated else ""
    return [
        {"file": name, "name": name.split(".")[0].replace("_", " "), "caption": caption + kind}
        for name, caption in FIGURES.items()
        if (run.path / name).is_file()
    ]


def split_table(run: RunFolder) -> str:
    """Returns exams, patients and positives of each split, as they were used."""
    rows = [["split", "exams", "patients", *run.labels]]
    for name, used in run.record["used"].items():
        positives = [f"{used['positives'][label]:,}" for label in run.labels]
        rows.append([name, f"{used['exams']:,}", f"{used['patients']:,}", *positives])
    return markdown_table(rows)


def data_note(run: RunFolder, dataset_id: str | None) -> str:
    """Returns where the exams come from; `dataset_id` is that of their table on the Hub, if it is there."""
    data, parts = run.record["data"], []
    for source in run.sources:
        facts = source_facts(source)
        named = f"[{facts.title}]({facts.url})" if facts.url else facts.title
        parts.append(f"{named} (licence: {facts.licence})")
    revision = f" at revision `{data['revision']}`" if data["revision"] else ""
    named = f"[{dataset_id}](https://huggingface.co/datasets/{dataset_id})" if dataset_id else f"`{data['name']}`"
    return (
        f"Exam table {named}{revision}: {_listed(parts)}. Split by patient; no patient is in two splits. What this "
        "run used of it, with the positives of each label:"
    )


def data_details(run: RunFolder) -> str:
    """Returns what else is known of the exams: the whole table, the share used, the reports."""
    data, used = run.record["data"], run.record["used"]
    whole = _listed([f"{number:,} in {split}" for split, number in data["exams"].items()])
    said = [f"The whole table has {whole}."]
    if run.arguments["train_fraction"] < 1:
        said.append(
            f"Of training and validation {100 * run.arguments['train_fraction']:g} % were used, whole patients, "
            f"drawn with seed {run.arguments['subset_seed']}."
        )
    if run.arguments["labels_from"] == "validation":
        said.append("Training used labels of the validation split's patients, half to train and half to choose.")
    conversion = data.get("conversion", {})
    if conversion:
        said.append(f"{conversion['kept']:,} of {conversion['found']:,} records of the source were kept.")
    simulation = conversion.get("simulation")
    if simulation:
        said.append(
            f"Made by {simulation['generator']} with seed {simulation['seed']}, diagnoses "
            f"{simulation['prevalence_scale']:g} times as frequent as in CODE-15%."
        )
    if run.stage == "contrastive":
        said.append(f"Pre-training saw {used['train']['exams']:,} ECGs with the text of their reports, and no labels.")
    return " ".join(said)


def training_table(run: RunFolder) -> str:
    """Returns how the weights came about."""
    given, record = run.arguments, run.record
    passes, processes = given["gradient_accumulation_steps"], record["num_processes"]
    a_pass, at_work = given["per_device_train_batch_size"], _counted(processes, "process", "processes")
    batch = a_pass * passes * processes
    last = max((entry["step"] for entry in run.history), default=0)
    packages = ", ".join(f"{name} {version}" for name, version in record["packages"].items())
    rows = [
        ["", "value"],
        [
            "starts from",
            f"`{run.origins[0]['name']}`" if run.origins else f"random weights, `{given['encoder_preset']}`",
        ],
        ["weights", f"of step {record['best_step']:,} of {last:,}, the lowest validation loss"],
        ["exams a step", f"{batch:,} = {a_pass:,} a pass × {_counted(passes, 'pass', 'passes')} × {at_work}"],
        [
            "optimizer",
            f"AdamW, peak learning rate {given['learning_rate']:g}, {given['lr_scheduler_type']} after "
            f"{given['warmup_steps']:,} steps of warm-up, weight decay {given['weight_decay']:g}",
        ],
        ["augmentation", ", ".join(given["augment"] or []) or "none"],
        ["average of weights", f"decay {given['ema_decay']:g}" if given["ema_decay"] else "none"],
    ]
    if run.stage == "contrastive":
        rows += [
            ["loss", f"{given['loss']}, positives: {given['positives']}"],
            ["text", f"`{given['text_model_name_or_path']}`, pooling: {given['text_pooling']}, frozen"],
        ]
    else:
        rows += [["loss", f"binary cross-entropy, weight of positives: {given['pos_weight']}"]]
    rows += [
        ["seed", str(given["seed"])],
        [
            "run by",
            f"{at_work}, on {_listed(sorted(set(record['devices'])))}, mixed precision: {record['mixed_precision']}",
        ],
        ["code", f"ecgclip, commit `{record['commit']}`" if record["commit"] else "ecgclip"],
        ["software", f"Python {record['python']}, {packages}"],
    ]
    return markdown_table(rows, right=())


def intended(run: RunFolder) -> list[str]:
    """Returns what the model is for."""
    if run.simulated:
        return ["Trying the software, from data to a published model.", "Teaching."]
    if run.stage == "contrastive":
        return ["Research on representations of ECGs, retrieval, and classifiers that need few labels."]
    return ["Research on automatic reading of 12-lead ECGs, and comparison of methods."]


def limits(run: RunFolder) -> list[str]:
    """Returns the limits that everything of this kind has, and those that this run's numbers show."""
    lines = [
        "Measured on exams of the same source as it was trained on. Other recorders, hospitals and populations were "
        "not looked at: expect worse there.",
    ]
    if run.simulated:
        lines.insert(0, "Simulated ECGs show what the simulator draws, and a network learns to read the simulator.")
    test = run.record["used"]["test"]["positives"]
    few = [f"{name} {count}" for name, count in test.items() if count < FEW_TO_MEASURE]
    if few:
        lines.append(
            f"The test split has fewer than {FEW_TO_MEASURE} positives of {_listed(few)}: mind the intervals."
        )
    if run.stage == "classification":
        chosen = run.record["used"]["validation"]["positives"]
        few = [f"{name} {count}" for name, count in chosen.items() if count < FEW_TO_CHOOSE]
        if few and run.metrics["thresholds_from"] == "validation":
            lines.append(
                f"Thresholds rest on fewer than {FEW_TO_CHOOSE} positives of {_listed(few)} in validation. Choose "
                "them again on exams of your own before you use `positive`."
            )
        lines.append(
            "Probabilities are as good as the calibration plot shows, for exams with the test split's prevalences."
        )
    else:
        lines.append(
            "Texts unlike the reports that it was trained on, in other languages above all, lie anywhere in the joint "
            "space. Zero-shot numbers hold for the words in the table."
        )
    states = [run.record["data"].get("conversion", {}).get("reports", {}).get("free_of_conclusions")]
    states = states if run.stage == "contrastive" else []
    states += [(origin.get("data") or {}).get("free_of_conclusions") for origin in run.origins]
    if False in states:
        lines.append(
            "Pre-training saw reports that state diagnoses, so labels were not unknown to it: results do not compare "
            "with those of pre-training on descriptions alone."
        )
    return lines


def _counted(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def _listed(items: Sequence[str]) -> str:
    """`a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
