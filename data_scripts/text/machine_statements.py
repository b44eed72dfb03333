"""What a recorder's own statements describe, without what they diagnose.

An electrocardiograph prints statements in English: rhythm, findings, diagnoses and a grade ("Abnormal ECG"), all in
one list. Pre-training may see findings alone, as with written reports, whose conclusion is cut off: a wave, an
interval, an axis, a voltage, an extra beat. Whatever names a rhythm, a block, an infarct, a hypertrophy, another
disease, or grades the ECG is left out, and a cause is cut off the finding that it explains:

    Left axis deviation                                             -> Left axis deviation
    Inferior/lateral ST-T changes may be due to myocardial ischemia -> Inferior/lateral ST-T changes
    Sinus rhythm with PVC(s)                                        -> PVC(s)
    afib, VPCs                                                      -> VPCs
    Atrial fibrillation with rapid ventricular response             -> (nothing)
    Normal ECG                                                      -> (nothing)
"""

import functools
import re
from collections.abc import Iterable

from data_scripts.text.words_left import names_diagnosis


# All patterns meet lower case. Waves, intervals, axis, voltages, extra beats.
FINDING = re.compile(
    r"\b(?:[pqrstu][\s-]waves?|qrs|qs|rsr'?|s-?t|st-t|t|pr|p-r|qt|qtc|axis|voltages?|r-s|"
    r"progression|repolari[sz]ation|premature|p[avj][bcd]s?|[avj]p[bcd]s?|sves?|ves|couplets?|triplets?|ectopics?|"
    r"ectopy|extrasystol\w*)\b"
)
# Rhythms, conduction, infarct and ischaemia, chambers, diseases, and grades of the whole ECG, by short names too.
DIAGNOSIS = re.compile(
    r"\b(?:rhythms?|sinus|n?sr|[av]?fib\w*|[av]f|\w*flut\w*|afl|rvr|\w*tachy?\w*|\w*brady?\w*|\w*rr?hythmi[ac]\w*|"
    r"p?svt|n?s?vt|av(?:n?r|j)t|mat|aivr|idioventric\w*|pac(?:ed|ing|ers?|emakers?)|ppm|icd|escape|junctional|asystole|"
    r"\w+gemin\w+|"
    r"a-?v|\w*avb|(?:1st|2nd|3rd|first|second|third|[1-3]|i{1,3})[\s-]*deg(?:ree)?|heart|chb|"
    r"block\w*|bundle|branch|\w*bbb|conduct\w*|intra-?ventricular|ivcd|ivcb|nivcd|l[ap][fh]b|"
    r"(?:bi|tri)?-?fascic\w*|hemi-?blocks?|mobitz|wenckebach|wpw|pre-?excit\w*|"
    r"infarct\w*|[ai]?mi|n?stemi|necrosis|scar|isch\w*|injury|occlusion|angina|pericard\w*|myocard\w*|brugada|"
    r"hypertroph\w*|[lrb]vh|[lrb]ae|[lr]aa|enlarge\w*|dilat\w*|atrial\s+abnormality|strain|overload|"
    r"cardiomyopath\w*|p[\s-]+(?:mitrale|pulmonale)|"
    r"early\s+repolari[sz]ation|embol\w*|pulmonary|copd|disease|syndrome|hyperkal\w*|hypokal\w*|hyper\w*emia|"
    r"hypo\w*emia|dig(?:italis|oxin)?|drug|effects?|dextrocardia|cva|ecg|ekg|normal|variant|diagnos\w*|critical|"
    r"acute|age|gender)\b"
)
# From here on a statement says why, or how sure it is.
CAUSE = re.compile(
    r"\s*(?:\s-+\s|[,;:(]\s*)?\b(?:may\s+be|might\s+be|could\s+be|possibly|probabl[ey]|perhaps|suggest\w*|consider|"
    r"consistent\s+with|compatible\s+with|cannot\s+(?:rule\s+out|exclude)|due\s+to|(?:is|are)\s+(?:probably\s+)?due|"
    r"secondary\s+to|with\s+secondary|accompan\w+|caused\s+by|indicat\w+|associated\s+with|but\s|"
    r"(?:is|are)\s+age)\b.*|\s+-+\s+.*"
)
PARTS = re.compile(r"\s+with\s+|\s*;\s*")
LISTED = re.compile(r"\s*,\s*")  # a diagnosis takes its part with it, or of a list its item


@functools.lru_cache(maxsize=16384)
def finding(statement: str) -> str:
    """
    Returns what of one statement describes the tracing; `""` where it only diagnoses, grades or comments.

    Args:
        statement (`str`): As printed, for example `"Sinus rhythm with PVC(s)"`.

    Returns:
        `str`: Never with a word of [`DIAGNOSIS`], nor with one that `languages.py` knows to name a diagnosis.
    """
    # Printed emphasis and the full stop of some versions say nothing.
    text = re.sub(r"[*\s]+", " ", statement).strip(" .-")
    plain = text.lower()
    cause = CAUSE.search(plain)
    text = text[: cause.start()] if cause else text
    parts = [one for part in PARTS.split(text) for one in (LISTED.split(part) if _diagnoses(part) else [part])]
    parts = [part.strip(" .,-") for part in parts]
    return ", ".join(part for part in parts if FINDING.search(part.lower()) and not _diagnoses(part))


def _diagnoses(part: str) -> bool:
    """Whether a part of a statement is more than a finding."""
    return bool(DIAGNOSIS.search(part.lower())) or names_diagnosis(part)


def describe(statements: Iterable[str]) -> str:
    """
    Returns the findings of an ECG's statements, each once, in order, as sentences; `""` where there are none.

    Args:
        statements (`Iterable[str]`): All statements of one ECG; blank ones are passed over.
    """
    findings = dict.fromkeys(finding(statement) for statement in statements)
    return " ".join(f"{text}." for text in findings if text)


__all__ = ["describe", "finding"]
