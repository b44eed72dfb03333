"""What a signal is: which leads, how often sampled, how long. Stated by models, feature extractors and exam tables.

The defaults are those of CODE-15%, and are decided here and nowhere else.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


LEAD_NAMES = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
# Those that the others follow from: III, aVR, aVL and aVF are sums and differences of I and II.
INDEPENDENT_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
SAMPLING_RATE = 400  # Hz, as CODE-15% is published
N_SAMPLES = 4096  # 10.24 s at 400 Hz


@dataclass(frozen=True)
class SignalSpec:
    """
    The signal that a model reads, a feature extractor gives, or an exam table holds.

    Args:
        lead_names (`tuple[str]`): Leads in their order, in standard spelling.
        sampling_rate (`int`): Hz.
        n_samples (`int`): Samples of each lead.

    Raises:
        `ValueError`: for no lead, a lead twice, or numbers below 1.
    """

    lead_names: tuple[str, ...] = LEAD_NAMES
    sampling_rate: int = SAMPLING_RATE
    n_samples: int = N_SAMPLES

    def __post_init__(self) -> None:
        object.__setattr__(self, "lead_names", tuple(self.lead_names))
        if not self.lead_names or len(set(self.lead_names)) != len(self.lead_names):
            raise ValueError(f"lead_names must be distinct and not empty: found {list(self.lead_names)}")
        for name in ("sampling_rate", "n_samples"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1: found {value!r}")

    @classmethod
    def of(cls, source: Any) -> "SignalSpec | None":
        """
        Returns what a configuration or a feature extractor states, or None where it states no signal.

        Args:
            source: Anything with `lead_names`, `sampling_rate` and `n_samples`; of a dual encoder's configuration,
                its `ecg_config`.
        """
        source = getattr(source, "ecg_config", source)
        if any(getattr(source, name, None) is None for name in ("lead_names", "sampling_rate", "n_samples")):
            return None
        return cls(tuple(source.lead_names), source.sampling_rate, source.n_samples)

    @property
    def shape(self) -> tuple[int, int]:
        """(leads, samples)."""
        return len(self.lead_names), self.n_samples

    @property
    def duration_s(self) -> float:
        """Seconds."""
        return self.n_samples / self.sampling_rate

    def to_dict(self) -> dict[str, Any]:
        """Returns the three as JSON has them."""
        return asdict(self) | {"lead_names": list(self.lead_names)}

    def __str__(self) -> str:
        leads = "lead" if len(self.lead_names) == 1 else "leads"
        return (
            f"{len(self.lead_names)} {leads} ({' '.join(self.lead_names)}), {self.n_samples} samples at "
            f"{self.sampling_rate} Hz"
        )


def check_same_signal(stated: Iterable[tuple[str, SignalSpec | None]], what: str) -> None:
    """
    Refuses parts that state different signals; one that states none is passed over.

    Args:
        stated (`Iterable[tuple[str, SignalSpec]]`): Who states it, such as "the model", and the signal.
        what (`str`): What the parts belong to, for the error.

    Raises:
        `ValueError`: naming both parts and their signals, in one line.
    """
    first_name, first = "", None
    for name, spec in stated:
        if spec is None:
            continue
        if first is None:
            first_name, first = name, spec
        elif spec != first:
            raise ValueError(f"{what}: expected one signal: {first_name} has {first}; found {name} with {spec}")


__all__ = [
    "INDEPENDENT_LEADS",
    "LEAD_NAMES",
    "N_SAMPLES",
    "SAMPLING_RATE",
    "SignalSpec",
    "check_same_signal",
]
