"""
From measurements to a `Reading`: which words the numbers of an ECG are put into.

The limits are those of guidelines for adults; each says whose. A measurement that is missing, or of low quality, gives
no word. No rhythm, block or disease is concluded: fibrillation, where there is any, is "P absent, RR irregular".
"""

from collections.abc import Sequence

import numpy as np

from data_scripts.text.description import Detail, Reading
from modeling_ecgclip.beat_marks_ecgclip import MAX_TP_POWER
from modeling_ecgclip.measurements_ecgclip import EcgMeasurements
from modeling_ecgclip.morphology_ecgclip import BROAD_QRS_MS, LATERAL, NEIGHBOURS, SOKOLOW_LYON_MV
from modeling_ecgclip.waves_ecgclip import OFFSET, ONSET, QRS


MIN_QUALITY = 0.3  # of a measurement that gives a word: below, its leads or its beats disagree
# Third guideline of the Brazilian Society of Cardiology, Pastore et al., Arq Bras Cardiol 2016;106(4 Supl 1): rate and
# PR of adults.
ADULT_YEARS = 16.0
SLOW_BPM, FAST_BPM = 50.0, 100.0
LONG_PR_MS, SHORT_PR_MS = 200.0, 120.0
# Surawicz et al. 2009 (AHA/ACCF/HRS part III): from 120 ms a QRS is wide; incomplete blocks begin at 110.
BORDERLINE_QRS_MS = 110.0
LONGEST_QRS_MS = 200.0  # beyond, its end was missed more often than not: nothing is said of QRS, axis, ST, T and QTc
# R' of V1 and V2 that is said: 1 mm, and a share of S. Of 625 normal ECGs of PTB-XL 3 % have it in V1, of 75 with an
# incomplete right bundle branch block 60 %.
R2_MV, R2_SHARE = 0.1, 0.15
# Hancock et al. 2009 (part V): the P wave.
LONG_P_MS, TALL_P_MV = 120.0, 0.25
# Rautaharju et al. 2009 (part IV): QTc, and the T wave, which is upright in these leads, in aVL with a large R.
LONG_QTC_MS = {"male": 450.0, "female": 460.0}
T_LEADS, T_ADULT_YEARS = ("I", "II", "V3", "V4", "V5", "V6"), 20.0
FLAT_T_MV, LARGE_R_MV = 0.1, 0.3
# Thygesen et al. 2018 (fourth universal definition): the ST segment, in two neighbouring leads.
ST_UP_MV, ST_DOWN_MV = 0.1, -0.05
ST_UP_V2_V3_MV = {"young male": 0.25, "male": 0.2, "female": 0.15}
YOUNG_MALE_YEARS = 40.0
# Median change from one RR interval to the next, over the median interval. 1,181 real ECGs; see docs/descriptions.md.
VARYING_RR, UNEVEN_RR = 0.05, 0.10
# Likeness of the P waves below which they are said to be absent, in regular rhythms; above, nothing is said of them.
ABSENT_P_LIKENESS = 0.5
MIN_P_SHARE = 0.9  # of the beats, for a P wave before each
PREMATURE = 0.85  # of the median RR interval, as in `RhythmEvidence`
MIN_SPIKES_SHARE = 0.5  # of the beats
SUPERIOR_AXIS_DEG = (-90.0, -45.0)


class Leads:
    """
    Amplitudes by lead.

    Args:
        measured (`EcgMeasurements`): Of one ECG.
    """

    def __init__(self, measured: EcgMeasurements) -> None:
        read = zip(measured.lead_names, measured.lead_mask, strict=True)
        self.rows = {name: row for row, (name, there) in enumerate(read) if there} if measured.amplitudes else {}
        self.amplitudes = measured.amplitudes

    def of(self, name: str, lead: str) -> float:
        """Returns one amplitude, NaN where the lead was not read."""
        return float(self.amplitudes[name][self.rows[lead]]) if lead in self.rows else float("nan")

    def r(self, lead: str) -> float:
        """Returns the highest point of the QRS."""
        return max(self.of("r_mv", lead), self.of("r2_mv", lead))

    def s(self, lead: str) -> float:
        """Returns the lowest point of the QRS."""
        return min(self.of("q_mv", lead), self.of("s_mv", lead))

    def where(self, leads: Sequence[str], least: int = 1) -> tuple[str, ...]:
        """Returns leads in their order, none where they are fewer than `least`."""
        found = tuple(lead for lead in self.rows if lead in leads)
        return found if len(found) >= least else ()


def reading_of(measured: EcgMeasurements, age: float | None = None, sex: str | None = None) -> Reading:
    """
    Returns what is said of an ECG.

    Args:
        measured (`EcgMeasurements`): Of one ECG.
        age (`float`, *optional*): Years; under 16 the rate is not judged, under 20 T waves are not. Unknown: adult.
        sex (`str`, *optional*): `"male"` or `"female"`; where it is unknown, words that depend on it are left out.
    """
    leads = Leads(measured)
    qrs_ms = _sure(measured, "qrs_ms")
    if qrs_ms is not None and qrs_ms > LONGEST_QRS_MS:
        qrs_ms = None
    axis = None if qrs_ms is None else _sure(measured, "qrs_axis_deg")
    rate = _sure(measured, "heart_rate_bpm")
    if rate is not None and (age is None or age >= ADULT_YEARS):
        rate_word = "slow" if rate < SLOW_BPM else "fast" if rate > FAST_BPM else "usual"
    else:
        rate_word = None
    cycles = _cycles(measured) if rate is not None else None
    p = _p(measured, leads)
    pr, pr_ms = _pr(measured, p)
    wide = qrs_ms is not None and round(qrs_ms) >= BROAD_QRS_MS
    fascicle = not wide and _rs_inferior(leads, axis)
    details = () if qrs_ms is None else _qrs_details(measured, leads, qrs_ms)
    voltage = None if qrs_ms is None else _voltage(measured, wide)
    st_details = () if qrs_ms is None else _st_details(measured, leads, wide, age, sex)
    plain = qrs_ms is not None and not wide and not st_details
    st = "level" if plain and _t_known(measured, leads) else None
    qtc, qtc_ms = (None, None) if qrs_ms is None else _qtc(measured, wide, cycles, sex)
    odd = bool(details or voltage or fascicle) or (axis is not None and not -30 <= round(axis) <= 100)
    return Reading(
        rate=rate_word,
        heart_rate=None if rate is None else round(rate),
        cycles=cycles,
        axis_deg=None if axis is None else round(axis),
        p=p,
        pr=pr,
        pr_ms=pr_ms,
        qrs=None if qrs_ms is None else _qrs(qrs_ms, odd or axis is None or "V3" not in leads.rows),
        qrs_ms=None if qrs_ms is None else round(qrs_ms),
        voltage=voltage,
        fascicle=fascicle,
        st=st,
        qtc=qtc,
        qtc_ms=qtc_ms,
        early_beats=_early_beats(measured, cycles),
        spikes=bool(measured.rhythm.paced_beats > MIN_SPIKES_SHARE * len(measured.beats_s) > 0),
        qrs_details=details,
        st_details=st_details,
    )


def _sure(measured: EcgMeasurements, name: str) -> float | None:
    """A measurement, or None where it is missing or not to be trusted."""
    value = getattr(measured, name)
    return value if value is not None and measured.quality.get(name, 0.0) >= MIN_QUALITY else None


def p_is_absent(measured: EcgMeasurements) -> bool:
    """Tells whether enough beats were looked at, and no P wave was found before them."""
    return measured.pr_ms is None and measured.rhythm.p_likeness is not None


def _cycles(measured: EcgMeasurements) -> str | None:
    change = measured.rhythm.irregularity
    if change is None:
        return None
    if change >= UNEVEN_RR:
        return "irregular" if p_is_absent(measured) else "uneven"
    if change >= VARYING_RR:
        return "varying"
    each = measured.pr_ms is not None and (measured.rhythm.p_before_qrs or 0.0) >= MIN_P_SHARE
    return "regular" if each and not measured.rhythm.premature_beats else "even"


def _p(measured: EcgMeasurements, leads: Leads) -> str | None:
    rhythm = measured.rhythm
    if p_is_absent(measured):
        waves = rhythm.tp_power is not None and rhythm.tp_power > MAX_TP_POWER
        if rhythm.irregularity is not None and rhythm.irregularity >= UNEVEN_RR:
            return "none" if waves else "absent"
        return "absent" if (rhythm.p_likeness or 0.0) < ABSENT_P_LIKENESS else None
    p_ms, height = _sure(measured, "p_ms"), leads.of("p_mv", "II")
    if p_ms is None or not np.isfinite(height):
        return None
    if height < 0:
        return "negative"
    if height > TALL_P_MV:
        return "tall"
    return "long" if round(p_ms) > LONG_P_MS else "usual"


def _pr(measured: EcgMeasurements, p: str | None) -> tuple[str | None, int | None]:
    if p in ("none", "absent"):
        return "none", None
    pr_ms = _sure(measured, "pr_ms")
    if pr_ms is None:
        return None, None
    rounded = round(pr_ms)
    return ("above" if rounded > LONG_PR_MS else "short" if rounded < SHORT_PR_MS else "usual"), rounded


def _qrs(qrs_ms: float, odd: bool) -> str:
    """The word for the duration; nothing is called normal but that where anything else is odd or unknown."""
    if round(qrs_ms) >= BROAD_QRS_MS:
        return "wide"
    if round(qrs_ms) >= BORDERLINE_QRS_MS:
        return "borderline"
    return "narrow" if odd else "usual"


def _qrs_details(measured: EcgMeasurements, leads: Leads, qrs_ms: float) -> tuple[Detail, ...]:
    seen, found = measured.morphology, []
    rsr = leads.where([lead for lead in ("V1", "V2") if _has_rsr(leads, lead)])
    broad_s = bool(seen.get("wide_s_i_v6"))
    notched = leads.where(LATERAL) if seen.get("notched_r_lateral") else ()
    if notched and leads.r("V1") <= -leads.s("V1"):  # V1 decides where both pictures are measured in a wide QRS
        rsr, broad_s = (), False
    elif rsr or broad_s:
        notched = ()
    if rsr:
        found.append(Detail("rsr", rsr))
    if round(qrs_ms) >= BORDERLINE_QRS_MS:
        if leads.r("V1") > -leads.s("V1") and "V1" not in rsr:
            found.append(Detail("large_r", ("V1",)))
        if broad_s:
            found.append(Detail("broad_s", ("I", "V6")))
        if notched:
            found.append(Detail("notched_r", tuple(lead for lead in notched if leads.r(lead) > -leads.s(lead))))
        if seen.get("absent_q_lateral") and not broad_s:
            found.append(Detail("no_q", ("I", "V6")))
    q_leads = leads.where(seen.get("pathological_q_leads") or ())
    if q_leads:
        found.append(Detail("q", q_leads))
    if seen.get("delta_wave"):
        found.append(Detail("slow_start"))
    if seen.get("poor_r_progression"):
        found.append(Detail("small_r"))
    return tuple(found)


def _has_rsr(leads: Leads, lead: str) -> bool:
    r2 = leads.of("r2_mv", lead)
    return leads.of("r_mv", lead) > 0 and r2 >= max(R2_MV, -R2_SHARE * leads.of("s_mv", lead))


def _rs_inferior(leads: Leads, axis: float | None) -> bool:
    """All that the phrases say: rS in II, III and aVF, the deepest S in III, qR in aVL."""
    if axis is None or not SUPERIOR_AXIS_DEG[0] <= axis < SUPERIOR_AXIS_DEG[1]:
        return False
    rs = all(0 < leads.of("r_mv", lead) < -leads.of("s_mv", lead) for lead in ("II", "III", "aVF"))
    return rs and leads.of("s_mv", "III") < leads.of("s_mv", "II") and leads.of("q_mv", "aVL") < 0


def _voltage(measured: EcgMeasurements, wide: bool) -> str | None:
    if measured.morphology.get("low_voltage_limb"):
        return "low"
    index = measured.morphology.get("sokolow_lyon_mv")
    return "sokolow" if index is not None and index >= SOKOLOW_LYON_MV and not wide else None


def _t_known(measured: EcgMeasurements, leads: Leads) -> bool:
    return _sure(measured, "qt_ms") is not None and any(lead in leads.rows for lead in T_LEADS)


def _st_details(
    measured: EcgMeasurements, leads: Leads, wide: bool, age: float | None, sex: str | None
) -> tuple[Detail, ...]:
    found: list[tuple[str, tuple[str, ...]]] = []
    if wide:
        opposed = [lead for lead in leads.rows if lead != "aVR" and _opposed(leads, lead)]
        found.append(("t_opposed", leads.where(opposed, 2) if _t_known(measured, leads) else ()))
    else:
        up = [lead for lead in leads.rows if lead != "aVR" and leads.of("st_j_mv", lead) >= _st_limit(lead, age, sex)]
        down = [lead for lead in leads.rows if lead != "aVR" and _depressed(leads, lead)]
        found += [("st_up", leads.where(neighbouring(up))), ("st_down", leads.where(neighbouring(down)))]
        if _t_known(measured, leads) and (age is None or age >= T_ADULT_YEARS):
            upright = [*T_LEADS, *(["aVL"] if leads.r("aVL") > LARGE_R_MV else [])]
            height = {lead: leads.of("t_mv", lead) for lead in upright if lead in leads.rows}
            found.append(("t_negative", leads.where([lead for lead in height if height[lead] <= -FLAT_T_MV], 2)))
            found.append(("t_flat", leads.where([lead for lead in height if abs(height[lead]) < FLAT_T_MV], 2)))
    return tuple(Detail(word, where) for word, where in found if where)


def _opposed(leads: Leads, lead: str) -> bool:
    """Whether a T wave that is not flat points away from the larger part of the QRS."""
    t = leads.of("t_mv", lead)
    return abs(t) >= FLAT_T_MV and t * (leads.r(lead) + leads.s(lead)) < 0


def _st_limit(lead: str, age: float | None, sex: str | None) -> float:
    """The J point's level from which it is raised; the highest one where age or sex are not known."""
    if lead not in ("V2", "V3"):
        return ST_UP_MV
    if sex == "female":
        return ST_UP_V2_V3_MV["female"]
    return ST_UP_V2_V3_MV["male" if sex == "male" and age is not None and age >= YOUNG_MALE_YEARS else "young male"]


def _depressed(leads: Leads, lead: str) -> bool:
    """Horizontal or falling, 0.05 mV or more below the level before the QRS."""
    at_j, later = leads.of("st_j_mv", lead), leads.of("st_j60_mv", lead)
    return at_j <= ST_DOWN_MV and later <= at_j


def neighbouring(leads: Sequence[str]) -> list[str]:
    """Returns those of the leads that have a neighbour among them."""
    return sorted({lead for pair in NEIGHBOURS if set(pair) <= set(leads) for lead in pair})


def _qtc(measured: EcgMeasurements, wide: bool, cycles: str | None, sex: str | None) -> tuple[str | None, int | None]:
    value = _sure(measured, "qtc_bazett_ms")
    if value is None:
        return None, None
    if wide or cycles in ("irregular", "uneven"):
        return "none", None
    limits = [LONG_QTC_MS[sex]] if sex in LONG_QTC_MS else list(LONG_QTC_MS.values())
    longer = {round(value) >= limit for limit in limits}
    if len(longer) > 1:
        return None, None
    return ("long" if longer.pop() else "usual"), round(value)


def early_beat_kinds(measured: EcgMeasurements) -> dict[str, list[int]]:
    """Returns the beats that come early: `"wide"`, with another QRS of 120 ms or more, and `"narrow"`."""
    found: dict[str, list[int]] = {"wide": [], "narrow": []}
    rr = np.diff(measured.beats_s)
    if len(rr) < 2:
        return found
    usual = float(np.median(rr))
    overall = measured.overall_s
    for beat in np.flatnonzero(rr < PREMATURE * usual) + 1:
        kind = measured.beat_kinds[beat]
        qrs_ms = 1000 * (overall[beat, QRS, OFFSET] - overall[beat, QRS, ONSET])
        if kind == "ectopic" and round(float(np.nan_to_num(qrs_ms))) >= BROAD_QRS_MS:
            found["wide"].append(int(beat))
        elif kind == "dominant" and (measured.qrs_ms or BROAD_QRS_MS) < BROAD_QRS_MS:
            if beat < len(rr) and rr[beat] >= usual:  # a pause follows; a faster stretch is no early beat
                found["narrow"].append(int(beat))
    return found


def _early_beats(measured: EcgMeasurements, cycles: str | None) -> str | None:
    """Where the intervals vary, no narrow beat is early."""
    found = early_beat_kinds(measured)
    if found["wide"]:
        return "wide"
    return "narrow" if found["narrow"] and cycles in ("regular", "even") else None


__all__ = ["Leads", "early_beat_kinds", "neighbouring", "p_is_absent", "reading_of"]
