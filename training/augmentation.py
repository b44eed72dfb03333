"""
Random changes of ECGs while training, on the device and a whole batch at a time.

All are off by default, as in the paper. They draw from torch's global generator, which the training loop reseeds with
the number of the step: a resumed run repeats them.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F

from common.electrodes import ELECTRODES, electrodes_to_leads
from data_scripts.tables.schema import MICROVOLTS_PER_MILLIVOLT
from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor
from modeling_ecgclip.signal_ecgclip import SignalSpec
from training.data import microvolts_per_unit


WANDER_HZ = tuple(0.05 * (i + 1) for i in range(10))  # slow drift of the electrodes, and breathing


@functools.cache  # a tensor made anew in each step would make the processor wait for the device
def _lead_matrix(lead_names: tuple[str, ...], device: torch.device) -> torch.Tensor:
    """Leads from electrodes, at which disturbances arise, (leads, 9): I + III = II holds for them too."""
    return torch.tensor(electrodes_to_leads(lead_names), dtype=torch.float32, device=device)


@functools.cache
def _slow_waves(samples: int, sampling_rate: int, device: torch.device) -> torch.Tensor:
    """Sine and then cosine of each wave, (2 waves, samples)."""
    seconds = torch.arange(samples, device=device) / sampling_rate
    angle = 2 * math.pi * torch.tensor(WANDER_HZ, device=device)[:, None] * seconds
    return torch.cat([angle.sin(), angle.cos()])


@dataclass(frozen=True)
class Augmentation:
    """
    Random changes, each new for every exam of every step. 0 leaves one out.

    What is no recording stays none: padding and missing leads are zeros before and after.

    Args:
        amplitude (`float`): Every exam times one factor between 1 / (1 + amplitude) and 1 + amplitude.
        noise_mv (`float`): White noise at each electrode, its standard deviation up to so many millivolts.
        wander_mv (`float`): Slow waves (0.05 to 0.5 Hz) at each electrode, up to so many millivolts.
        shift_s (`float`): The recording moves by up to so many seconds either way: what leaves the window is cropped,
            and what enters is padding.
        lead_masking (`float`): Probability of each lead to be set to zero, as a missing lead is; one always stays.

    Raises:
        `ValueError`: for a negative strength, or a probability of 1 or more.
    """

    amplitude: float = 0.0
    noise_mv: float = 0.0
    wander_mv: float = 0.0
    shift_s: float = 0.0
    lead_masking: float = 0.0

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"augmentation {entry.name} must be 0 or more: found {value}")
        if self.lead_masking >= 1:
            raise ValueError(f"augmentation lead_masking is a probability below 1: found {self.lead_masking}")

    @classmethod
    def parse(cls, settings: Sequence[str] | None) -> "Augmentation | None":
        """
        Returns the augmentation that `--augment` names, or None where it names nothing.

        Args:
            settings (`list[str]`, *optional*): Each `name=strength`, such as `noise_mv=0.02`.

        Raises:
            `ValueError`: for an unknown name, a name given twice, or a strength that is no number.
        """
        known = [entry.name for entry in fields(cls)]
        values: dict[str, float] = {}
        for setting in settings or ():
            name, _, strength = setting.partition("=")
            if name not in known or name in values:
                raise ValueError(f"--augment {setting}: expected one or more of {', '.join(known)}, each once")
            try:
                values[name] = float(strength)
            except ValueError:
                raise ValueError(f"--augment {setting}: expected {name}=NUMBER") from None
        return cls(**values) if values else None

    def check(self, signal: SignalSpec) -> None:
        """Raises `ValueError` where a shift could leave little of a recording of this signal."""
        if self.shift_s > signal.duration_s / 2:
            raise ValueError(
                f"augmentation shift_s of more than half the window ({signal.duration_s / 2:g} s) would leave no ECG: "
                f"found {self.shift_s:g}"
            )

    def __call__(self, ecg: torch.Tensor, n_samples: torch.Tensor, signal: SignalSpec) -> torch.Tensor:
        """
        Returns changed ECGs of the same shape and dtype.

        Args:
            ecg (`torch.Tensor` of shape `(batch, leads, samples)`): Millivolts, zero-padded on both sides.
            n_samples (`torch.Tensor` of shape `(batch,)`): Samples before padding.
            signal (`SignalSpec`): Names of the leads, and how often they were sampled.
        """
        recorded = _recorded(ecg, n_samples)
        if self.amplitude:
            exponent = 2 * torch.rand(len(ecg), 1, 1, device=ecg.device) - 1
            ecg = ecg * (1 + self.amplitude) ** exponent
        if self.noise_mv:
            ecg = ecg + self._noise(ecg, signal) * recorded
        if self.wander_mv:
            ecg = ecg + self._wander(ecg, signal) * recorded
        if self.shift_s:
            ecg = _shift(ecg, round(self.shift_s * signal.sampling_rate))
        if self.lead_masking:
            drawn = torch.rand(*ecg.shape[:2], 1, device=ecg.device)
            kept = (drawn >= self.lead_masking) | (drawn == drawn.amax(dim=1, keepdim=True))
            ecg = ecg * kept
        return ecg

    def _noise(self, ecg: torch.Tensor, signal: SignalSpec) -> torch.Tensor:
        """(batch, leads, samples), millivolts."""
        strength = self.noise_mv * torch.rand(len(ecg), 1, 1, device=ecg.device)
        noise = strength * torch.randn(len(ecg), len(ELECTRODES), ecg.shape[-1], device=ecg.device)
        return _lead_matrix(signal.lead_names, ecg.device) @ noise

    def _wander(self, ecg: torch.Tensor, signal: SignalSpec) -> torch.Tensor:
        """(batch, leads, samples), millivolts."""
        shape = (len(ecg), len(ELECTRODES), len(WANDER_HZ))
        waves, phase = torch.rand(shape, device=ecg.device) ** 4, torch.rand(shape, device=ecg.device) * 2 * math.pi
        strength = self.wander_mv * torch.rand(*shape[:2], 1, device=ecg.device)
        waves = strength * waves / waves.sum(dim=2, keepdim=True)  # their amplitudes add up to the strength
        # sin(a + b) = sin(a) cos(b) + cos(a) sin(b): a matrix product in place of a sine for every sample.
        at_electrodes = torch.cat([waves * phase.cos(), waves * phase.sin()], dim=2)  # (batch, electrodes, 2 waves)
        mixed = _lead_matrix(signal.lead_names, ecg.device) @ at_electrodes  # (batch, leads, 2 waves)
        return mixed @ _slow_waves(ecg.shape[-1], signal.sampling_rate, ecg.device)


def _recorded(ecg: torch.Tensor, n_samples: torch.Tensor) -> torch.Tensor:
    """(batch, leads, samples), True where something was recorded: between the paddings, in leads that are there."""
    width = ecg.shape[-1]
    n_samples = n_samples[:, None].clamp(max=width)
    left = (width - n_samples).div(2, rounding_mode="floor")  # as the feature extractor pads
    place = torch.arange(width, device=ecg.device)
    inside = (place >= left) & (place < left + n_samples)  # (batch, samples)
    return inside[:, None] & (ecg != 0).any(dim=-1, keepdim=True)


def _shift(ecg: torch.Tensor, largest: int) -> torch.Tensor:
    """Moves each exam by its own number of samples, filling with zeros."""
    width = ecg.shape[-1]
    by = torch.randint(-largest, largest + 1, (len(ecg), 1), device=ecg.device)
    source = torch.arange(width, device=ecg.device) - by  # (batch, samples)
    inside = (source >= 0) & (source < width)
    moved = ecg.gather(2, source.clamp(0, width - 1)[:, None].expand_as(ecg))
    return moved * inside[:, None]


class SignalInput:
    """
    Turns a batch of an exam table into what the model reads: in its unit, augmented, padded for its strides.

    Args:
        feature_extractor (`EcgFeatureExtractor`): The model's preprocessing, which states unit and padding.
        signal (`SignalSpec`): Of the exam table.
        augmentation (`Augmentation`, *optional*): For training batches.

    Raises:
        `ValueError`: where the table holds another signal than the feature extractor gives, or one that it filters;
            for a shift that such a recording does not bear.
    """

    def __init__(
        self, feature_extractor: EcgFeatureExtractor, signal: SignalSpec, augmentation: Augmentation | None = None
    ):
        self.microvolts_per_unit = microvolts_per_unit(feature_extractor, signal)
        if augmentation is not None:
            augmentation.check(signal)
        self.signal, self.augmentation = signal, augmentation
        padding = feature_extractor.input_samples - signal.n_samples
        self.padding = padding // 2, padding - padding // 2  # as the feature extractor's `frame` does

    def __call__(self, batch: Mapping[str, torch.Tensor], training: bool = False) -> torch.Tensor:
        """Returns float32 (batch, leads, input_samples) of `ecg`, int16 microvolts; augmented where `training`."""
        if training and self.augmentation is not None:
            changed = self.augmentation(batch["ecg"] / MICROVOLTS_PER_MILLIVOLT, batch["n_samples"], self.signal)
            values = changed * (MICROVOLTS_PER_MILLIVOLT / self.microvolts_per_unit)
        else:
            values = batch["ecg"] / self.microvolts_per_unit
        return F.pad(values, self.padding) if any(self.padding) else values
