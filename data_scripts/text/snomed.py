"""Diagnoses as SNOMED CT codes, as the headers of the PhysioNet/CinC Challenges 2020 and 2021 state them."""

import re
from collections.abc import Iterable, Sequence

from modeling_ecgclip.labels_ecgclip import CODE_LABELS, LABEL_NAMES, UNKNOWN_LABEL, Label


# Codes of each label; those of one label are scored as one diagnosis by the Challenge 2021
# (https://github.com/physionetchallenges/evaluation-2021, dx_mapping_scored.csv).
SNOMED_CODES = {
    "270492004": "1dAVb",  # 1st degree av block
    "59118001": "RBBB",  # right bundle branch block
    "713427006": "RBBB",  # complete right bundle branch block
    "164909002": "LBBB",  # left bundle branch block
    "733534002": "LBBB",  # complete left bundle branch block
    "426177001": "SB",  # sinus bradycardia
    "164889003": "AF",  # atrial fibrillation
    "427084000": "ST",  # sinus tachycardia
}
# Codes that may mean a label without naming it: the label is then unknown, not absent.
AMBIGUOUS_CODES = {
    "233917008": ("1dAVb",),  # av block, of any degree
    "6374002": ("RBBB", "LBBB"),  # bundle branch block, of either side
    "426627000": ("SB",),  # bradycardia, of any origin
    "195080001": ("AF",),  # atrial fibrillation and flutter
    "426749004": ("AF",),  # chronic atrial fibrillation, which the tracing need not show
    "282825002": ("AF",),  # paroxysmal atrial fibrillation, likewise
    "314208002": ("AF",),  # rapid atrial fibrillation
}
# Titles of the diagnoses that the Challenge 2021 scored, and of some more that are frequent in its recordings.
TITLES = {
    "10370003": "pacing rhythm",
    "17338001": "ventricular premature beats",
    "164861001": "myocardial ischemia",
    "164865005": "myocardial infarction",
    "164873001": "left ventricular hypertrophy",
    "164884008": "ventricular ectopics",
    "164889003": "atrial fibrillation",
    "164890007": "atrial flutter",
    "164909002": "left bundle branch block",
    "164917005": "Q wave abnormal",
    "164930006": "ST interval abnormal",
    "164931005": "ST elevation",
    "164934002": "T wave abnormal",
    "164947007": "prolonged PR interval",
    "111975006": "prolonged QT interval",
    "233917008": "AV block",
    "251146004": "low QRS voltages",
    "270492004": "first-degree AV block",
    "284470004": "premature atrial contraction",
    "365413008": "poor R wave progression",
    "39732003": "left axis deviation",
    "426177001": "sinus bradycardia",
    "426627000": "bradycardia",
    "426783006": "sinus rhythm",
    "427084000": "sinus tachycardia",
    "427172004": "premature ventricular contractions",
    "427393009": "sinus arrhythmia",
    "428750005": "nonspecific ST-T abnormality",
    "429622005": "ST depression",
    "445118002": "left anterior fascicular block",
    "47665007": "right axis deviation",
    "59118001": "right bundle branch block",
    "59931005": "T wave inversion",
    "63593006": "supraventricular premature beats",
    "6374002": "bundle branch block",
    "698252002": "nonspecific intraventricular conduction disorder",
    "713426002": "incomplete right bundle branch block",
    "713427006": "complete right bundle branch block",
    "733534002": "complete left bundle branch block",
}
# Sources that annotate a few diagnoses only, by the names of their records: of the others they say nothing.
# CPSC2018 (http://2018.icbeb.org/Challenge.html): normal, AF, first-degree AV block, LBBB, RBBB, PAC, PVC, ST changes.
STATED_ALONE = {
    re.compile(r"A\d{4}"): frozenset(
        ("426783006", "164889003", "270492004", "164909002", "59118001", "284470004", "164884008", "429622005")
        + ("164931005",)
    )
}
# How CPSC2018's own labels, which some of its headers have, are coded in the Challenges 2020 and 2021.
CPSC_NAMES = {
    "Normal": "426783006",
    "AF": "164889003",
    "I-AVB": "270492004",
    "LBBB": "164909002",
    "RBBB": "59118001",
    "PAC": "284470004",
    "PVC": "164884008",
    "STD": "429622005",
    "STE": "164931005",
}


def split_codes(cell: str) -> tuple[list[str], bool]:
    """Returns the codes of a header's `Dx`, and whether all of them are SNOMED CT codes, of which there is one."""
    codes = [CPSC_NAMES.get(code, code) for code in re.split(r"[,;\s]+", cell) if code and code.lower() != "unknown"]
    return codes, bool(codes) and all(code.isdigit() for code in codes)


def label_set(name: str, codes: Iterable[Sequence[str]]) -> tuple[Label, ...]:
    """
    Returns the labels of a set.

    Args:
        name (`str`): `"code6"`, or `"all"`: every code that occurs, by its number, the most frequent first.
        codes (`Iterable[Sequence[str]]`): Of each record.
    """
    if name == "code6":
        return CODE_LABELS
    counts: dict[str, int] = {}
    for of_record in codes:
        for code in dict.fromkeys(of_record):
            counts[code] = counts.get(code, 0) + 1
    ordered = sorted(counts, key=lambda code: (-counts[code], code))
    return tuple(Label(code, TITLES.get(code, f"SNOMED CT {code}")) for code in ordered)


def label_values(record: str, codes: Sequence[str], labels: Sequence[Label]) -> dict[str, int]:
    """
    Returns 1, 0 or -1 (unknown) for each label of an annotated record.

    Args:
        record (`str`): Its name, which may tell that its source annotates a few diagnoses only.
        codes (`Sequence[str]`): The record's.
        labels (`Sequence[Label]`): From [`label_set`].
    """
    alone = next((stated for names, stated in STATED_ALONE.items() if names.fullmatch(record)), None)
    values = {}
    if tuple(label.name for label in labels) == LABEL_NAMES:
        stated = {label for code, label in SNOMED_CODES.items() if alone is None or code in alone}
        values = {name: 0 if name in stated else UNKNOWN_LABEL for name in LABEL_NAMES}
        values |= {name: UNKNOWN_LABEL for code in codes for name in AMBIGUOUS_CODES.get(code, ())}
        return values | {SNOMED_CODES[code]: 1 for code in codes if code in SNOMED_CODES}
    for label in labels:
        unstated = alone is not None and label.name not in alone
        values[label.name] = 1 if label.name in codes else UNKNOWN_LABEL if unstated else 0
    return values
