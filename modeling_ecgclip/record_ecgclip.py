"""One ECG as its source holds it: what every reader returns, and what the feature extractor takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class EcgRecord:
    """
    One ECG as its source holds it.

    Args:
        signal (`np.ndarray` of shape `(leads, samples)` or `(samples, leads)`): In `unit`.
        sampling_rate (`float`, *optional*): Hz; `None` where the source does not state it.
        lead_names (`tuple[str]`, *optional*): As the source spells them; `None` where it does not state them.
        unit (`str`, *optional*): `"mV"`, `"uV"` or `"V"`; `None` where the source does not state it.
        name (`str`): What errors call it.
        metadata (`Mapping`): What the source says besides: the machine's own measurements and statements, age in years
            and sex, the device. Never a name, an id or a date of a patient; never a label unless asked for.
    """

    signal: np.ndarray
    sampling_rate: float | None
    lead_names: tuple[str, ...] | None
    unit: str | None
    name: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


__all__ = ["EcgRecord"]
