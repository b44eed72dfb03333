"""What hearts have beside the six labels: kinds of findings, how often they are drawn, what they do to the waves."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


SEVERITY = (0.35, 1.8)  # the least and the most; 1 is the textbook's picture, and a low one may not be seen at all
RISK_RANGE = (0.25, 2.8)
MAX_SCALE = 10.0

Row = tuple[float, float, float, float, float]
Vector = tuple[float, float, float]
ZERO: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Kind:
    """
    One kind of finding, at severity 1. Vectors are (left, down, back) in mV, as everywhere in the simulator.

    Args:
        share (`float`): Of patients where it is `lasting`, else of exams; of the age at which the risk is the mean.
        lasting (`bool`): Kept over all exams of a patient.
        group (`str`, *optional*): Of a group an exam has one kind at the most.
        risk_years (`float`): Years that multiply the risk by e.
        qrs (`tuple`): Rows (centre, standard deviation, x, y, z) in ms and mV, added to the QRS.
        qrs_ms (`float`): Added to its duration.
        st, t (`tuple`): Vectors added to the ST segment, from its beginning into T, and to the T wave.
        sag (`tuple`): Vector added to the middle of the ST segment alone, which then hangs between QRS and T.
        t_kept (`float`): Share of the usual T wave that is left.
        t_width (`float`): Factor of its duration; its end stays.
        u, pr_segment (`tuple`): Vectors of the U wave, and of the segment between P and QRS.
        qtc_ms, pr_ms (`float`): Added.
        p_gain (`tuple`): Factors of the two halves of P, each (x, y, z).
        p_later_ms (`float`): The second half of P comes later.
        frontal_deg (`float`): Turns the QRS to the right.
        rhythm (`str`, *optional*): Takes the place of sinus rhythm.
    """

    share: float
    lasting: bool = False
    group: str | None = None
    risk_years: float = math.inf
    qrs: tuple[Row, ...] = ()
    qrs_ms: float = 0.0
    st: Vector = ZERO
    t: Vector = ZERO
    sag: Vector = ZERO
    t_kept: float = 1.0
    t_width: float = 1.0
    u: Vector = ZERO
    pr_segment: Vector = ZERO
    qtc_ms: float = 0.0
    pr_ms: float = 0.0
    p_gain: tuple[Vector, Vector] = ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    p_later_ms: float = 0.0
    frontal_deg: float = 0.0
    rhythm: str | None = None


def _scar(share: float, *qrs: Row, t: Vector) -> Kind:
    """An old infarction: the forces of a wall are missing, and T points away from it."""
    return Kind(share, lasting=True, risk_years=25.0, qrs=qrs, t=t)


def _injury(share: float, st: Vector) -> Kind:
    """A fresh one: ST and T point to the wall. The leads on the other side show the reverse by themselves."""
    return Kind(share, group="st", risk_years=30.0, st=st, t=(0.8 * st[0], 0.8 * st[1], 0.8 * st[2]), t_kept=0.8)


def _slow_start(x: float, y: float, z: float) -> tuple[Row, ...]:
    """
    A wall that an accessory pathway excites early, from muscle to muscle: its front grows, and so do its forces, until
    those of the conduction system take over. The septum, which they begin with, is then excited already.
    """
    return (
        (-47, 9, 0.35 * x, 0.35 * y, 0.35 * z),
        (-35, 9, 0.7 * x, 0.7 * y, 0.7 * z),
        (-23, 9, x + 0.08, y + 0.04, z + 0.14),
    )


# Shares are near those of PTB-XL's statements (Wagner et al. 2020, https://doi.org/10.1038/s41597-020-0495-6), lower
# where a hospital's exams have more than a primary care archive's. Vectors: chosen so that leads show what textbooks
# print (Surawicz and Knilans, "Chou's Electrocardiography in Clinical Practice"); docs/simulator.md has the ranges.
KINDS: dict[str, Kind] = {
    "inferior_scar": _scar(0.045, (-26, 9, 0.0, -0.50, 0.0), (-9, 9, 0.0, -0.34, 0.0), t=(0.02, -0.34, 0.0)),
    "anteroseptal_scar": _scar(0.035, (-27, 9, 0.05, 0.0, 0.36), (-10, 9, 0.0, 0.0, 0.42), t=(0.03, 0.0, 0.34)),
    "anterior_scar": _scar(0.015, (-26, 9, -0.06, 0.0, 0.38), (-7, 11, -0.30, 0.0, 0.62), t=(-0.16, 0.0, 0.42)),
    "lateral_scar": _scar(0.012, (-25, 9, -0.48, 0.05, 0.0), (-8, 9, -0.36, 0.05, 0.02), t=(-0.40, 0.06, -0.05)),
    "posterior_scar": _scar(0.006, (17, 12, 0.0, 0.0, -1.15), t=(0.0, 0.0, -0.16)),
    "right_ventricle": Kind(
        0.008,
        lasting=True,
        qrs=((9, 13, -0.72, 0.12, -0.75), (33, 10, -0.45, 0.05, -0.1)),
        t=(-0.10, -0.10, 0.36),
        frontal_deg=34.0,
    ),
    "left_atrium": Kind(
        0.030, lasting=True, risk_years=30.0, p_gain=((1.0, 1.0, 1.0), (1.6, 1.5, 2.4)), p_later_ms=42.0, pr_ms=20.0
    ),
    "right_atrium": Kind(0.008, lasting=True, p_gain=((1.0, 3.6, 1.8), (1.0, 2.0, 1.0))),
    "left_posterior_fascicle": Kind(0.006, lasting=True, frontal_deg=78.0),
    "delta_wave_left": Kind(
        0.002,
        lasting=True,
        group="delta",
        qrs=_slow_start(0.05, 0.22, -0.30),
        qrs_ms=28.0,
        pr_ms=-52.0,
        t=(-0.12, -0.12, 0.14),
    ),
    "delta_wave_right": Kind(
        0.002,
        lasting=True,
        group="delta",
        qrs=_slow_start(0.32, -0.10, 0.14),
        qrs_ms=28.0,
        pr_ms=-52.0,
        t=(-0.26, 0.02, -0.10),
    ),
    "inferior_injury": _injury(0.003, (-0.05, 0.24, 0.02)),
    "anterior_injury": _injury(0.003, (0.10, -0.05, -0.24)),
    "lateral_injury": _injury(0.001, (0.27, -0.10, 0.02)),
    "ischaemia": Kind(0.030, group="st", risk_years=30.0, st=(-0.13, -0.09, 0.05), t=(-0.06, -0.04, 0.0), t_kept=0.5),
    "anterior_t": Kind(0.020, group="st", t=(-0.05, 0.0, 0.40), t_kept=0.8),
    "inferior_t": Kind(0.015, group="st", t=(0.0, -0.33, 0.0), t_kept=0.9),
    # The plateau of the action potential slopes, and all of it is shorter.
    "digitalis": Kind(0.008, group="st", risk_years=22.0, sag=(-0.17, -0.12, 0.06), t_kept=0.45, qtc_ms=-35.0),
    "low_potassium": Kind(0.005, group="st", st=(-0.05, -0.04, 0.03), t_kept=0.12, u=(0.10, 0.06, -0.16), qtc_ms=12.0),
    # Repolarisation ends faster and everywhere at once; atria lose their potential before the ventricles do.
    "high_potassium": Kind(
        0.003,
        group="st",
        t_kept=3.4,
        t_width=0.74,
        qtc_ms=-10.0,
        qrs_ms=6.0,
        p_gain=((0.75, 0.75, 0.75), (0.75, 0.75, 0.75)),
    ),
    "pericarditis": Kind(
        0.003, group="st", st=(0.15, 0.12, -0.10), t=(0.03, 0.03, -0.03), pr_segment=(-0.05, -0.05, 0.03)
    ),
    "long_qt": Kind(0.006, group="st", qtc_ms=75.0),
    "ventricular_pacing": Kind(0.008, group="rhythm", risk_years=18.0, rhythm="paced"),
    "atrial_focus": Kind(0.006, group="rhythm", rhythm="atrial"),
    "junctional": Kind(0.005, group="rhythm", risk_years=30.0, rhythm="junctional"),
    "ventricular": Kind(0.001, group="rhythm", risk_years=25.0, rhythm="ventricular"),
    "svt": Kind(0.003, group="rhythm", rhythm="svt"),
    "wenckebach": Kind(0.002, group="rhythm", risk_years=25.0, rhythm="wenckebach"),
    "two_to_one": Kind(0.001, group="rhythm", risk_years=22.0, rhythm="two_to_one"),
    "complete_block": Kind(0.0015, group="rhythm", risk_years=20.0, rhythm="complete_block"),
    "bigeminy": Kind(0.004, group="rhythm", risk_years=30.0, rhythm="bigeminy"),
    "trigeminy": Kind(0.002, group="rhythm", risk_years=30.0, rhythm="trigeminy"),
}
# `bigeminy` and `trigeminy` are sinus rhythm with ectopic beats in order; the others leave nothing of it.
OTHER_RHYTHMS = tuple(sorted({kind.rhythm for kind in KINDS.values() if kind.rhythm} - {"bigeminy", "trigeminy"}))


@dataclass(frozen=True)
class Finding:
    """
    One finding of one exam.

    Args:
        name (`str`): Of `KINDS`.
        severity (`float`): Multiplies what the kind does.
        recovery (`float`): 0 to 1: what is left of an old infarction's T wave.
    """

    name: str
    severity: float = 1.0
    recovery: float = 1.0

    @property
    def kind(self) -> Kind:
        """What it does at severity 1."""
        return KINDS[self.name]


@dataclass(frozen=True)
class FindingShares:
    """
    How often findings are drawn.

    Args:
        scale (`float`, defaults to 1.0): Multiplies the share of every kind; 0 draws none.
        changes (`tuple`): Pairs of a kind and its share, in place of the scaled one.

    Raises:
        `ValueError`: for a kind that is not known, or a share that is none.
    """

    scale: float = 1.0
    changes: tuple[tuple[str, float], ...] = ()
    of: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.scale <= MAX_SCALE:
            raise ValueError(f"finding_scale must lie in [0, {MAX_SCALE:g}] (1 is the default), found {self.scale}")
        changed = dict(self.changes)
        for name, share in self.changes:
            if name not in KINDS:
                raise ValueError(f"finding_shares: unknown kind {name!r}; expected one of {', '.join(KINDS)}")
            if not 0 <= share <= 1:
                raise ValueError(f"finding_shares: {name} must lie in [0, 1], found {share}")
        shares = (changed.get(name, min(1.0, kind.share * self.scale)) for name, kind in KINDS.items())
        object.__setattr__(self, "of", tuple(shares))

    @classmethod
    def parse(cls, scale: float, shares: Mapping[str, float]) -> "FindingShares":
        """Returns the shares of a cohort's settings."""
        return cls(scale, tuple(shares.items()))


DEFAULT_SHARES = FindingShares()


def draw_findings(rng: np.random.Generator, shares: FindingShares, age: float, lasting: bool) -> tuple[Finding, ...]:
    """
    Returns what one patient has for good, or one exam for the day, in the order of `KINDS`.

    Args:
        rng (`np.random.Generator`): A stream of its own: other draws do not depend on it.
        shares (`FindingShares`): How often.
        age (`float`): Years.
        lasting (`bool`): Which of the two.
    """
    luck, size, recovery = rng.random(len(KINDS)), rng.normal(0, 0.38, len(KINDS)), rng.random(len(KINDS))
    found: dict[str, tuple[float, Finding]] = {}
    for k, (name, kind) in enumerate(KINDS.items()):
        if kind.lasting != lasting or not shares.of[k]:
            continue
        risk = min(max(math.exp((age - 53.0) / kind.risk_years), RISK_RANGE[0]), RISK_RANGE[1])
        rarity = float(luck[k]) / (shares.of[k] * risk)
        place = kind.group or name
        if rarity < 1 and rarity < found.get(place, (1.0, None))[0]:
            severity = min(max(math.exp(float(size[k])), SEVERITY[0]), SEVERITY[1])
            found[place] = rarity, Finding(name, severity, float(recovery[k]))
    return tuple(finding for _, finding in found.values())


def names_of(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """Returns the names of findings, in the order of `KINDS`."""
    present = {finding.name for finding in findings}
    return tuple(name for name in KINDS if name in present)


def rhythm_of(findings: tuple[Finding, ...]) -> str | None:
    """Returns the rhythm that takes the place of sinus rhythm, if any."""
    return next((finding.kind.rhythm for finding in findings if finding.kind.rhythm), None)
