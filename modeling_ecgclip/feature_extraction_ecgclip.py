"""From any ECG to the model's input: leads by name, millivolts, one sampling rate, centred in one length.

Training, evaluation, the pipelines and the conversion scripts all go through this one place.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.signal
from transformers.feature_extraction_utils import BatchFeature, FeatureExtractionMixin
from transformers.utils import TensorType

from .arrays_ecgclip import real_numbers
from .hub_ecgclip import state_saved_settings
from .leads_ecgclip import DERIVED_LEADS, UNITS_PER_MV, canonical_lead_name, canonical_unit
from .middles_ecgclip import middle_of_rows
from .missing_samples_ecgclip import Filled, fill_missing, missing_samples
from .plausibility_ecgclip import Finding, examine
from .rates_ecgclip import rational_rate_ratio
from .signal_ecgclip import LEAD_NAMES, N_SAMPLES, SAMPLING_RATE, SignalSpec
from .stated_ecgclip import ImplausibleEcgError, UnstatedError, check_stated


# Stop band below -80 dB, so that an offset of 10 mV leaves less than 1 uV of ripple. scipy's own 5.0 leaves 4 uV.
KAISER_BETA = 8.0
HALF_TAPS = 10  # of the filter on either side, for each sample of the slower rate, as scipy has it
NOTCH_QUALITY = 30.0  # -3 dB over 2 Hz at 60 Hz


@dataclass
class StandardEcg:
    """
    One ECG with its leads in order, in millivolts, before padding or cropping.

    Args:
        signal (`np.ndarray` of shape `(leads, samples)`, float): Millivolts; zeros in missing leads.
        lead_mask (`np.ndarray` of shape `(leads,)`, bool): False for missing leads.
        recorded (`np.ndarray` of shape `(leads, samples)`, bool): False in missing leads and for filled samples.
        sampling_rate (`float`): Hz.
        flags (`list[str]`):
            The codes of `findings`, and what was done to it: `"derived:aVR"`, `"missing:V3"`, `"resampled"`.
        findings (`list[Finding]`):
            What is doubtful about it: what was filled (`"nan_repaired:V3:2.5%"`), and what [`examine`] says short of
            an error.
    """

    signal: np.ndarray
    lead_mask: np.ndarray
    recorded: np.ndarray
    sampling_rate: float
    flags: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def quality(self) -> list[dict[str, str]]:
        """The findings as results carry them: `code`, `severity` and `message` of each."""
        return [asdict(finding) for finding in self.findings]


class EcgFeatureExtractor(FeatureExtractionMixin):
    r"""
    Turns ECGs as recorders give them into `input_values` float32 (batch, leads, samples). Deterministic, not learned.

    Args:
        lead_names (`list[str]`, defaults to the twelve standard leads): Leads of the output, in order.
        sampling_rate (`int`, defaults to 400): Hz of the output.
        n_samples (`int`, defaults to 4096):
            Samples of the window. Shorter ECGs get zeros on both sides, longer ones lose both ends.
        pad_to_multiple_of (`int`, defaults to 1):
            The output's samples are the next multiple of this: the window gets as many zeros on both sides. For
            networks whose strides do not divide the window; [`EcgFeatureExtractor.for_model`] knows it.
        do_scale (`bool`, defaults to `False`), scale (`float`, defaults to 1.0):
            With `do_scale` the output is millivolts times `scale`: 2.0 for weights trained on CODE-15% as published.
        highpass_hz (`float`, *optional*): Zero-phase Butterworth high-pass of order 2 against baseline wander.
        notch_hz (`float`, *optional*): Zero-phase notch against the mains: 50 or 60.
        allow_missing_leads (`bool`, defaults to `False`):
            Zeros for leads that are absent and cannot be derived, and a mask.
        repair_nan (`bool`, defaults to `False`):
            Fill gaps of up to 0.3 s by straight lines, in leads of which 80 % was recorded, instead of refusing the
            ECG; any other lead with missing samples counts as missing.
        return_attention_mask (`bool`, defaults to `False`):
            Return `ecg_attention_mask` always, not only where a lead is missing.

    Raises:
        `ValueError`: for settings that no output can have.
        `TypeError`: for a setting that does not exist.
    """

    model_input_names = ["input_values", "ecg_attention_mask"]
    padding_value = 0.0  # read by the pipelines when they make a batch

    def __init__(
        self,
        lead_names: Sequence[str] = LEAD_NAMES,
        sampling_rate: int = SAMPLING_RATE,
        n_samples: int = N_SAMPLES,
        pad_to_multiple_of: int = 1,
        do_scale: bool = False,
        scale: float = 1.0,
        highpass_hz: float | None = None,
        notch_hz: float | None = None,
        allow_missing_leads: bool = False,
        repair_nan: bool = False,
        return_attention_mask: bool = False,
        **kwargs: Any,
    ):
        unknown = set(kwargs) - {"feature_extractor_type", "processor_class", "auto_map"}
        if unknown:
            raise TypeError(f"EcgFeatureExtractor has no setting named {', '.join(sorted(unknown))}")
        super().__init__(**kwargs)
        self.lead_names = [canonical_lead_name(name, "EcgFeatureExtractor") for name in lead_names]
        self.sampling_rate = sampling_rate
        self.n_samples = n_samples
        self.pad_to_multiple_of = pad_to_multiple_of
        self.do_scale = do_scale
        self.scale = scale
        self.highpass_hz = highpass_hz
        self.notch_hz = notch_hz
        self.allow_missing_leads = allow_missing_leads
        self.repair_nan = repair_nan
        self.return_attention_mask = return_attention_mask
        self._check_settings()

    def _check_settings(self) -> None:
        SignalSpec(tuple(self.lead_names), self.sampling_rate, self.n_samples)  # refuses by itself
        if not isinstance(self.pad_to_multiple_of, int) or self.pad_to_multiple_of < 1:
            raise ValueError(
                f"pad_to_multiple_of must be a whole number of at least 1: found {self.pad_to_multiple_of!r}"
            )
        if not math.isfinite(self.scale) or self.scale <= 0:
            raise ValueError(f"scale must be a positive number: found {self.scale!r}")
        for name, value in (("highpass_hz", self.highpass_hz), ("notch_hz", self.notch_hz)):
            if value is not None and not 0 < value < self.sampling_rate / 2:
                raise ValueError(f"{name} must lie between 0 and {self.sampling_rate / 2} Hz: found {value!r}")

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
        """As in transformers; a model's `SHA256SUMS` in the same folder states the new file."""
        written = super().save_pretrained(save_directory, *args, **kwargs)
        state_saved_settings(save_directory)
        return written

    @classmethod
    def for_model(cls, config: Any, **kwargs: Any) -> "EcgFeatureExtractor":
        """
        Returns the feature extractor that gives what a model reads.

        Args:
            config (`PreTrainedConfig`): The model's, which states its signal; of a dual encoder, its `ecg_config`.
            kwargs: Further settings of the class.

        Raises:
            `ValueError`: for a configuration that states no signal.
        """
        config = getattr(config, "ecg_config", config)
        spec = SignalSpec.of(config)
        if spec is None:
            raise ValueError(
                f"{type(config).__name__} states no signal: expected lead_names, sampling_rate and n_samples in it"
            )
        multiple = getattr(config, "pad_to_multiple_of", 1)
        return cls(spec.lead_names, spec.sampling_rate, spec.n_samples, multiple, **kwargs)

    @property
    def signal(self) -> SignalSpec:
        """The signal that this gives, before padding."""
        return SignalSpec(tuple(self.lead_names), self.sampling_rate, self.n_samples)

    @property
    def input_samples(self) -> int:
        """Samples of `input_values`: the window, and zeros up to a multiple of `pad_to_multiple_of`."""
        return -(-self.n_samples // self.pad_to_multiple_of) * self.pad_to_multiple_of

    def __call__(
        self,
        ecg: Any,
        sampling_rate: float | Sequence[float] | None = None,
        lead_names: Sequence[str] | Sequence[Sequence[str]] | None = None,
        unit: str | Sequence[str] | None = None,
        record_names: str | Sequence[str] | None = None,
        allow_missing_leads: bool | None = None,
        repair_nan: bool | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | TensorType | None = None,
    ) -> BatchFeature:
        """
        Returns the model's input for one ECG or a batch.

        Args:
            ecg (`np.ndarray`, `torch.Tensor` or list of them):
                One ECG `(leads, samples)` or `(samples, leads)`, or several: an array with a leading batch axis, or a
                list, whose ECGs may differ in length. The number of `lead_names` says which axis holds the leads.
            sampling_rate (`float` or one for each ECG):
                Hz of the input; refused where left out.
            lead_names (`list[str]` or one list for each ECG, *optional*):
                Leads in the order of the input. Of an ECG of twelve leads the standard order is taken where left out,
                if the limb leads agree with it; any other is refused.
            unit (`str` or one for each ECG): `"mV"`, `"uV"` or `"V"`; refused where left out.
            record_names (`str` or `list[str]`, *optional*): What errors call each ECG; `"ECG 0"`, ... where left out.
            allow_missing_leads, repair_nan, return_attention_mask (`bool`, *optional*): Settings for this call.
            return_tensors (`str`, *optional*): `"pt"` for torch; numpy where left out.

        Returns:
            `BatchFeature` with `input_values` float32 `(batch, leads, input_samples)` in millivolts (times `scale`
            with `do_scale`) and, where asked for or where a lead is missing, `ecg_attention_mask` int64 of the same
            shape: 1 where a sample was recorded, 0 in padding and in missing leads.

        Raises:
            `ValueError`, `TypeError`: naming the record, what was expected and what was found.
        """
        ecgs = _as_list_of_ecgs(ecg)
        n = len(ecgs)
        rates = _one_each(sampling_rate, n, "sampling_rate")
        units = _one_each(unit, n, "unit")
        names = (
            _one_each(record_names, n, "record_names") if record_names is not None else [f"ECG {i}" for i in range(n)]
        )
        per_ecg_leads = lead_names is not None and len(lead_names) > 0 and not isinstance(lead_names[0], str)
        leads = _one_each(lead_names, n, "lead_names") if per_ecg_leads else [lead_names] * n

        standards = [
            self.standardize(one, rate, one_leads, one_unit, name, allow_missing_leads, repair_nan)
            for one, rate, one_leads, one_unit, name in zip(ecgs, rates, leads, units, names, strict=True)
        ]
        return self.features(standards, return_attention_mask, return_tensors)

    def features(
        self,
        standards: Sequence[StandardEcg],
        return_attention_mask: bool | None = None,
        return_tensors: str | TensorType | None = None,
    ) -> BatchFeature:
        """
        Returns the model's input for ECGs that [`standardize`] gave: filtered, scaled, centred.

        Args:
            standards (`list[StandardEcg]`): One for each ECG of the batch.
            return_attention_mask, return_tensors: As in `__call__`.
        """
        values = []
        for standard in standards:
            signal = self._filter(standard.signal)
            values.append(self.frame(signal * np.float32(self.scale) if self.do_scale else signal))
        data = {"input_values": np.stack(values)}
        wanted = self.return_attention_mask if return_attention_mask is None else return_attention_mask
        if wanted or not all(standard.lead_mask.all() for standard in standards):
            data["ecg_attention_mask"] = np.stack(
                [self.frame(standard.recorded.astype(np.int64)) for standard in standards]
            )
        return BatchFeature(data, tensor_type=return_tensors)

    def standardize(
        self,
        ecg: Any,
        sampling_rate: float | None = None,
        lead_names: Sequence[str] | None = None,
        unit: str | None = None,
        record_name: str = "ECG",
        allow_missing_leads: bool | None = None,
        repair_nan: bool | None = None,
    ) -> StandardEcg:
        """
        Returns one ECG with its leads in order, in millivolts and at the extractor's sampling rate, at its own length.

        Args: as in `__call__`, for one ECG.

        Raises:
            `ValueError`, `TypeError`: naming the record, what was expected and what was found.
        """
        own = self.order(ecg, sampling_rate, lead_names, unit, record_name, allow_missing_leads, repair_nan)
        if own.sampling_rate == self.sampling_rate:
            return replace(own, signal=own.signal.astype(np.float32))
        signal = resample(own.signal, own.sampling_rate, self.sampling_rate)
        if own.recorded.all():
            recorded = np.ones(signal.shape, dtype=bool)
        else:
            recorded = own.recorded[:, np.arange(signal.shape[1]) * own.signal.shape[1] // signal.shape[1]]
        return replace(
            own,
            signal=signal.astype(np.float32),
            recorded=recorded,
            sampling_rate=float(self.sampling_rate),
            flags=[*own.flags, "resampled"],
        )

    def order(
        self,
        ecg: Any,
        sampling_rate: float | None = None,
        lead_names: Sequence[str] | None = None,
        unit: str | None = None,
        record_name: str = "ECG",
        allow_missing_leads: bool | None = None,
        repair_nan: bool | None = None,
    ) -> StandardEcg:
        """
        Returns one ECG with its leads in order, in millivolts, as float64 and at the rate at which it was recorded.

        Args and errors: as [`standardize`].
        """
        allow_missing_leads = self.allow_missing_leads if allow_missing_leads is None else allow_missing_leads
        repair_nan = self.repair_nan if repair_nan is None else repair_nan
        named = lead_names is not None
        signal = real_numbers(ecg, record_name)
        check_stated(record_name, signal.shape, sampling_rate, lead_names, unit)
        unit = canonical_unit(str(unit), record_name)
        names = list(LEAD_NAMES) if lead_names is None else _canonical_lead_names(lead_names, record_name)
        rate = _checked_rate(sampling_rate, record_name)
        signal = _leads_first(signal, names, record_name, named)
        millivolts = signal.astype(np.float64, order="C")
        millivolts /= UNITS_PER_MV[unit]
        filled, findings = _filled(millivolts, names, rate, repair_nan, record_name)
        findings += _examined(filled, names, rate, named, unit, record_name)
        leads = {name: lead for name, lead, kept in zip(names, filled.signal, filled.lead_mask, strict=True) if kept}
        flags = [finding.code for finding in findings]
        recorded = dict(zip(names, filled.recorded, strict=True))
        leads = self._complete_leads(leads, recorded, allow_missing_leads, record_name, flags)
        lead_mask = np.array([name in leads for name in self.lead_names])
        if names == self.lead_names and filled.lead_mask.all():
            return StandardEcg(filled.signal, lead_mask, filled.recorded, rate, flags, findings)
        n = signal.shape[1]
        ordered = np.stack([leads.get(name, np.zeros(n)) for name in self.lead_names])  # (leads, samples)
        mask = np.stack([recorded.get(name, np.zeros(n, dtype=bool)) for name in self.lead_names])
        return StandardEcg(ordered, lead_mask, mask, rate, flags, findings)

    def center(self, signal: np.ndarray) -> np.ndarray:
        """
        Returns `signal` (leads, any length) as (leads, n_samples): zeros on both sides, or both ends cut off.

        Of an odd difference the smaller half is on the left.
        """
        signal = self.window(signal)
        whole = signal.shape[1] == self.n_samples
        return np.ascontiguousarray(signal) if whole else _between_zeros(signal, self.n_samples)

    def window(self, signal: np.ndarray) -> np.ndarray:
        """Returns what the model sees of `signal` (leads, any length), without padding: both ends cut off."""
        start = max(0, (signal.shape[1] - self.n_samples) // 2)
        return signal[:, start : start + self.n_samples]

    def frame(self, signal: np.ndarray) -> np.ndarray:
        """Returns `signal` (leads, any length) as (leads, input_samples): centred, and padded for the network."""
        window = self.center(signal)
        return window if self.input_samples == self.n_samples else _between_zeros(window, self.input_samples)

    def _complete_leads(
        self,
        leads: dict[str, np.ndarray],
        recorded: dict[str, np.ndarray],
        allow_missing_leads: bool,
        record_name: str,
        flags: list[str],
    ) -> dict[str, np.ndarray]:
        """Adds what I and II determine, to `recorded` too, and refuses or flags the leads that stay missing."""
        absent = [name for name in self.lead_names if name not in leads]
        leads = dict(leads)
        for name in absent:
            if name in DERIVED_LEADS and "I" in leads and "II" in leads:
                of_i, of_ii = DERIVED_LEADS[name]
                leads[name] = of_i * leads["I"] + of_ii * leads["II"]
                recorded[name] = recorded["I"] & recorded["II"]
                flags.append(f"derived:{name}")
        missing = [name for name in self.lead_names if name not in leads]
        if missing and not allow_missing_leads:
            lost = dict(flag.split(":")[1:] for flag in flags if flag.startswith("nan_lead:"))
            named = [f"{name} ({lost[name]} of its samples)" if name in lost else name for name in missing]
            raise ValueError(
                f"{record_name}: expected the leads {', '.join(self.lead_names)}; missing {', '.join(named)}. "
                "allow_missing_leads=True puts zeros there and returns a mask"
            )
        if len(missing) == len(self.lead_names):
            raise ValueError(f"{record_name}: none of the leads {', '.join(self.lead_names)} is present")
        flags.extend(f"missing:{name}" for name in missing)
        return leads

    def _filter(self, signal: np.ndarray) -> np.ndarray:
        """Returns the float32 signal (leads, samples) without wander and mains hum, as far as the settings ask."""
        n = signal.shape[1]
        if self.highpass_hz is not None:
            sos = scipy.signal.butter(2, self.highpass_hz, "highpass", fs=self.sampling_rate, output="sos")
            # One period of the corner frequency on either side lets the filter settle before the ECG begins.
            padding = min(n - 1, math.ceil(self.sampling_rate / self.highpass_hz))
            signal = scipy.signal.sosfiltfilt(sos, signal.astype(np.float64), axis=1, padlen=padding)
        if self.notch_hz is not None:
            b, a = scipy.signal.iirnotch(self.notch_hz, NOTCH_QUALITY, fs=self.sampling_rate)
            padding = min(n - 1, self.sampling_rate)
            signal = scipy.signal.filtfilt(b, a, signal.astype(np.float64), axis=1, padlen=padding)
        return signal.astype(np.float32, copy=False)


def resample(signal: np.ndarray, sampling_rate: float, target_rate: float) -> np.ndarray:
    """
    Returns `signal` (leads, samples) at another sampling rate, by a polyphase filter along time.

    The median of each lead is set aside meanwhile and the ends continue by point reflection, so that neither an offset
    of several millivolts nor baseline wander rings at the ends.

    Args:
        signal (`np.ndarray` of shape `(leads, samples)`, float64): Any unit.
        sampling_rate, target_rate (`float`): Hz.

    Returns:
        `np.ndarray` of shape `(leads, ceil(samples * target_rate / sampling_rate))`, float64.
    """
    up, down = rational_rate_ratio(sampling_rate, target_rate, signal.shape[1])
    offset = middle_of_rows(signal)
    # scipy makes the same window of its name and beta, but for each recording anew.
    window = _resampling_window(max(up, down))
    resampled = scipy.signal.resample_poly(signal - offset, up, down, axis=1, window=window, padtype="antireflect")
    return resampled + offset


@lru_cache(maxsize=8)
def _resampling_window(largest_term: int) -> np.ndarray:
    """The low-pass that resamples by a ratio of such a term."""
    return scipy.signal.firwin(2 * HALF_TAPS * largest_term + 1, 1 / largest_term, window=("kaiser", KAISER_BETA))


def _canonical_lead_names(lead_names: Sequence[str], record_name: str) -> list[str]:
    """Standard spellings of a recording's leads, none of them twice."""
    if isinstance(lead_names, str):
        raise TypeError(f"{record_name}: lead_names must be a list of names: found the text {lead_names!r}")
    if tuple(lead_names) == LEAD_NAMES:
        return list(LEAD_NAMES)
    names = [canonical_lead_name(name, record_name) for name in lead_names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{record_name}: lead {', '.join(twice)} occurs more than once in {list(lead_names)}")
    return names


def _checked_rate(sampling_rate: Any, record_name: str) -> float:
    if isinstance(sampling_rate, bool) or not isinstance(sampling_rate, int | float | np.number):
        raise TypeError(f"{record_name}: sampling_rate must be a number of Hz: found {sampling_rate!r}")
    if not math.isfinite(sampling_rate) or sampling_rate <= 0:
        raise ValueError(f"{record_name}: sampling_rate must be above 0 Hz: found {sampling_rate}")
    return float(sampling_rate)


def _filled(
    signal: np.ndarray, names: Sequence[str], sampling_rate: float, repair_nan: bool, record_name: str
) -> tuple[Filled, list[Finding]]:
    """The ECG with short gaps filled, where that is wanted, and what was; else missing samples are refused."""
    missing = missing_samples(signal)
    if not missing.any():
        whole = np.ones(signal.shape, dtype=bool)
        return Filled(signal, whole, np.ones(len(whole), dtype=bool), []), []
    counts = missing.sum(axis=1)
    found = ", ".join(
        f"{name}: {count} of {signal.shape[1]}" for name, count in zip(names, counts, strict=True) if count
    )
    if not repair_nan:
        raise ImplausibleEcgError(
            f"{record_name}: expected finite samples; found NaN, Inf or codes of lost samples in {found}. "
            "repair_nan=True fills short gaps",
            "not_recorded",
        )
    filled = fill_missing(signal, missing, names, sampling_rate)
    if not filled.lead_mask.any():
        raise ImplausibleEcgError(
            f"{record_name}: too little was recorded of every lead: missing {found}", "not_recorded"
        )
    return filled, [_filling(flag) for flag in filled.flags]


def _filling(flag: str) -> Finding:
    """What `fill_missing` did to a lead, as a finding."""
    kind, lead, share = flag.split(":")
    if kind == "nan_lead":
        text = f"{lead}: {share} of the samples, or too long a gap, were not recorded: the lead counts as missing"
        return Finding(flag, text, "warning")
    return Finding(flag, f"{lead}: {share} of the samples were not recorded, and filled by straight lines", "note")


def _examined(
    filled: Filled, names: Sequence[str], sampling_rate: float, named: bool, unit: str, record_name: str
) -> list[Finding]:
    """What is doubtful about an ECG; what would be read wrongly is refused."""
    signal, recorded, kept = filled.signal, filled.recorded, filled.lead_mask
    if not kept.all():
        signal, recorded = signal[kept], recorded[kept]
        names = [name for name, there in zip(names, kept, strict=True) if there]
    findings = examine(signal, names, sampling_rate, leads_stated=named, recorded=recorded)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        told = "; ".join(finding.message for finding in errors)
        raise ImplausibleEcgError(f"{record_name} (unit {unit}): {told}", errors[0].code)
    return findings


def _between_zeros(signal: np.ndarray, length: int) -> np.ndarray:
    """`signal` (leads, samples) in the middle of zeros; of an odd number of these the smaller half is on the left."""
    left = (length - signal.shape[1]) // 2
    padded = np.zeros((signal.shape[0], length), dtype=signal.dtype)
    padded[:, left : left + signal.shape[1]] = signal
    return padded


def _as_list_of_ecgs(ecg: Any) -> list[Any]:
    """One ECG or a batch, in any of the accepted forms, as a list of ECGs."""
    if isinstance(ecg, list | tuple):
        if len(ecg) == 0:
            raise ValueError("expected at least one ECG: found an empty list")
        depth = 1 + real_numbers(ecg[0], "ECG 0").ndim
        ecgs = [ecg] if depth == 2 else list(ecg)
    else:
        ecg = real_numbers(ecg, "ECG")
        depth = ecg.ndim
        ecgs = [ecg] if depth == 2 else list(ecg) if depth == 3 else []
    if depth not in (2, 3) or not ecgs:
        shape = f" of shape {ecg.shape}" if isinstance(ecg, np.ndarray) else f" with {depth} axes"
        raise ValueError(
            f"expected one ECG (leads, samples) or a batch (batch, leads, samples): found an array{shape}"
        )
    return ecgs


def _one_each(value: Any, n: int, name: str) -> list[Any]:
    """The same value for each of n ECGs, or a list that has one for each."""
    if value is None or isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        return [value] * n
    if len(value) != n:
        raise ValueError(f"{name} must have one entry for each of {n} ECGs: found {len(value)}")
    return list(value)


def _leads_first(signal: np.ndarray, names: Sequence[str], record_name: str, named: bool) -> np.ndarray:
    """Checks an array against the leads' names and returns it as (leads, samples)."""
    if signal.ndim != 2:
        raise ValueError(f"{record_name}: expected an ECG of two axes, leads and samples: found shape {signal.shape}")
    if signal.size == 0:
        raise ValueError(f"{record_name}: the ECG is empty: found shape {signal.shape}")
    if signal.shape[0] == len(names):
        return signal
    if signal.shape[1] == len(names):
        return signal.T
    hint = "lead_names has one name for each lead" if named else "pass lead_names where other leads were recorded"
    raise ValueError(
        f"{record_name}: expected {len(names)} leads ({', '.join(names)}) along one axis: "
        f"found shape {signal.shape}; {hint}"
    )


# Here rather than in the package, so that a copy loaded as remote code saves its own code as well.
EcgFeatureExtractor.register_for_auto_class()

__all__ = [
    "EcgFeatureExtractor",
    "ImplausibleEcgError",
    "StandardEcg",
    "UnstatedError",
    "canonical_lead_name",
    "canonical_unit",
    "resample",
]
