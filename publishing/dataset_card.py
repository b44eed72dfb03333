"""The card of a published exam table, rendered from what the table and the record of its conversion say."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import DatasetDict, DatasetInfo
from datasets.info import DatasetInfosDict
from datasets.splits import SplitDict, SplitInfo
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData

from data_scripts.conversion.builder import kind_of_flag
from data_scripts.tables.schema import (
    MICROVOLTS_PER_MILLIVOLT,
    SPLITS,
    ExamSchema,
    check_patients,
    exam_columns,
    label_counts,
    patients_known,
    schema_of,
    targets_array,
)
from modeling_ecgclip.labels_ecgclip import UNKNOWN_LABEL
from modeling_ecgclip.losses_ecgclip import NO_REPORT
from modeling_ecgclip.signal_ecgclip import SignalSpec
from publishing.card_text import MANY_LABELS, counted, ecg_kind, folded_table
from publishing.report_text import report_text
from publishing.source_facts import source_facts


TEMPLATE = Path(__file__).with_name("dataset_card.md")
TAGS = ("ecg", "electrocardiogram", "cardiology", "medical", "time-series", "ecgclip")
LICENCE_IDS = {"CC BY 4.0": "cc-by-4.0", "ODbL 1.0": "odbl", "Apache-2.0, as the project": "apache-2.0"}
# Steps of the Hub's own list.
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
LARGER = "1M<n<10M"
LANGUAGES = {"pt": "Portuguese", "de": "German", "en": "English", "sv": "Swedish"}
FLAG_MEANINGS = {
    "clipped": "a value beyond 32.767 mV was limited to it",
    "cropped": "longer than the window: both ends were cut off",
    "flat_lead": "a lead that does not move by one microvolt",
    "offset": "a lead whose mean is more than 1 mV from zero",
    "nan_repaired": "short gaps of missing values were filled by straight lines; the share of the lead is said",
    "nan_lead": "too much of a lead was not recorded to be filled",
    "derived": "a lead was computed from I and II",
    "missing": "a lead is missing and holds zeros",
    "short": "so short that rate and rhythm rest on a few beats",
    "not_an_ecg": "does not look like an ECG but like noise, a tone, steps or a single event",
    "arm_reversal": "the electrodes of the arms may be exchanged",
    "all_leads_inverted": "all leads may be upside down",
    "limb_leads_disagree": "the limb leads break the laws that tie them, and no other order or sign explains it",
    "leads_scaled": "each limb lead has a gain of its own: amplitudes and axis are not right",
    "whole_numbers": "all samples are whole millivolts: the unit may be another one",
    "amplitude_high": "unusually large amplitudes: the unit may be another one",
}


def column_meanings(schema: ExamSchema, known: bool = True) -> dict[str, str]:
    """Returns what each column of a table holds; `known` says whether its patients are those of the source."""
    signal = schema.signal
    named = ", ".join(schema.label_names) if len(schema.labels) <= MANY_LABELS else "by name, all below"
    return {
        "exam_id": "unique",
        "patient_id": "groups the exams of a patient, all of which are in one split"
        if known
        else "the exam's own: patients are unknown",
        "source": "where the exam comes from",
        "ecg": f"{len(signal.lead_names)} x {signal.n_samples} samples at {signal.sampling_rate} Hz, in microvolts "
        f"(1 unit = 0.001 mV): leads {', '.join(signal.lead_names)}, one after the other, zeros on both sides",
        "n_samples": "samples of each lead before zero-padding",
        "sampling_rate": "Hz, the same in every row",
        "lead_names": "leads in the order of `ecg`, the same in every row",
        "age": "years, or null",
        "sex": "`male`, `female` or null",
        "labels": f"{named}: 1, 0, or {UNKNOWN_LABEL} for unknown",
        "report": "what a text model may see of the report, or null",
        "report_id": f"equal for equal texts; {NO_REPORT} where there is none",
        "quality": "flags, see below",
        "targets": f"numbers to predict: {', '.join(schema.target_names)}; null where unknown",
    }


def table_facts(table: DatasetDict, record: dict[str, Any] | None = None) -> dict[str, Any]:
    """
    Returns what a card says of a table, counted in the table itself, all columns but `ecg` read.

    Args:
        table (`DatasetDict`): From [`load_exam_table`].
        record (`dict`, *optional*): What its `conversion.json` says, for the labels' titles.

    Returns:
        `dict` with `schema`, `features`, `patients_known`, `splits` (for each: `exams`, `patients`, `with_report`,
        `labels` as in `conversion.json`), `targets` (for each: `known` by split, `lowest`, `highest`), `sources`,
        `sexes` and `quality` (counts), `ages` (median, lowest, highest, unknown; None where none is known) and
        `n_reports` (distinct).
    """
    schema, patients = schema_of(table, record), check_patients(table, "to publish")
    splits, ages, report_ids = {}, [], set()
    sources: Counter[str] = Counter()
    sexes: Counter[str | None] = Counter()
    quality: Counter[str] = Counter()
    for split in SPLITS:
        columns = table[split].data
        ids = columns.column("report_id").to_numpy()
        report_ids.update(np.unique(ids[ids != NO_REPORT]).tolist())
        splits[split] = {
            "exams": len(ids),
            "patients": patients[split],
            "with_report": int((ids != NO_REPORT).sum()),
            "labels": label_counts(table[split], schema.label_names),
        }
        sources.update(_counts(columns.column("source")))
        sexes.update(_counts(columns.column("sex")))
        quality.update(_flag_counts(pc.list_flatten(columns.column("quality"))))
        ages.append(columns.column("age").to_numpy().astype(np.float64))
    return {
        "schema": schema,
        "features": exam_columns(table[SPLITS[0]]),
        "patients_known": patients_known(table, record),
        "splits": splits,
        "targets": _target_facts(table, schema),
        "sources": dict(sources.most_common()),
        "sexes": dict(sexes.most_common()),
        "quality": dict(quality.most_common()),
        "ages": _age_facts(np.concatenate(ages)),
        "n_reports": len(report_ids),
    }


def _age_facts(years: np.ndarray) -> dict[str, Any] | None:
    known = years[np.isfinite(years)]
    if not len(known):
        return None
    lowest, median, highest = (f"{value:g}" for value in (known.min(), np.median(known), known.max()))
    return {"median": median, "lowest": lowest, "highest": highest, "unknown": len(years) - len(known)}


def _target_facts(table: DatasetDict, schema: ExamSchema) -> dict[str, dict[str, Any]]:
    """How often each number to predict is known, and its range; None where it never is."""
    facts = {}
    for name in schema.target_names:
        known = {}
        for split in SPLITS:
            values = targets_array(table[split], [name])[:, 0]
            known[split] = values[np.isfinite(values)]
        every = np.concatenate(list(known.values()))
        ends = (float(every.min()), float(every.max())) if len(every) else (None, None)
        facts[name] = {
            "known": {split: len(values) for split, values in known.items()},
            "lowest": ends[0],
            "highest": ends[1],
        }
    return facts


def check_record(record: dict[str, Any], facts: dict[str, Any], name: str) -> None:
    """Raises `ValueError` where `conversion.json` counts other exams or labels than the table that lies beside it."""
    for split, found in facts["splits"].items():
        stated = record["splits"].get(split, {})
        for key in ("exams", "patients", "labels"):
            if stated.get(key) != found[key]:
                raise ValueError(
                    f"exam table {name}, split {split}: conversion.json states {key} {stated.get(key)}, but the table "
                    f"holds {found[key]}; convert the source again"
                )


def dataset_card(
    facts: dict[str, Any],
    record: dict[str, Any] | None,
    files: dict[str, list[str]],
    sizes: dict[str, int],
    repo_id: str | None,
    dataset: str,
    licence: str | None = None,
    text_tables: list[dict[str, Any]] | None = None,
    digest: str | None = None,
) -> DatasetCard:
    """
    Returns the card, its metadata such that `load_dataset` and the Hub's viewer find the splits.

    Args:
        facts (`dict`): From [`table_facts`].
        record (`dict`, *optional*): What `conversion.json` says.
        files (`dict[str, list[str]]`): The Parquet files of each split, as paths in the repository.
        sizes (`dict[str, int]`): Bytes of each split in memory; under `"download"` those of all files.
        repo_id (`str`, *optional*): Where it will be published.
        dataset (`str`): What the card's code gives to `load_dataset`.
        licence (`str`, *optional*): The Hub's id of the licence; left out, what the sources are known to have.
        text_tables (`list[dict]`, *optional*): What `text_table.json` says of each, with `name`.
        digest (`str`, *optional*): Of all rows.
    """
    schema, features = facts["schema"], facts["features"]
    reports = (record or {}).get("reports", {})
    card_facts = _summary(facts, reports.get("languages"))
    filled, sources = card_facts["filled"], card_facts["source_list"]
    data = DatasetCardData(
        pretty_name=card_facts["pretty_name"],
        language=card_facts["language_codes"] or None,
        license=licence or _licence_ids(sources),
        size_categories=[next((name for limit, name in SIZES if card_facts["total"] < limit), LARGER)],
        task_categories=["feature-extraction", "other"],
        tags=[
            *TAGS,
            f"{len(schema.signal.lead_names)}-lead",
            *(["simulated", "synthetic"] if card_facts["simulated"] != "none" else []),
        ],
    )
    splits = SplitDict()
    for name in filled:
        splits.add(SplitInfo(name, num_bytes=sizes[name], num_examples=facts["splits"][name]["exams"]))
    total = sum(sizes[name] for name in filled)
    info = DatasetInfo(features=features, splits=splits, download_size=sizes["download"], dataset_size=total)
    DatasetInfosDict({"default": info}).to_dataset_card_data(data)
    data_files = [{"split": name, "path": f"data/{name}-*"} for name in filled]
    MetadataConfigs({"default": {"data_files": data_files}}).to_dataset_card_data(data)
    meanings = column_meanings(schema, facts["patients_known"])
    card = DatasetCard.from_template(
        data,
        template_path=str(TEMPLATE),
        **card_facts,
        splits=[_split_row(name, facts["splits"][name], files[name]) for name in filled],
        dataset=dataset,
        repo_id=repo_id,
        conversion=_conversion(record) if record else None,
        report_text=report_text(reports),
        patients_note=(record or {}).get("patients"),
        text_tables=text_tables or [],
        digest=digest,
        columns=[{"name": name, "type": _type(one), "meaning": meanings[name]} for name, one in features.items()],
        label_names=schema.label_names,
        labels_by_name=isinstance(features["labels"], dict),
        units_per_mv=MICROVOLTS_PER_MILLIVOLT,
        **_signal_facts(schema.signal),
    )
    check_card(card, info)
    return card


def _signal_facts(signal: SignalSpec) -> dict[str, Any]:
    """What the template says of the recordings; the lead that its code prints is that of a rhythm strip."""
    leads = signal.lead_names
    return {
        "ecg_kind": ecg_kind(signal),
        "leads": leads,
        "printed_lead": leads.index("II") if "II" in leads else 0,
        "n_samples": signal.n_samples,
        "sampling_rate": signal.sampling_rate,
    }


def check_card(card: DatasetCard, info: DatasetInfo) -> None:
    """Raises `ValueError` where the metadata of a card does not say again, once read, what was written into it."""
    found = DatasetInfosDict.from_dataset_card_data(card.data).get("default")
    splits = {} if found is None else {name: split.num_examples for name, split in found.splits.items()}
    expected = {name: split.num_examples for name, split in info.splits.items()}
    if found is None or found.features != info.features or splits != expected:
        raise ValueError(
            f"the card's metadata states splits {splits}: expected {expected} with the exam table's columns"
        )
    configs = MetadataConfigs.from_dataset_card_data(card.data)
    listed = [one["split"] for one in configs.get("default", {}).get("data_files", [])]
    if listed != list(expected):
        raise ValueError(f"the card's metadata lists files of {listed}: expected {list(expected)}")


def _summary(facts: dict[str, Any], counted_languages: dict[str, int] | None) -> dict[str, Any]:
    """What the template says of a table's content, numbers as text; languages as counted, else as the source's are."""
    total = sum(split["exams"] for split in facts["splits"].values())
    filled = [split for split in SPLITS if facts["splits"][split]["exams"]]
    sources = [{"name": name, "exams": f"{n:,}", **vars(source_facts(name))} for name, n in facts["sources"].items()]
    n_simulated = sum(n for name, n in facts["sources"].items() if source_facts(name).simulated)
    n_with_report = sum(split["with_report"] for split in facts["splits"].values())
    codes = [code for source in sources for code in source["report_languages"]] if n_with_report else []
    languages = [LANGUAGES.get(code, code) for code in dict.fromkeys(codes)]
    if counted_languages:
        codes = [code for code in counted_languages if code in LANGUAGES]
        languages = [f"{LANGUAGES.get(code, code)} ({n:,})" for code, n in counted_languages.items()]
    return {
        "total": total,
        "filled": filled,
        "empty_splits": [name for name in SPLITS if name not in filled],
        "first_split": filled[-1],  # the smallest, as a rule
        "source_list": sources,
        "pretty_name": "ECG exams of " + " and ".join(source["title"] for source in sources),
        "simulated": "all" if n_simulated == total else "some" if n_simulated else "none",
        "n_simulated": f"{n_simulated:,}",
        "n_exams": f"{total:,}",
        "patients_known": facts["patients_known"],
        "n_patients": f"{sum(split['patients'] for split in facts['splits'].values()):,}",
        "n_with_report": f"{n_with_report:,}" if n_with_report else "",
        "n_reports": f"{facts['n_reports']:,}",
        "language_codes": sorted(set(codes)),
        "languages": ", ".join(languages),
        "n_labels": counted(len(facts["schema"].labels), "label", "labels"),
        "label_table": _label_table(facts, filled),
        "target_table": _target_table(facts, filled),
        "n_unknown_labels": _unknown_labels(facts),
        "ages": facts["ages"],
        "sexes": ", ".join(f"{sex or 'unknown'} {n:,}" for sex, n in facts["sexes"].items()),
        "quality_rows": [
            {"name": flag, "exams": f"{n:,}", "meaning": FLAG_MEANINGS.get(flag.split(":")[0], "")}
            for flag, n in facts["quality"].items()
        ],
        "citations": [source["bibtex"] for source in sources if source["bibtex"]],
    }


def _counts(column: pa.ChunkedArray) -> dict[Any, int]:
    return {one["values"]: one["counts"] for one in pc.value_counts(column).to_pylist()}


def _flag_counts(column: pa.ChunkedArray) -> Counter[str]:
    """How often each flag occurs, the shares of `nan_repaired:V3:2.5%` left out."""
    counts: Counter[str] = Counter()
    for flag, n in _counts(column).items():
        counts[kind_of_flag(flag)] += n
    return counts


def _licence_ids(sources: list[dict[str, Any]]) -> str | list[str] | None:
    """The Hub's ids of the sources' licences, or None where one of them is not known."""
    ids = sorted({LICENCE_IDS.get(source["licence"], "") for source in sources})
    if not ids or "" in ids:
        return None
    return ids[0] if len(ids) == 1 else ids


def _type(feature: Any) -> str:
    if isinstance(feature, dict):
        return f"{len(feature)} named {next(iter(feature.values())).dtype}"
    if hasattr(feature, "feature"):
        return (
            f"{feature.length} {feature.feature.dtype}" if feature.length > 0 else f"list of {feature.feature.dtype}"
        )
    return feature.dtype


def _split_row(name: str, split: dict[str, Any], files: list[str]) -> dict[str, str]:
    named = f"`{files[0]}`" + (f" and {len(files) - 1} more" if len(files) > 1 else "")
    counts = {key: f"{split[key]:,}" for key in ("exams", "patients", "with_report")}
    return counts | {"name": name, "files": named}


def _label_table(facts: dict[str, Any], splits: list[str]) -> str:
    """A row for each label; many are sorted by their positives, and those behind the first folded away."""
    of_split = [facts["splits"][split]["labels"] for split in splits]
    counts = {label: [one[label.name] for one in of_split] for label in facts["schema"].labels}
    labels = list(counts)
    if len(labels) > MANY_LABELS:
        labels.sort(key=lambda label: -sum(one["positive"] for one in counts[label]))
    rows = []
    for label in labels:
        cells = []
        for one in counts[label]:
            known = one["positive"] + one["negative"]
            share = f" ({one['positive'] / known:.1%})" if known else ""
            cells.append(f"{one['positive']:,} of {known:,}{share}")
        rows.append([label.name, "" if label.title == label.name else label.title, *cells])
    return folded_table(["label", "meaning", *splits], rows, right=range(2, 2 + len(splits)))


def _target_table(facts: dict[str, Any], splits: list[str]) -> str:
    """A row for each number to predict, or no table."""
    rows = []
    for name, target in facts["targets"].items():
        ends = "" if target["lowest"] is None else f"{target['lowest']:g} to {target['highest']:g}"
        rows.append([name, ends, *(f"{target['known'][split]:,}" for split in splits)])
    if not rows:
        return ""
    return folded_table(["target", "range", *(f"known in {split}" for split in splits)], rows)


def _unknown_labels(facts: dict[str, Any]) -> str:
    n = sum(counts["unknown"] for split in facts["splits"].values() for counts in split["labels"].values())
    return f"{n:,}" if n else ""


def _conversion(record: dict[str, Any]) -> dict[str, Any]:
    """The parts of `conversion.json` that a reader of the card wants in words."""
    facts = []
    for key, words in (("source_version", "Version of the source"), ("split_rule", "Split")):
        if record.get(key):
            facts.append(f"{words}: {record[key]}.")
    simulation = record.get("simulation", {})
    if simulation:
        chosen = (
            ("generator", ""),
            ("seed", "seed "),
            ("prevalence_scale", "prevalences times "),
            ("report_reader", "reader of reports and labels: "),
            ("report_language", "language of the reports: "),
        )
        stated = ", ".join(f"{words}{simulation[key]}" for key, words in chosen if key in simulation)
        facts.append(f"Simulation: {stated}.")
    if record.get("settings", {}).get("repair_nan"):
        facts.append("Short gaps of missing values were filled, and the exams flagged `nan_repaired`.")
    if record.get("versions"):
        facts.append(
            "Converted with " + ", ".join(f"{name} {number}" for name, number in record["versions"].items()) + "."
        )
    reasons = ", ".join(f"{count:,} x {reason}" for reason, count in record["rejected_by_reason"].items())
    counts = {key: f"{record[key]:,}" for key in ("found", "kept", "rejected")}
    return counts | {"reasons": reasons, "facts": facts}
