"""The measurements of an ECG in the words in which page and reports show them, beside the recorder's own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modeling_ecgclip import EcgMeasurements


UNCERTAIN = 0.5  # of a quality: below, a measure is shown as uncertain
NOT_STATED = " (formula not stated)"
# Title, unit, name of the measure, and what `metadata["measurements"]` of a file calls it; the first that is there.
_SHOWN = (
    ("Heart rate", "bpm", "heart_rate_bpm", ("heart_rate_bpm",)),
    ("P", "ms", "p_ms", ("p_duration_ms",)),
    ("PR", "ms", "pr_ms", ("pr_interval_ms",)),
    ("QRS", "ms", "qrs_ms", ("qrs_duration_ms",)),
    ("QT", "ms", "qt_ms", ("qt_interval_ms",)),
    ("QTc Bazett", "ms", "qtc_bazett_ms", ("qtc_bazett_ms", "qtc_interval_ms")),
    ("QTc Fridericia", "ms", "qtc_fridericia_ms", ("qtc_fridericia_ms",)),
    ("P axis", "\N{DEGREE SIGN}", "p_axis_deg", ("p_axis_deg",)),
    ("QRS axis", "\N{DEGREE SIGN}", "qrs_axis_deg", ("qrs_axis_deg",)),
    ("T axis", "\N{DEGREE SIGN}", "t_axis_deg", ("t_axis_deg",)),
)
TITLES = {name: title for title, _, name, _ in _SHOWN}


@dataclass(frozen=True)
class Measure:
    """
    One measurement as it is shown.

    Args:
        name (`str`): Its field in [`EcgMeasurements`].
        title (`str`): What people call it.
        unit (`str`): Of the number.
        number (`int`, *optional*): As it is shown; None where there is none.
        reason (`str`, *optional*): Why there is none.
        uncertain (`bool`): Whether its quality is low.
        stated (`str`, *optional*): What the recorder measured, where the file says it.
    """

    name: str
    title: str
    unit: str
    number: int | None
    reason: str | None
    uncertain: bool
    stated: str | None

    @property
    def value(self) -> str | None:
        """The number with its unit."""
        return None if self.number is None else with_unit(self.number, self.unit)


def measures_of(measurements: EcgMeasurements, stated: Mapping[str, float]) -> tuple[Measure, ...]:
    """
    Returns the measurements that are shown, in order.

    Args:
        measurements ([`EcgMeasurements`]): Of the ECG.
        stated (`dict[str, float]`): `metadata["measurements"]` of the record; may be empty.
    """
    measures = []
    for title, unit, name, keys in _SHOWN:
        value = getattr(measurements, name)
        key = next((key for key in keys if stated.get(key) is not None), None)
        by_recorder = None if key is None else with_unit(stated[key], unit)
        if by_recorder is not None and key == "qtc_interval_ms":
            by_recorder += NOT_STATED
        measures.append(
            Measure(
                name,
                title,
                unit,
                None if value is None else round(float(value)),
                measurements.reasons.get(name),
                value is not None and measurements.quality.get(name, 1.0) < UNCERTAIN,
                by_recorder,
            )
        )
    return tuple(measures)


def reasons_of(measures: Iterable[Measure]) -> list[str]:
    """Returns why there is no value, one sentence for each reason: "PR, P axis: none, no P wave ..."."""
    titles: dict[str, list[str]] = {}
    for measure in measures:
        if measure.value is None:
            titles.setdefault(measure.reason or "not measured", []).append(measure.title)
    return [f"{', '.join(of)}: none, {reason}." for reason, of in titles.items()]


def in_a_line(measures: Iterable[Measure]) -> str:
    """Returns the values in a sentence, with what the recorder measured behind each; empty where there is none."""
    shown = [
        f"{measure.title} {measure.value}"
        + (" (uncertain)" if measure.uncertain else "")
        + (f" [recorder: {measure.stated}]" if measure.stated else "")
        for measure in measures
        if measure.value is not None
    ]
    return f"Measured: {', '.join(shown)}." if shown else ""


def with_unit(value: float, unit: str) -> str:
    """Returns a whole number with its unit, as people write it."""
    space = "" if unit == "\N{DEGREE SIGN}" else " "
    return f"{round(float(value))}{space}{unit}"


__all__ = ["TITLES", "Measure", "in_a_line", "measures_of", "reasons_of", "with_unit"]
