"""When the heart beats: RR intervals of each rhythm, with ectopic beats and P waves that nothing follows."""

from dataclasses import dataclass, replace

import numpy as np

from data_scripts.simulate.physiology import Condition


NORMAL, VENTRICULAR, SUPRAVENTRICULAR = 0, 1, 2
MARGIN_S = 2.0  # beats are drawn this far before and after the recording, whose edges then hold whole waves
MIN_RR_S = 0.30
FLUTTER_CYCLE_S = 0.2  # 300 per minute


@dataclass(frozen=True)
class Beats:
    """
    Beats of one recording, in seconds from its first sample.

    Args:
        times (`np.ndarray` of shape `(n_beats,)`): reference point of each QRS (the R peak of a normal beat).
        kinds (`np.ndarray` of shape `(n_beats,)`, int): `NORMAL`, `VENTRICULAR` or `SUPRAVENTRICULAR`.
        rr_s (`np.ndarray` of shape `(n_beats,)`): RR interval that QT follows: a slow mean of those before.
        breath_hz (`float`): respiration, which also moves the heart.
        breath_phase (`float`): radians at time 0.
        late_s (`np.ndarray` of shape `(n_beats,)`): by how much longer than its exam's PR is that of each beat.
        lone_p_s (`np.ndarray` of shape `(n,)`): P waves that no beat follows: where its reference point would be.
    """

    times: np.ndarray
    kinds: np.ndarray
    rr_s: np.ndarray
    breath_hz: float
    breath_phase: float
    late_s: np.ndarray
    lone_p_s: np.ndarray

    def only(self, chosen: np.ndarray) -> "Beats":
        """These beats alone; P waves without a beat stay."""
        fields = {name: getattr(self, name)[chosen] for name in ("times", "kinds", "rr_s", "late_s")}
        return replace(self, **fields)

    def inside(self, duration_s: float) -> np.ndarray:
        """Mask of the beats whose reference point is recorded."""
        return (self.times >= 0) & (self.times < duration_s)

    def heart_rate(self, duration_s: float) -> float:
        """Beats per minute: 60 over the mean RR interval between recorded beats."""
        times = self.times[self.inside(duration_s)]
        return 60.0 / float(np.mean(np.diff(times)))

    def rr_variation(self, duration_s: float) -> float:
        """Root mean square of successive RR differences over the mean RR, among recorded beats."""
        rr = np.diff(self.times[self.inside(duration_s)])
        return float(np.sqrt(np.mean(np.diff(rr) ** 2)) / np.mean(rr)) if len(rr) > 1 else 0.0


def _sinus_intervals(
    rng: np.random.Generator, condition: Condition, n: int, breath: tuple[float, float]
) -> np.ndarray:
    """RR in seconds: breathing, a slow drift and beat-to-beat jitter around the mean."""
    mean = 60.0 / condition.heart_rate
    breath_hz, breath_phase = breath
    clock = np.arange(n) * mean
    depth = rng.uniform(0.07, 0.14) if condition.sinus_arrhythmia else rng.uniform(0.004, 0.035) * (45 / condition.age)
    drift = rng.uniform(0, 0.02) * np.sin(2 * np.pi * rng.uniform(0.03, 0.1) * clock + rng.uniform(0, 2 * np.pi))
    jitter = condition.rr_variation * rng.standard_normal(n)
    return mean * (1 + depth * np.sin(2 * np.pi * breath_hz * clock + breath_phase) + drift + jitter)


def _fibrillation_intervals(rng: np.random.Generator, condition: Condition, n: int) -> np.ndarray:
    """RR in seconds: independent draws, skewed to the right, of the mean and variation asked for."""
    shape = 1.0 / condition.rr_variation**2
    return np.maximum(MIN_RR_S, (60.0 / condition.heart_rate) * rng.gamma(shape, 1.0 / shape, n))


def _flutter_intervals(rng: np.random.Generator, condition: Condition, n: int) -> np.ndarray:
    """RR in seconds: whole multiples of the atrial cycle, constant or changing."""
    ratio = max(2, round(60.0 / condition.heart_rate / FLUTTER_CYCLE_S))
    ratios = np.full(n, ratio)
    if rng.random() < 0.5:
        ratios = np.maximum(2, ratio + rng.choice([-1, 0, 1, 2], size=n, p=[0.2, 0.5, 0.2, 0.1]))
    return ratios * FLUTTER_CYCLE_S * (1 + 0.006 * rng.standard_normal(n))


def _add_ectopics(rng: np.random.Generator, condition: Condition, rr: np.ndarray) -> np.ndarray:
    """Kinds of the beats; shortens the interval before an early beat and lengthens the one after, in place."""
    kinds = np.zeros(len(rr) + 1, dtype=np.int64)
    if condition.ectopics == "none":
        return kinds
    ventricular = condition.ectopics == "ventricular"
    early = rng.random(len(rr)) < condition.ectopic_share
    if condition.ectopic_order:
        early = np.arange(len(rr)) % condition.ectopic_order == 1
    coupling = rng.uniform(0.55, 0.72) if ventricular else rng.uniform(0.62, 0.8)
    for i in range(1, len(rr) - 1):
        if early[i] and kinds[i] == NORMAL:
            short = coupling * rr[i] * (1 + 0.02 * rng.standard_normal())
            # After a ventricular beat the sinus node keeps its time; a supraventricular one resets it.
            rr[i + 1] = rr[i + 1] + rr[i] - short if ventricular else rr[i + 1] * 1.08
            rr[i] = max(MIN_RR_S, short)
            kinds[i + 1] = VENTRICULAR if ventricular else SUPRAVENTRICULAR
    return kinds


def _dropped(rng: np.random.Generator, rr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Which P waves of so many are not conducted, and by how much PR of the others grows, in seconds.

    Groups of three to five P waves: PR grows, most from the first beat to the second, until a beat is left out
    (Luciani and Wenckebach). So the RR intervals of a group become shorter.
    """
    length = int(rng.integers(3, 6))
    place = (np.arange(len(rr) + 1) + int(rng.integers(length))) % length
    grows = rng.uniform(0.05, 0.09) * np.concatenate(([0.0], np.cumsum(0.55 ** np.arange(length))))
    return place == length - 1, grows[place]


def draw_beats(rng: np.random.Generator, condition: Condition, duration_s: float) -> Beats:
    """
    Beats of one recording and of `MARGIN_S` on either side.

    Args:
        rng (`np.random.Generator`): stream of this exam's rhythm.
        condition (`Condition`): rhythm, rate, variation and ectopic beats.
        duration_s (`float`): of the recording.

    Returns:
        `Beats`
    """
    breath = (float(rng.uniform(0.2, 0.34)), float(rng.uniform(0, 2 * np.pi)))
    n = int((duration_s + 2 * MARGIN_S + 1.0) / (60.0 / condition.heart_rate) * 1.6) + 6
    if condition.rhythm == "af":
        rr = _fibrillation_intervals(rng, condition, n)
    elif condition.rhythm == "flutter":
        rr = _flutter_intervals(rng, condition, n)
    else:  # also where each beat or each P wave is as regular as the sinus node
        rr = _sinus_intervals(rng, condition, n, breath)
    kinds = _add_ectopics(rng, condition, rr)
    start = -MARGIN_S + rng.uniform(0, 1) * rr[0]
    times = start + np.concatenate(([0.0], np.cumsum(rr)))
    # QT follows the rate with a delay of many beats: most of it is the mean, some of it the interval just before.
    before = np.concatenate(([rr[0]], rr))
    slow = 0.75 * float(np.mean(rr)) + 0.25 * before
    late, lone = np.zeros(len(times)), np.zeros(0)
    end = duration_s + MARGIN_S - 0.3
    if condition.wide_beats:
        kinds[:] = VENTRICULAR
    keep = times < end
    if condition.rhythm == "wenckebach":
        dropped, late = _dropped(rng, rr)
        lone, times, keep = times[dropped & keep], times + late, keep & ~dropped
    elif condition.rhythm == "two_to_one":
        lone = times[keep] + 30.0 / condition.heart_rate
    elif condition.atrial_rate is not None:  # P waves of their own
        cycle = 60.0 / condition.atrial_rate
        lone = np.arange(-MARGIN_S + rng.uniform(0, cycle), end, cycle)
        lone = lone + 0.01 * rng.standard_normal(len(lone))
    return Beats(times[keep], kinds[keep], slow[keep], *breath, late[keep], lone)
