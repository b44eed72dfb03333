"""The parts of a model card that follow from a run's records, as Markdown; `stages` has those of one kind of run."""

from collections.abc import Mapping
from typing import Any

from common.markdown import markdown_table
from modeling_ecgclip.feature_extraction_ecgclip import DERIVED_LEADS, EcgFeatureExtractor
from modeling_ecgclip.labels_ecgclip import Label
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES
from publishing.card_text import counted, folded_table, in_order, listed
from publishing.real_ecgs import RECORD as REAL_ECGS
from publishing.real_ecgs import TITLES as REAL_TITLES
from publishing.report_text import labels_in_texts
from publishing.requirements import requirements_of_folder
from publishing.run_folder import RunFolder
from publishing.source_facts import source_facts


NOT_MEASURED = "The run had no test split: nothing was measured, and nobody knows how good the model is."
# By whether the patients are known.
SPLIT = {
    True: "Split by patient; no patient is in two splits.",
    False: "Split by exam; patients unknown: exams of one patient may be in two splits.",
}
LOSS_FIGURE = {"loss.png": "Loss during training; the ringed step is the one whose weights these are"}


def data_statement(run: RunFolder) -> str:
    """Returns what the top of the card says: simulated or recorded, for this run and for what it starts from."""
    named = listed([source_facts(source).title for source in run.sources])
    done = "Trained and measured" if run.is_measured else "Trained"
    kinds = {source_facts(source).simulated for source in run.sources}
    if kinds == {True}:
        said = f"**{done} on simulated ECGs**, of no patient. "
        if (run.path / REAL_ECGS).is_file():
            said += f"Only the tables {REAL_TITLES} say how it reads recorded ones, which it never saw."
        else:
            said += (
                "No number here says how well the model reads a patient's ECG: it shows that the method runs, and "
                "nothing more."
            )
    elif kinds == {False}:
        said = f"**{done} on recorded ECGs** of {named}."
    else:
        said = f"**{done} on recorded and simulated ECGs together** ({named})."
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
        said += "." if kind == "simulated" else f" ({listed([fact.title for fact in facts])})."
    return said


def snippet(run: RunFolder, model: str) -> str:
    """
    Returns Python code that runs as it stands where `model` can be found.

    Args:
        run (`RunFolder`): Its feature extractor says what the array must look like.
        model (`str`): Hub id or folder.
    """
    rate = run.signal.sampling_rate
    lines = [
        "import numpy as np",
        "from transformers import pipeline",
        "",
        f'read = pipeline("{run.stage.pipeline}", model="{model}", trust_remote_code=True)',
        "",
        "# Noise, to show the shape: leads, samples, in millivolts. It is no ECG,",
        '# as the "quality" of each result says, so that they mean nothing.',
        f'leads = "{" ".join(run.signal.lead_names)}".split()',
        f"ecg = np.random.default_rng(0).normal(0, 0.3, (len(leads), {10 * rate}))",
        "",
    ]
    return "\n".join([*lines, *run.stage.snippet(run)])


def install(run: RunFolder) -> str:
    """Returns the command that installs what the folder's code needs, in the versions that it was run with."""
    return f"pip install {' '.join(requirements_of_folder(run.path))}"


def use_note(run: RunFolder) -> str:
    """Returns which files the pipelines read and what else the folder offers."""
    return (
        "A path serves as well: of a WFDB record, `.csv`, `.npy`, `.npz`, or `.hdf5` with `exam_id=`. The pipeline "
        "`ecg-feature-extraction` returns the embedding, `ecg-measurement` rate, intervals and axes, which do not "
        f"depend on the model. {run.stage.use_note(run)}"
    )


def input_table(run: RunFolder) -> str:
    """Returns the input contract, from the feature extractor's own values."""
    extractor = run.feature_extractor
    length, rate, padded = extractor.n_samples, extractor.sampling_rate, extractor.input_samples
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
        ["missing leads", _missing_leads(extractor)],
        ["missing samples (NaN)", "interpolated" if extractor.repair_nan else "refused"],
        [
            "tensor",
            f"`input_values`, float32, (batch, {len(extractor.lead_names)}, {padded})"
            + (f": zeros on both sides of the {length:,} samples" if padded > length else ""),
        ],
    ]
    return markdown_table(rows, right=())


def _missing_leads(extractor: EcgFeatureExtractor) -> str:
    if extractor.allow_missing_leads:
        return "zeros, with a mask"
    if DERIVED_LEADS.keys() & set(extractor.lead_names):
        return "limb leads that others determine are computed; the rest is refused"
    return "refused"


def recalibration(run: RunFolder) -> list[dict[str, str]]:
    """Returns the table of a recalibrated model; none for a run as training left it."""
    record = run.record.get("recalibration")
    if record is None:
        return []
    measured, data = record["cross_validation"], record["data"]
    titles = {"f1": "F1", "ece": "ECE", "brier": "Brier"}
    rows = [["label", "positives", "threshold", *(f"{title}, before → after" for title in titles.values())]]
    for name, of in [*record["labels"].items(), ("mean", None)]:
        pairs = ([measured[side][name][metric] for side in ("before", "after")] for metric in titles)
        cells = [" → ".join("–" if value is None else f"{value:.3f}" for value in pair) for pair in pairs]
        before = ["", ""]
        if of is not None:
            kept = "" if of["fitted"] else " (kept)"
            before = [f"{of['n_positive']:,} of {of['n_known']:,}", f"{of['after']['threshold']:.3f}{kept}"]
        rows.append([name, *before, *cells])
    simulated = all(source_facts(source).simulated for source in data["sources"])
    said = [
        f"Probabilities and thresholds were fitted to {record['exams']:,} {'simulated ' if simulated else ''}exams of "
        f"{record['patients']:,} patients of `{data['name']}`, which had no part in training; weights are as they "
        f"were. *after* is measured by cross-validation within those exams ({measured['folds']} folds by patient). "
        "**The tables below are those of the training run, before this: they hold for its own thresholds and "
        "probabilities, not for those that this folder gives.**"
    ]
    promise = record.get("abstention")
    if promise:
        without = f" None for {listed(list(promise['refused']))}: too few exams." if promise["refused"] else ""
        said.append(
            f'The pipeline\'s `decision` is "uncertain" where it could not else be promised that at most '
            f"{100 * promise['error']:g} % of the exams with a label are called negative, and of those without it "
            f"positive, on average over exams of that kind.{without}"
        )
    return [{"title": "Recalibrated", "rows": markdown_table(rows), "note": " ".join(said)}]


def figures(run: RunFolder) -> list[dict[str, str]]:
    """Returns `file` and `caption` of the pictures that the folder holds."""
    kind = " (simulated ECGs)" if run.simulated else ""
    return [
        {"file": name, "name": name.split(".")[0].replace("_", " "), "caption": caption + kind}
        for name, caption in (run.stage.figures | LOSS_FIGURE).items()
        if (run.path / name).is_file()
    ]


def split_table(run: RunFolder) -> str:
    """Returns how many exams, patients and positives, or known values, each split has, as they were used."""
    used = run.record["used"]
    counts = ("exams", "patients") if run.patients_known else ("exams",)
    sizes = [[key, "", *(f"{split[key]:,}" for split in used.values())] for key in counts]
    rows = []
    for label in in_order(run):
        title = "" if label.title == label.name else label.title
        rows.append([label.name, title, *(_count(split, label) for split in used.values())])
    return folded_table(["", "", *used], rows, first=sizes, right=range(2, 2 + len(used)))


def _count(split: dict[str, Any], label: Label) -> str:
    """Positives of a label, and of how many where not all are known; of a value how many are known."""
    known = split.get("known", {}).get(label.name, split["exams"])
    if "positives" not in split:
        return f"{known:,}"
    positives = split["positives"][label.name]
    return f"{positives:,}" if known == split["exams"] else f"{positives:,} of {known:,}"


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
        f"Exam table {named}{revision}: {listed(parts)}. {SPLIT[run.patients_known]} What this run used of it, with "
        f"{run.stage.counted_as(run)}:"
    )


def data_details(run: RunFolder) -> str:
    """Returns what else is known of the exams: the whole table, the share used, the reports."""
    data = run.record["data"]
    whole = listed([f"{number:,} in {split}" for split, number in data["exams"].items()])
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
    return " ".join([*said, *run.stage.data_details(run)])


def training_table(run: RunFolder) -> str:
    """Returns how the weights came about."""
    given, record = run.arguments, run.record
    passes, processes = given["gradient_accumulation_steps"], record["num_processes"]
    a_pass, at_work = given["per_device_train_batch_size"], counted(processes, "process", "processes")
    batch = a_pass * passes * processes
    last = max((entry["step"] for entry in run.history), default=0)
    chosen = "the lowest validation loss" if "validation" in record["used"] else "the last: there was no validation"
    if given.get("keep") == "last":  # not stated by release 0.1.0
        chosen = "the last"
    elif given.get("keep") == "zero_shot":
        chosen = "the highest mean AUROC of zero-shot classification on the validation split"
    packages = ", ".join(f"{name} {version}" for name, version in record["packages"].items())
    rows = [
        ["", "value"],
        [
            "starts from",
            f"`{run.origins[0]['name']}`" if run.origins else f"random weights, `{given['encoder_preset']}`",
        ],
        ["weights", f"of step {record['best_step']:,} of {last:,}, {chosen}"],
        ["exams a step", f"{batch:,} = {a_pass:,} a pass × {counted(passes, 'pass', 'passes')} × {at_work}"],
        ["passes over the training exams", f"{batch * last / record['used']['train']['exams']:.3g}"],
        [
            "optimizer",
            f"AdamW, peak learning rate {given['learning_rate']:g}, {given['lr_scheduler_type']} after "
            f"{given['warmup_steps']:,} steps of warm-up, weight decay {given['weight_decay']:g}",
        ],
        ["augmentation", ", ".join(given["augment"] or []) or "none"],
        ["average of weights", f"decay {given['ema_decay']:g}" if given["ema_decay"] else "none"],
    ]
    rows += run.stage.loss_rows(given)
    rows += [
        ["seed", str(given["seed"])],
        [
            "run by",
            f"{at_work}, on {listed(sorted(set(record['devices'])))}, mixed precision: {record['mixed_precision']}",
        ],
        ["code", f"ecgclip, commit `{record['commit']}`" if record["commit"] else "ecgclip"],
        ["software", f"Python {record['python']}, {packages}"],
        *_parts(record),
    ]
    return markdown_table(rows, right=())


def _parts(record: dict[str, Any]) -> list[list[str]]:
    """A row for a run that came in parts: their steps, and what was not as the other rows say it."""
    parts = record.get("parts", [])  # not stated by release 0.1.0
    if len(parts) < 2:
        return []
    said = []
    for part in parts:
        others = [f"`{name}` {pair['was']} before, then {pair['is']}" for name, pair in part["arguments"].items()]
        others += [f"commit `{part['commit']}`"] if part["commit"] != record["commit"] else []
        packages = {"python": part["python"], **part["packages"]}
        here = {"python": record["python"], **record["packages"]}
        others += [f"{name} {version}" for name, version in packages.items() if here.get(name) != version]
        others += [f"on {listed(sorted(set(part['devices'])))}"] if part["devices"] != record["devices"] else []
        first, last = part["steps"]
        said.append(f"steps {first:,} to {last:,}" + (f" ({', '.join(others)})" if others else ""))
    return [["interrupted and resumed", "; ".join(said)]]


def intended(run: RunFolder) -> list[str]:
    """Returns what the model is for."""
    if run.simulated:
        return ["Trying the software, from data to a published model.", "Teaching."]
    return [run.stage.intended(run)]


def out_of_scope(run: RunFolder) -> list[str]:
    """Returns what the model is not for."""
    others = "Recordings of fewer leads" if run.signal.lead_names == LEAD_NAMES else "Recordings of other leads"
    return [
        "Decisions on anybody's treatment, screening of patients, monitoring.",
        *run.stage.out_of_scope(run),
        f"{others}, wearables and Holter monitors: nothing here was measured on them.",
    ]


def limits(run: RunFolder) -> list[str]:
    """Returns the limits that everything of this kind has, and those that this run's numbers show."""
    measured = "Measured on exams of the same source as it was trained on. Other recorders, hospitals and "
    measured += "populations were not looked at: expect worse there."
    lines = [measured if run.is_measured else NOT_MEASURED, *run.stage.limits(run)]
    if run.simulated:
        lines.insert(0, "Simulated ECGs show what the simulator draws, and a network learns to read the simulator.")
    if not run.patients_known:
        lines.append(
            "Patients are unknown: exams of one may be in two splits, and numbers then look better than they are."
        )
    data_of_origins = [(origin, origin["data"]) for origin in run.origins if origin.get("data")]
    lines += [
        f"Of the exams that `{origin['name']}` was trained on the patients are unknown: some may be in the test split."
        for origin, data in data_of_origins
        if data.get("patients_known") is False
    ]
    texts = [*run.stage.texts_seen(run)]
    texts += [_reports_of(data) for origin, data in data_of_origins if origin.get("stage") == "contrastive"]
    lines += [
        f"The reports of pre-training are descriptions that {by} wrote from measurements of the ECG, not a physician: "
        "what it measures wrongly, or has no words for, was learned so."
        for by in dict.fromkeys(text["described_by"] for text in texts if text.get("described_by"))
    ]
    return lines + [
        f"Pre-training saw {seen}. So labels were not kept from it, and results do not compare with those of "
        "pre-training on descriptions alone."
        for seen in map(labels_in_texts, texts)
        if seen
    ]


def _reports_of(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was counted in the reports of an origin's exams; earlier records have the conclusion alone."""
    return data.get("reports") or {"free_of_conclusions": data.get("free_of_conclusions")}
