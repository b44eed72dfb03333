"""What the averaged beat shows to whoever reads it, lead by lead, by the rules that put measurements in words."""

from collections.abc import Sequence

import numpy as np

from data_scripts.simulate.morphology import Heart
from data_scripts.simulate.physiology import Condition
from data_scripts.simulate.projection import twelve_leads
from data_scripts.text.description import Detail
from data_scripts.text.reading_of import FLAT_T_MV, LARGE_R_MV, ST_DOWN_MV, ST_UP_MV, neighbouring
from modeling_ecgclip.morphology_ecgclip import MIN_WAVE_MV, POOR_R_MV, pathological_q
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES


STEP_S = 0.002
ST_UP_V2_V3_MV = 0.2
TALL_T_MV = 1.0
SEEN_U_MV = 0.06
SEEN_PR_MV = -0.03
T_LEADS = ("I", "II", "aVF", "V2", "V3", "V4", "V5", "V6")  # in which T points up as a rule
AMPLITUDE_ERROR_MV = 0.015  # of one reading


def qrs_shape(heart: Heart) -> np.ndarray:
    """The conducted QRS in twelve leads, (12, n) in mV, every `STEP_S` from its onset to its offset."""
    clock = np.arange(heart.onset_s, heart.offset_s, STEP_S)
    shape = np.exp(-0.5 * ((clock - heart.qrs.centres[:, None]) / heart.qrs.sigmas[:, None]) ** 2)
    return twelve_leads(heart.qrs.leads.T @ shape)


def sokolow_lyon_mv(heart: Heart) -> float:
    """Returns S in V1 with the larger R of V5 and V6, of the conducted QRS."""
    curve = dict(zip(LEAD_NAMES, qrs_shape(heart), strict=True))
    return float(max(curve["V5"].max(), curve["V6"].max()) - curve["V1"].min())


def _leads(mask: np.ndarray) -> list[str]:
    return [name for name, seen in zip(LEAD_NAMES, mask, strict=True) if seen]


def qrs_details(heart: Heart, error_mv: float) -> tuple[Detail, ...]:
    """
    Returns Q waves, missing and large R waves.

    Args:
        heart (`Heart`): Its conducted QRS.
        error_mv (`float`): Of the reading, added to every amplitude.
    """
    curve = qrs_shape(heart)
    up = curve > MIN_WAVE_MV
    first = np.where(up.any(axis=1), up.argmax(axis=1), curve.shape[1])
    before = np.where(np.arange(curve.shape[1]) < first[:, None], curve, 0.0)
    q_mv, q_ms = before.min(axis=1) + error_mv, (before < -MIN_WAVE_MV).sum(axis=1) * 1000 * STEP_S
    r_mv, s_mv = np.maximum(curve.max(axis=1), 0) + error_mv, curve.min(axis=1)
    broad_q = [
        name
        for name, depth, width, height in zip(LEAD_NAMES, q_mv, q_ms, r_mv, strict=True)
        if pathological_q(name, float(depth), float(width), float(height))
    ]
    found = [("q", neighbouring(broad_q))]
    row = {name: k for k, name in enumerate(LEAD_NAMES)}
    if r_mv[row["V1"]] > -s_mv[row["V1"]] and r_mv[row["V1"]] > LARGE_R_MV:
        found.append(("large_r", ["V1"]))
    if r_mv[row["V3"]] <= POOR_R_MV:
        found.append(("small_r", ["V1", "V2", "V3"]))
    return tuple(Detail(word, _ordered(where)) for word, where in found if where)


def st_details(heart: Heart, condition: Condition, error_mv: float) -> tuple[Detail, ...]:
    """
    Returns how ST segment, T and U waves deviate.

    Args:
        heart (`Heart`), condition (`Condition`): What is true.
        error_mv (`float`): Of the reading, added to every level.
    """
    st, t, u, pr = (
        twelve_leads(eight[:, None])[:, 0] + error_mv
        for eight in (heart.st_leads + heart.sag_leads, heart.t_leads, heart.u_leads, heart.pr_leads)
    )
    limit = np.array([ST_UP_V2_V3_MV if name in ("V2", "V3") else ST_UP_MV for name in LEAD_NAMES])
    upright = np.isin(LEAD_NAMES, T_LEADS)
    but_avr = np.array([name != "aVR" for name in LEAD_NAMES])
    found = [
        ("st_up", neighbouring(_leads((st >= limit) & but_avr)), 2),
        ("st_down", neighbouring(_leads((st <= ST_DOWN_MV) & but_avr)), 2),
        ("t_negative", _leads((t <= -FLAT_T_MV) & upright), 2),
        ("t_flat", _leads((np.abs(t) < FLAT_T_MV) & upright), 2),
        ("t_tall", _leads((t >= TALL_T_MV) & upright), 2),
    ]
    if heart.u_leads.any():
        found.append(("u_wave", _leads((u >= SEEN_U_MV) & upright), 2))
    if heart.pr_leads.any():
        found.append(("pr_down", _leads((pr <= SEEN_PR_MV) & but_avr), 2))
    return tuple(Detail(word, _ordered(where)) for word, where, least in found if len(where) >= least)


def _ordered(leads: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in LEAD_NAMES if name in leads)
