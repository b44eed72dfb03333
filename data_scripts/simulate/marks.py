"""
Where P, QRS and T begin, peak and end in each beat, in each lead and over all: from the waves, before any noise.

Every mark follows the definition by which its interval is simulated, so that marks and measurements agree: PR and QRS
of `measurements.csv`, and QT by its QTc, are distances between the marks over all leads.
"""

from dataclasses import dataclass

import numpy as np

from data_scripts.simulate.morphology import (
    EDGE,
    SEEN_AFTER_S,
    SEEN_BEFORE_S,
    T_SHOULDER,
    T_SHOULDER_GAIN,
    T_SHOULDER_SIGMA,
    T_SIGMA,
    VENTRICULAR_BEAT,
    Heart,
    Waves,
    follow_p,
    qrs_begin_s,
)
from data_scripts.simulate.physiology import Condition
from data_scripts.simulate.projection import exchange_matrix, twelve_leads
from data_scripts.simulate.rhythm import NORMAL, SUPRAVENTRICULAR, VENTRICULAR, Beats
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES, SAMPLING_RATE


ALL_LEADS = "all"
N_LIMB = 6  # leads before V1 in `LEAD_NAMES`
MARKED_LEADS = (ALL_LEADS, *LEAD_NAMES)
MARKED_WAVES = ("p", "qrs", "t")
PLACES = ("onset", "peak", "offset")
KIND_NAMES = {NORMAL: "normal", VENTRICULAR: "ventricular", SUPRAVENTRICULAR: "supraventricular"}
P, QRS, T = range(len(MARKED_WAVES))

MIN_WAVE_MV = 0.02  # a fifth of a millimetre on paper, less than its line is wide: no wave in that lead
STEP_S = 0.001  # grid of the waves; edges are interpolated on it, peaks are not
P_TAIL = 2.5  # PR counts from this many standard deviations before the first part of P: 35 ms at 14 ms
Exchanged = tuple[str, str] | None
GRID_TAIL = 3.5  # standard deviations that the grid reaches beyond the outermost part


@dataclass(frozen=True)
class Marks:
    """
    Marks of one exam.

    Args:
        times_ms (`np.ndarray` of shape `(n_beats, 13, 3, 3)`, float32): from the first recorded sample; beats of which
            anything is recorded, by `MARKED_LEADS`, `MARKED_WAVES` and `PLACES`. NaN where there is no such wave, or
            the mark lies outside the recording.
        kinds (`np.ndarray` of shape `(n_beats,)`, int): as in `rhythm.Beats`.
    """

    times_ms: np.ndarray
    kinds: np.ndarray


def _t_shape() -> tuple[float, float, float, float]:
    """
    Of every conducted T, in parts of QT: onset, peak; its largest value; share of it that is left where QT ends.

    QT ends two standard deviations after the main part of T, where the tangent to a Gaussian at its steepest meets
    the baseline. The onset is where T first reaches the value that it has there.
    """
    clock = np.linspace(0, 1, 100_001)
    main, shoulder = 1 - 2 * T_SIGMA, 1 - 2 * T_SIGMA - T_SHOULDER
    size = np.exp(-0.5 * ((clock - main) / T_SIGMA) ** 2)
    size += T_SHOULDER_GAIN * np.exp(-0.5 * ((clock - shoulder) / T_SHOULDER_SIGMA) ** 2)
    largest = float(size.max())
    onset = clock[np.argmax(size >= size[-1])]
    return float(onset), float(clock[np.argmax(size)]), largest, float(size[-1]) / largest


T_ONSET, T_PEAK, T_LARGEST, T_EDGE = _t_shape()


def _grid(waves: Waves) -> np.ndarray:
    """Seconds from the reference point over which the waves are more than negligible."""
    low = float((waves.centres - GRID_TAIL * waves.sigmas).min())
    high = float((waves.centres + GRID_TAIL * waves.sigmas).max())
    return low + STEP_S * np.arange(int((high - low) / STEP_S) + 2)


def _shapes(waves: Waves, grid: np.ndarray) -> np.ndarray:
    """Leads I, II, V1 ... V6 of a beat of gain 1, (8, grid) in mV."""
    shape = np.exp(-0.5 * ((grid - waves.centres[:, None]) / waves.sigmas[:, None]) ** 2)
    return (waves.leads.T @ shape).astype(np.float32)


def _edges(size: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Onset, peak and offset of each row, where it exceeds `EDGE` of its largest value, (rows, 3) in seconds."""
    rows, last_column = np.arange(len(size)), len(grid) - 1
    peak = size.argmax(axis=1)
    level = EDGE * size[rows, peak]
    above = size > level[:, None]

    def crossing(inside: np.ndarray, step: int) -> np.ndarray:
        outside = np.clip(inside + step, 0, last_column)
        here, there = size[rows, inside], size[rows, outside]
        return grid[inside] + STEP_S * step * (here - level) / np.maximum(here - there, np.finfo(size.dtype).tiny)

    first, last = above.argmax(axis=1), last_column - above[:, ::-1].argmax(axis=1)
    return np.stack([crossing(first, -1), grid[peak], crossing(last, 1)], axis=1)


def _twelve(eight: np.ndarray, exchanged: Exchanged) -> np.ndarray:
    """Leads as they are recorded, (12, n), from (8, n)."""
    return twelve_leads(eight if exchanged is None else exchange_matrix(*exchanged) @ eight)


def _wave_marks(waves: Waves, gains: np.ndarray, exchanged: Exchanged) -> np.ndarray:
    """
    Marks of the same wave in some beats, (beats, 13, 3) in seconds from the point that its centres count from.

    A gain moves no mark in a chest lead, nor in I and II. The other limb leads mix two gains, beat by beat; exchanged
    electrodes may mix those of any.
    """
    grid, n = _grid(waves), len(gains)
    shapes = _shapes(waves, grid)
    mixing, mixed = (2, N_LIMB) if exchanged is None else (len(shapes), len(LEAD_NAMES))
    eight = np.zeros((8, n * len(grid)), np.float32)
    eight[:mixing] = (gains.T[:mixing, :, None].astype(np.float32) * shapes[:mixing, None, :]).reshape(mixing, -1)
    of_beats = _twelve(eight, exchanged)[:mixed].reshape(mixed * n, -1)
    plain = _twelve(shapes, exchanged)
    over_all = np.sqrt(np.square(plain).sum(axis=0, keepdims=True))
    size = np.abs(np.concatenate([over_all, plain[mixed:], of_beats]))
    found, largest = _edges(size, grid), size.max(axis=1)
    n_same = 1 + len(plain) - mixed
    marks = np.empty((n, len(MARKED_LEADS), len(PLACES)))
    marks[:, 0], marks[:, 1 + mixed :] = found[0], found[1:n_same]
    marks[:, 1 : 1 + mixed] = found[n_same:].reshape(mixed, n, -1).swapaxes(0, 1)
    marks[:, 1 : 1 + mixed][largest[n_same:].reshape(mixed, n).T < MIN_WAVE_MV] = np.nan
    marks[:, 1 + mixed :][gains[:, mixed - 4 :] * largest[1:n_same] < MIN_WAVE_MV] = np.nan
    return marks


def _shown_t(amplitudes: np.ndarray, exchanged: Exchanged) -> np.ndarray:
    """Which leads show a T wave of these amplitudes (8, beats): (beats, 13); over all leads it always counts."""
    shown = np.abs(_twelve(amplitudes, exchanged)).T >= MIN_WAVE_MV
    return np.concatenate([np.ones((len(shown), 1), bool), shown], axis=1)


def _conducted(heart: Heart, qt_s: np.ndarray, gains: np.ndarray, exchanged: Exchanged) -> np.ndarray:
    """QRS and T of conducted beats, (beats, 13, 2, 3) in seconds from their reference points."""
    qrs = _wave_marks(heart.qrs, gains, exchanged)
    qrs[:, 0, 0], qrs[:, 0, 2] = heart.onset_s, heart.offset_s
    t = heart.onset_s + np.outer(qt_s, 1 - heart.t_width * (1 - np.array([T_ONSET, T_PEAK, 1.0])))
    shown = _shown_t(T_LARGEST * heart.t_leads[:, None] * gains.T, exchanged)
    return np.stack([qrs, np.where(shown[:, :, None], t[:, None, :], np.nan)], axis=2)


def _ventricular(heart: Heart, gains: np.ndarray, exchanged: Exchanged) -> np.ndarray:
    """QRS and T of ventricular beats, (beats, 13, 2, 3) in seconds from their reference points."""
    waves, n_qrs = heart.ventricular, len(VENTRICULAR_BEAT) - 1
    qrs = _wave_marks(Waves(waves.centres[:n_qrs], waves.sigmas[:n_qrs], waves.leads[:n_qrs]), gains, exchanged)
    t = waves.centres[n_qrs] + waves.sigmas[n_qrs] * np.array([-2.0, 0.0, 2.0])
    shown = _shown_t(waves.leads[n_qrs][:, None] * gains.T, exchanged)
    return np.stack([qrs, np.where(shown[:, :, None], t, np.nan)], axis=2)


def _p_marks(waves: Waves, gains: np.ndarray, exchanged: Exchanged) -> np.ndarray:
    """P of some beats, (beats, 13, 3) in seconds from the onset that PR counts from."""
    marks = _wave_marks(waves, gains, exchanged)
    marks[:, 0, 0] = 0.0
    marks[:, 0, 2] = waves.centres[-1] + P_TAIL * waves.sigmas[-1]
    return marks


def marks_of(
    beats: Beats,
    heart: Heart,
    condition: Condition,
    gains: np.ndarray,
    duration_s: float,
    exchanged: Exchanged = None,
    lost_lead: int | None = None,
) -> Marks:
    """
    Marks of one exam.

    Args:
        beats (`Beats`), heart (`Heart`), condition (`Condition`): what `render` draws.
        gains (`np.ndarray` of shape `(n_beats, 8)`): of each beat in each lead, as `render` takes them.
        duration_s (`float`): of the recording.
        exchanged (`tuple[str, str]`, *optional*): two electrodes whose cables were exchanged: marks are those of the
            leads as they were recorded.
        lost_lead (`int`, *optional*): row of I, II, V1 ... V6 that shows no heart: without marks.

    Returns:
        `Marks`
    """
    near = (beats.times > -SEEN_BEFORE_S) & (beats.times < duration_s + SEEN_AFTER_S)
    beats, gains = beats.only(near), gains[near]
    times = np.full((len(beats.times), len(MARKED_LEADS), len(MARKED_WAVES), len(PLACES)), np.nan)
    conducted, early = beats.kinds != VENTRICULAR, beats.kinds == VENTRICULAR
    if conducted.any():
        qt_s = condition.qtc_ms / 1000 * np.sqrt(beats.rr_s[conducted])
        times[conducted, :, QRS:] = _conducted(heart, qt_s, gains[conducted], exchanged)
    if early.any():
        times[early, :, QRS:] = _ventricular(heart, gains[early], exchanged)
    if condition.p_after_qrs_ms is not None:
        early = beats.kinds == SUPRAVENTRICULAR
        for chosen, waves in ((follow_p(beats, condition), heart.p), (early, heart.ectopic_p)):
            if chosen.any():
                onset = (
                    qrs_begin_s(heart, condition) + condition.p_after_qrs_ms / 1000 - beats.late_s[chosen, None, None]
                )
                times[chosen, :, P] = onset + _p_marks(waves, gains[chosen], exchanged)
    times += beats.times[:, None, None, None]
    if lost_lead is not None:
        times[:, 1 + len(LEAD_NAMES) - 8 + lost_lead] = np.nan
    times[~((times >= 0) & (times <= duration_s - 1 / SAMPLING_RATE))] = np.nan
    recorded = np.isfinite(times).any(axis=(1, 2, 3))
    return Marks((1000 * times[recorded]).astype(np.float32), beats.kinds[recorded])
