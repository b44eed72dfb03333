"""The waves: P, QRS, ST and T as Gaussians of a dipole in beat time; atrial waves of fibrillation and flutter."""

import math
from dataclasses import dataclass, replace

import numpy as np

from data_scripts.simulate.physiology import Condition, Patient
from data_scripts.simulate.projection import frontal_axis, patient_projection
from data_scripts.simulate.rhythm import MARGIN_S, NORMAL, SUPRAVENTRICULAR, VENTRICULAR, Beats
from modeling_ecgclip.signal_ecgclip import SAMPLING_RATE


REACH = 3.6  # standard deviations at which a Gaussian is cut off, where it is .0015 of its peak
SPAN_GRID_MS = np.arange(-100, 130, 0.5)  # longer than any QRS of the tables
EDGE = 0.05  # share of the largest dipole at which the QRS begins and ends

# (centre in ms from the reference point, standard deviation in ms, x, y, z in mV) of each wave, for unrotated hearts.
NORMAL_QRS = np.array(
    [
        (-26, 7, -0.13, -0.07, -0.24),
        (-11, 8, 0.38, 0.22, -0.30),
        (-1, 5.5, 0.60, 0.30, 0.08),
        (1, 11, 0.48, 0.20, 0.20),
        (15, 5.0, 0.06, 0.00, 0.42),
        (18, 10, 0.05, 0.00, 0.42),
        (30, 8, -0.18, -0.08, 0.20),
    ]
)
LBBB_QRS = np.array(
    [
        (-48, 11, 0.22, 0.12, 0.05),
        (-25, 15, 0.72, 0.35, 0.48),
        (8, 14, 0.40, 0.15, 0.85),
        (38, 15, 0.80, 0.12, 0.70),
        (62, 11, 0.12, -0.06, 0.30),
    ]
)
RBBB_TERMINAL = np.array([(44, 13, -0.30, 0.00, -0.36), (70, 17, -0.28, 0.03, -0.44)])
# Of the normal waves: late forces to the right and front cancel those to the back.
RBBB_KEPT = np.array([1.0, 1.0, 1.0, 1.0, 0.40, 0.40, 0.40])
# A thick left wall: its forces, the middle ones, grow to the left and back, and the last of it is reached late.
THICK_WALL_GAIN = np.array([0.0, 0.1, 0.34, 0.34, 0.4, 0.4, 0.0])
LBBB_THICK_WALL_GAIN = 0.4
THICK_WALL_LATE = ((24, 10, 0.2, -0.02, 0.26),)
THICK_WALL_T = np.array([-0.07, -0.02, -0.03])  # repolarisation turns away from it
LBBB_SPLINTERS = np.array([1.6, 1.4, 0.7, 0.7, 0.7])  # how a patient's splinters change in a broad QRS
# Splinters arise near the electrodes, where a dipole says little: how much larger they are in I, II, V1 ... V6 than
# the projection makes them. Chosen by the spectra of real ECGs (`benchmarks/simulate/realism.py`).
SPLINTER_GAIN = np.array([1.75, 1.15, 1.6, 1.45, 1.2, 1.4, 1.5, 1.7])
# Broad, without P, and with a T wave (the last row) against the QRS.
VENTRICULAR_BEAT = np.array(
    [
        (-30, 18, -0.35, 0.35, -0.45),
        (5, 20, -0.70, 0.95, -0.85),
        (45, 20, -0.10, 0.55, -0.30),
        (290, 55, 0.245, -0.3325, 0.2975),
    ]
)
# Paced from the apex of the right ventricle: to the left, upwards and back; T against it.
PACED_BEAT = np.array(
    [
        (-45, 14, 0.12, -0.30, 0.05),
        (-8, 20, 0.55, -0.85, 0.70),
        (36, 22, 0.30, -0.65, 0.60),
        (290, 55, -0.26, 0.42, -0.38),
    ]
)
SPIKE_BEFORE_S, SPIKE_SIGMA_S = 0.008, 0.0013  # a pulse of half a millisecond, behind the recorder's filter
SPIKE_DIRECTION = np.array([0.5, -0.7, 0.3])
U_AFTER_S, U_SIGMA_S = 0.06, 0.035  # behind the end of QT
PR_SEGMENT_BEFORE_S, PR_SEGMENT_SIGMA_S = 0.028, 0.020  # before the QRS
J_AFTER_S, J_SIGMA = 0.025, 0.4  # behind the QRS, where a changed ST begins; of the way to the middle of ST
IN_LEFT_BLOCK = 0.35  # share of a finding's vectors that a broad QRS to the left leaves to be seen

P_WAVE = np.array([(35, 14, 0.03, 0.07, -0.05), (66, 16, 0.08, 0.05, 0.045)])  # ms from P onset
ECTOPIC_P_WAVE = np.array([(35, 14, 0.05, -0.03, -0.03), (62, 15, 0.05, -0.05, 0.04)])
# From the node upwards, both atria at once: negative in II, III and aVF, positive in aVR, aVL and V1.
RETROGRADE_P_WAVE = np.array([(35, 13, -0.01, -0.09, -0.04), (58, 13, 0.01, -0.07, -0.05)])

T_VECTOR = np.array([0.29, 0.17, -0.17])
ST_VECTOR = np.array([0.015, 0.010, -0.025])
T_SIGMA, T_SHOULDER, T_SHOULDER_SIGMA, ST_BEFORE_T, ST_SIGMA = 0.105, 0.085, 0.15, 0.02, 0.085  # of QT
T_SHOULDER_GAIN = 0.35
# A changed ST segment is a gradient of the action potential's plateau: it lasts until T takes over.
ST_LATE, ST_LATE_SIGMA = 0.85, 0.075  # its last part, between ST and T: share of its size, and of QT
SAG_AT, SAG_SIGMA = 0.55, 0.11  # a sagging ST segment: share of the way from J to the peak of T, and of QT
SEEN_BEFORE_S, SEEN_AFTER_S = 1.0, 0.6  # how far from the recording a reference point may lie and still be seen
T_TURN, P_TURN = 0.5, 0.7  # shares of a patient's rotation that T and P follow
# Of each change of repolarisation: gain of the normal T, added T vector, added ST vector (mV).
REPOLARISATION = {
    "normal": (1.0, (0, 0, 0), (0, 0, 0)),
    "flat_t": (0.22, (0, 0, 0), (0, 0, 0)),
    "inverted_t": (0.15, (-0.16, -0.06, 0.10), (0, 0, 0)),
    "strain": (0.25, (-0.20, -0.08, -0.02), (-0.07, -0.04, 0.03)),
    "early": (1.25, (0, 0, 0), (0.05, 0.05, -0.08)),
}
LBBB_T, LBBB_ST = np.array([-0.28, 0.05, -0.42]), np.array([-0.05, 0.00, -0.12])
RBBB_T = np.array([0.05, 0.00, 0.28])

FIBRILLATION_DIRECTION = np.array([-0.40, 0.60, -0.55])  # largest in V1, then II, III and aVF
FLUTTER_DIRECTION = np.array([-0.10, -0.85, -0.35])
FLUTTER_HZ = 5.0


@dataclass(frozen=True)
class Waves:
    """
    Gaussians of one kind of beat.

    Args:
        centres, sigmas (`np.ndarray` of shape `(n_waves,)`): seconds from the reference point.
        leads (`np.ndarray` of shape `(n_waves, 8)`): amplitude in leads I, II, V1 ... V6, mV.
    """

    centres: np.ndarray
    sigmas: np.ndarray
    leads: np.ndarray


@dataclass(frozen=True)
class Heart:
    """
    The waves of one exam.

    Args:
        qrs, ventricular (`Waves`): of conducted beats, and of ventricular ones with their T wave.
        onset_s, offset_s (`float`): begin and end of the conducted QRS from its reference point.
        p, ectopic_p (`Waves`): seconds from P onset.
        t_leads, st_leads, j_leads, sag_leads, u_leads, pr_leads (`np.ndarray` of shape `(8,)`): amplitude, mV; what
            changes all of ST or its middle, U waves and a change of the segment between P and QRS are zero in most.
        t_width (`float`): duration of T, in parts of the usual one.
        ventricular_onset_s (`float`): begin of the ventricular QRS from its reference point.
        spike_leads (`np.ndarray` of shape `(8,)`): a pacemaker's pulse, mV; zero without one.
        axis_deg (`float`): electrical axis of the conducted QRS.
        projection (`np.ndarray` of shape `(8, 3)`): of this patient.
    """

    qrs: Waves
    ventricular: Waves
    onset_s: float
    offset_s: float
    p: Waves
    ectopic_p: Waves
    t_leads: np.ndarray
    st_leads: np.ndarray
    j_leads: np.ndarray
    sag_leads: np.ndarray
    u_leads: np.ndarray
    pr_leads: np.ndarray
    t_width: float
    ventricular_onset_s: float
    spike_leads: np.ndarray
    axis_deg: float
    projection: np.ndarray


def _waves(table: np.ndarray, projection: np.ndarray, scale: float = 1.0) -> Waves:
    """Waves of a table (ms, mV) seen through a projection, with time stretched by `scale`."""
    return Waves(table[:, 0] * scale / 1000, table[:, 1] * scale / 1000, table[:, 2:] @ projection.T)


def qrs_span(table: np.ndarray) -> tuple[float, float]:
    """
    Begin and end of a QRS: where the dipole exceeds `EDGE` of its maximum.

    Args:
        table (`np.ndarray` of shape `(n_waves, 5)`): rows (centre, standard deviation, x, y, z) in ms and mV.

    Returns:
        `tuple[float, float]`: ms from the reference point, on a grid of 0.5 ms.
    """
    shape = np.exp(-0.5 * ((SPAN_GRID_MS[:, None] - table[:, 0]) / table[:, 1]) ** 2)
    size = ((shape @ table[:, 2:]) ** 2).sum(axis=1)
    above = np.flatnonzero(size > EDGE**2 * size.max())
    return float(SPAN_GRID_MS[above[0]]), float(SPAN_GRID_MS[above[-1]])


def _qrs_table(patient: Patient, condition: Condition) -> np.ndarray:
    """Dipole of the conducted QRS before its time is stretched, with what the findings add."""
    added = [(finding.severity, finding.kind.qrs) for finding in condition.findings]
    if patient.left_wall:
        added.append((patient.left_wall, THICK_WALL_LATE))
    rows = [
        (centre, sigma, *(size * np.array(vector) * _shown(condition)))
        for size, table in added
        for centre, sigma, *vector in table
    ]
    usual = _usual_qrs(patient, condition)
    return np.concatenate([np.array(rows), usual]) if rows else usual  # splinters stay last


def _shown(condition: Condition) -> float:
    return IN_LEFT_BLOCK if condition.block == "lbbb" else 1.0


def _usual_qrs(patient: Patient, condition: Condition) -> np.ndarray:
    """Without findings; a patient's waves differ a little from the tables."""
    gain, severity = patient.wave_gain, condition.block_severity
    normal = NORMAL_QRS.copy()
    normal[:, 2:] *= gain[:7, None]
    normal[:, [2, 4]] *= 1 + patient.left_wall * THICK_WALL_GAIN[:, None]
    splinters = patient.splinters
    if condition.block in ("lbbb", "incomplete_lbbb"):
        left = LBBB_QRS.copy()
        left[:, 2:] *= gain[7:12, None] * (1 + LBBB_THICK_WALL_GAIN * patient.left_wall)
        if condition.block == "lbbb" and severity >= 0.85:
            return np.concatenate([left, splinters * LBBB_SPLINTERS])
        # Incomplete: part of the septum is still activated from the left.
        mix = float(np.clip(severity, 0.25, 0.9))
        return np.concatenate([normal * [1, 1, 1 - mix, 1 - mix, 1 - mix], left * [1, 1, mix, mix, mix], splinters])
    if condition.block in ("rbbb", "incomplete_rbbb"):
        late = RBBB_TERMINAL.copy()
        late[:, 2:] *= severity * gain[12:14, None]
        normal[:, 2:] *= (1 - (1 - RBBB_KEPT) * min(1.0, severity))[:, None]
        return np.concatenate([normal, late, splinters])
    return np.concatenate([normal, splinters])


def _repolarisation(patient: Patient, condition: Condition) -> tuple[np.ndarray, np.ndarray]:
    """T and ST vectors in mV."""
    kept, t_added, st_added = REPOLARISATION[condition.repolarisation]
    t = patient.t_gain * (kept * T_VECTOR + patient.t_shift) + np.array(t_added)
    t = t + patient.left_wall * THICK_WALL_T
    st = ST_VECTOR + np.array(st_added)
    severity = condition.block_severity
    if condition.block in ("lbbb", "incomplete_lbbb"):
        part = severity if condition.block == "lbbb" else 0.6 * severity
        t = (1 - min(1.0, part)) * t + part * (LBBB_T + patient.t_shift)
        st = (1 - min(1.0, part)) * st + part * LBBB_ST
    elif condition.block in ("rbbb", "incomplete_rbbb"):
        t = t + severity * RBBB_T * (1.0 if condition.block == "rbbb" else 0.6)
    for finding in condition.findings:
        kind = finding.kind
        part = finding.severity * _shown(condition)
        # What is left of T changes with the size of the finding; an old scar's T wave may have come back.
        t = t * max(0.1, 1 + (kind.t_kept - 1) * min(part, 1.5))
        t = t + part * (finding.recovery if kind.lasting else 1.0) * np.array(kind.t)
        st = st + part * np.array(kind.st)
    return t, st


def _p_table(patient: Patient, condition: Condition) -> np.ndarray:
    """Dipole of P; that of an atrial focus, or of the way back from the node, where it is the rhythm's."""
    own = ECTOPIC_P_WAVE if condition.rhythm == "atrial" else P_WAVE
    table = (own if condition.retrograde_ms is None else RETROGRADE_P_WAVE).copy()
    table[:, 2:] *= patient.wave_gain[14:16, None]
    for finding in condition.findings:
        part = min(finding.severity, 1.4)
        table[:, 2:] *= 1 + part * (np.array(finding.kind.p_gain) - 1)
        table[-1, 0] += part * finding.kind.p_later_ms
    return table


def _ventricular_table(rng: np.random.Generator, condition: Condition) -> tuple[np.ndarray, float]:
    """Dipole of ventricular beats, T in the last row, and where their QRS begins in ms from the reference point."""
    table = VENTRICULAR_BEAT.copy()
    table[:, 2:] *= rng.choice([-1.0, 1.0], size=3, p=[0.4, 0.6]) * np.exp(rng.normal(0, 0.2, 3))
    if not condition.wide_beats:
        return table, qrs_span(table[:-1])[0]
    if condition.rhythm == "paced":
        table = PACED_BEAT * np.array([1, 1, *np.exp(rng.normal(0, 0.15, 3))])
    begin, end = qrs_span(table[:-1])
    scale = condition.qrs_ms / (end - begin)
    table[:-1, :2] *= scale
    qt_ms = condition.qtc_ms * np.sqrt(60.0 / condition.heart_rate)
    table[-1, 0] = begin * scale + qt_ms - 2 * table[-1, 1]
    return table, begin * scale


def draw_heart(rng: np.random.Generator, patient: Patient, condition: Condition) -> Heart:
    """
    The waves of one exam, with the QRS stretched to the duration asked for.

    Args:
        rng (`np.random.Generator`): stream of this exam's morphology: position of the body and ectopic focus.
        patient (`Patient`), condition (`Condition`): what is true.

    Returns:
        `Heart`
    """
    position = np.exp(rng.normal(0, 0.05, (8, 1)))
    turned = sum(finding.kind.frontal_deg * min(finding.severity, 1.3) for finding in condition.findings)
    if turned:
        patient = replace(patient, frontal_deg=patient.frontal_deg + turned)
    projection = patient_projection(patient) * position
    table = _qrs_table(patient, condition)
    begin, end = qrs_span(table)
    scale = condition.qrs_ms / (end - begin)
    qrs = _waves(table, projection, scale)
    qrs.leads[-len(patient.splinters) :] *= SPLINTER_GAIN
    ventricular, ventricular_onset_ms = _ventricular_table(rng, condition)
    p = _p_table(patient, condition)
    t, st = _repolarisation(patient, condition)
    t_projection = patient_projection(patient, turn=T_TURN) * position
    return Heart(
        qrs=qrs,
        ventricular=_waves(ventricular, projection),
        onset_s=begin * scale / 1000,
        offset_s=end * scale / 1000,
        p=_waves(p, patient_projection(patient, turn=P_TURN) * position),
        ectopic_p=_waves(ECTOPIC_P_WAVE, projection),
        t_leads=t_projection @ t,
        st_leads=t_projection @ st,
        j_leads=t_projection @ _vector(condition, "st") * _shown(condition),
        sag_leads=t_projection @ _vector(condition, "sag") * _shown(condition),
        u_leads=t_projection @ _vector(condition, "u"),
        pr_leads=t_projection @ _vector(condition, "pr_segment"),
        t_width=math.prod(
            (1 + min(finding.severity, 1.4) * (finding.kind.t_width - 1) for finding in condition.findings), start=1.0
        ),
        ventricular_onset_s=ventricular_onset_ms / 1000,
        spike_leads=_spike(rng, projection) if condition.rhythm == "paced" else np.zeros(8),
        axis_deg=frontal_axis((qrs.leads * qrs.sigmas[:, None]).sum(axis=0)),
        projection=projection,
    )


def _vector(condition: Condition, name: str) -> np.ndarray:
    """What the findings add to a wave that most hearts do not have, (3,) in mV."""
    parts = [finding.severity * np.array(getattr(finding.kind, name)) for finding in condition.findings]
    return np.sum(parts, axis=0) if parts else np.zeros(3)


def _spike(rng: np.random.Generator, projection: np.ndarray) -> np.ndarray:
    """A pulse of one electrode is large, one between two of them small."""
    size = float(rng.uniform(0.8, 3.0) if rng.random() < 0.4 else rng.uniform(0.1, 0.6))
    return size * (projection @ (SPIKE_DIRECTION + rng.normal(0, 0.3, 3)))


def qrs_begin_s(heart: Heart, condition: Condition) -> float:
    """Begin of the QRS that the exam's rhythm has, in seconds from its reference point; PR ends there."""
    return heart.ventricular_onset_s if condition.wide_beats else heart.onset_s


def follow_p(beats: Beats, condition: Condition) -> np.ndarray:
    """Mask of the beats that a P wave of the usual kind comes before."""
    if condition.p_after_qrs_ms is None:
        return np.zeros(len(beats.times), bool)
    return np.full(len(beats.times), True) if condition.wide_beats else beats.kinds == NORMAL


def _add(buffer: np.ndarray, times: np.ndarray, centres: np.ndarray, sigmas: np.ndarray, leads: np.ndarray) -> None:
    """
    Add one group of waves to each of some beats, in place, each only where it is not negligible.

    Args:
        buffer (`np.ndarray` of shape `(8, n)`): begins `MARGIN_S` before time 0.
        times (`np.ndarray` of shape `(n_beats,)`): reference points in seconds.
        centres, sigmas (`np.ndarray` of shape `(n_beats or 1, n_waves)`): seconds, centres from the reference points.
        leads (`np.ndarray` of shape `(n_beats, n_waves, 8)`): amplitudes in mV.
    """
    low = float((centres - REACH * sigmas).min())
    width = int((float((centres + REACH * sigmas).max()) - low) * SAMPLING_RATE) + 2
    first = np.floor((times + low + MARGIN_S) * SAMPLING_RATE).astype(np.int64)
    clock = ((first[:, None] + np.arange(width)) / SAMPLING_RATE - MARGIN_S - times[:, None]).astype(np.float32)
    shape = (clock[:, None, :] - centres[:, :, None].astype(np.float32)) / sigmas[:, :, None].astype(np.float32)
    np.square(shape, out=shape)
    shape *= -0.5
    np.exp(shape, out=shape)
    waves = leads.transpose(0, 2, 1).astype(np.float32) @ shape  # (n_beats, 8, width)
    for start, wave in zip(first.tolist(), waves, strict=True):
        begin, end = max(0, start), min(buffer.shape[1], start + width)
        if begin < end:
            buffer[:, begin:end] += wave[:, begin - start : end - start]


def _add_waves(buffer: np.ndarray, times: np.ndarray, waves: Waves, gains: np.ndarray, shift_s: float = 0.0) -> None:
    """Add the same waves at each of some times (n,), of gains (n, 8), moved by `shift_s`."""
    if len(times):
        centres, sigmas = waves.centres[None] + shift_s, waves.sigmas[None]
        _add(buffer, times, centres, sigmas, waves.leads * gains[:, None, :])


def _add_repolarisation(
    buffer: np.ndarray, beats: Beats, chosen: np.ndarray, heart: Heart, qtc_ms: float, gains: np.ndarray
) -> None:
    """ST segment and T wave of the conducted beats; QT by Bazett from the interval that it follows."""
    if not chosen.any():
        return
    qt, width = qtc_ms / 1000 * np.sqrt(beats.rr_s[chosen]), heart.t_width
    peak = heart.onset_s + qt - 2 * T_SIGMA * width * qt
    st = 0.5 * (heart.offset_s + peak - ST_BEFORE_T * qt)
    centres = np.stack([st, peak - T_SHOULDER * width * qt, peak], axis=1)
    sigmas = np.outer(qt, [ST_SIGMA, T_SHOULDER_SIGMA * width, T_SIGMA * width])
    leads = np.stack([heart.st_leads, T_SHOULDER_GAIN * heart.t_leads, heart.t_leads])
    same, j_point = np.ones(len(qt)), heart.offset_s + J_AFTER_S
    for own, centre, sigma in (
        (heart.j_leads, j_point * same, J_SIGMA * (st - j_point)),
        (ST_LATE * heart.j_leads, 0.5 * (st + peak), ST_LATE_SIGMA * qt),
        (heart.sag_leads, heart.offset_s + SAG_AT * (peak - heart.offset_s), SAG_SIGMA * qt),
        (heart.u_leads, heart.onset_s + qt + U_AFTER_S, U_SIGMA_S * same),
    ):
        if own.any():
            centres = np.concatenate([centres, centre[:, None]], axis=1)
            sigmas = np.concatenate([sigmas, sigma[:, None]], axis=1)
            leads = np.concatenate([leads, own[None]])
    _add(buffer, beats.times[chosen], centres, sigmas, leads * gains[chosen, None, :])


def _add_atrial(
    buffer: np.ndarray, beats: Beats, heart: Heart, condition: Condition, gains: np.ndarray, seen: np.ndarray
) -> None:
    """P waves, those that no beat follows too, and the segment behind them."""
    onset = qrs_begin_s(heart, condition) + (condition.p_after_qrs_ms or 0.0) / 1000
    if condition.p_after_qrs_ms is not None:
        early = seen & (beats.kinds == SUPRAVENTRICULAR)
        usual = seen & follow_p(beats, condition)
        _add_waves(buffer, (beats.times - beats.late_s)[usual], heart.p, gains[usual], onset)
        _add_waves(buffer, beats.times[early], heart.ectopic_p, gains[early], onset)
        if heart.pr_leads.any():
            segment = Waves(np.array([-PR_SEGMENT_BEFORE_S]), np.array([PR_SEGMENT_SIGMA_S]), heart.pr_leads[None])
            _add_waves(buffer, beats.times[usual], segment, gains[usual], heart.onset_s)
    alone = beats.lone_p_s[beats.lone_p_s > -SEEN_BEFORE_S]
    _add_waves(buffer, alone, heart.p, np.ones((len(alone), 8)), onset)


def _atrial_waves(rng: np.random.Generator, condition: Condition, heart: Heart, n: int) -> np.ndarray:
    """f-waves of fibrillation or the saw-tooth of flutter, (8, n) in mV."""
    clock = np.arange(n) / SAMPLING_RATE
    if condition.rhythm == "flutter":
        phase = 2 * np.pi * FLUTTER_HZ * clock + rng.uniform(0, 2 * np.pi)
        tooth = np.sin(phase) + 0.42 * np.sin(2 * phase) + 0.18 * np.sin(3 * phase)
        return np.outer(heart.projection @ FLUTTER_DIRECTION, rng.uniform(0.08, 0.2) * tooth)
    # Slow random walks of frequency, size and direction: one fixed sine would look like flutter.
    knots = int(np.ceil(clock[-1] * 3)) + 2
    walk = rng.standard_normal((4, knots))
    walk = np.stack([np.interp(clock * 3, np.arange(knots), row) for row in walk])
    phase = 2 * np.pi * np.cumsum(rng.normal(6.2, 0.8) + 1.1 * walk[0]) / SAMPLING_RATE
    other = 2 * np.pi * np.cumsum(rng.normal(7.4, 0.8) + 1.5 * walk[1]) / SAMPLING_RATE
    main = (1 + 0.45 * walk[2]) * (np.sin(phase) + 0.25 * np.sin(2 * phase))
    side = 0.5 * (1 + 0.45 * walk[3]) * np.sin(other)
    size = rng.uniform(0.012, 0.065)
    turned = FIBRILLATION_DIRECTION + rng.normal(0, 0.2, 3)
    across = rng.normal(0, 0.5, 3)
    return size * (np.outer(heart.projection @ turned, main) + np.outer(heart.projection @ across, side))


def draw_gains(rng: np.random.Generator, beats: Beats) -> np.ndarray:
    """
    Breathing moves the heart against the electrodes: size and direction of all waves follow it a little.

    Args:
        rng (`np.random.Generator`): stream of this exam's morphology, after `draw_heart`.
        beats (`Beats`): when, and with which breath.

    Returns:
        `np.ndarray` of shape `(n_beats, 8)`: factors near 1 of each beat in leads I, II, V1 ... V6.
    """
    depth = rng.normal(0, 0.035, 8)
    breath = np.sin(2 * np.pi * beats.breath_hz * beats.times + beats.breath_phase)
    return 1 + depth * breath[:, None] + 0.01 * rng.standard_normal((len(beats.times), 1))


def render(
    rng: np.random.Generator, beats: Beats, heart: Heart, condition: Condition, gains: np.ndarray, n_samples: int
) -> np.ndarray:
    """
    The signal of the heart alone, without noise.

    Args:
        rng (`np.random.Generator`): stream of this exam's morphology, after `draw_gains`.
        beats (`Beats`), heart (`Heart`), condition (`Condition`): what happens when.
        gains (`np.ndarray` of shape `(n_beats, 8)`): from `draw_gains`.
        n_samples (`int`): at `SAMPLING_RATE`.

    Returns:
        `np.ndarray` of shape `(8, n_samples)`, float32: leads I, II, V1 ... V6 in mV.
    """
    margin = int(MARGIN_S * SAMPLING_RATE)
    buffer = np.zeros((8, n_samples + 2 * margin), dtype=np.float32)
    # Beats that end before the recording or begin after it are not drawn.
    seen = (beats.times > -SEEN_BEFORE_S) & (beats.times < n_samples / SAMPLING_RATE + SEEN_AFTER_S)
    conducted = seen & (beats.kinds != VENTRICULAR)
    _add_waves(buffer, beats.times[conducted], heart.qrs, gains[conducted])
    _add_repolarisation(buffer, beats, conducted, heart, condition.qtc_ms, gains)
    wide = seen & (beats.kinds == VENTRICULAR)
    _add_waves(buffer, beats.times[wide], heart.ventricular, gains[wide])
    _add_atrial(buffer, beats, heart, condition, gains, seen)
    if heart.spike_leads.any():
        spike = Waves(np.array([0.0]), np.array([SPIKE_SIGMA_S]), heart.spike_leads[None])
        times = beats.times[wide] + heart.ventricular_onset_s - SPIKE_BEFORE_S
        _add_waves(buffer, times, spike, np.ones((len(times), 8)))
    signal = buffer[:, margin : margin + n_samples]
    if condition.rhythm in ("af", "flutter"):
        signal += _atrial_waves(rng, condition, heart, n_samples)
    return np.ascontiguousarray(signal)
