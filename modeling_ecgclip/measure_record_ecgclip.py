"""The measurements of ECGs as their sources hold them: read as models read them, at the rate of the recording."""

from collections.abc import Sequence

import numpy as np

from .feature_extraction_ecgclip import EcgFeatureExtractor, StandardEcg
from .measure_ecgclip import measure_ecgs
from .measurements_ecgclip import EcgMeasurements
from .record_ecgclip import EcgRecord
from .signal_ecgclip import LEAD_NAMES


def order_record(record: EcgRecord, repair_nan: bool = False) -> StandardEcg:
    """
    Returns an ECG as it is measured: the twelve leads in order, in millivolts, at the rate of the recording.

    All twelve count, whichever of them a model reads: missing ones are masked, and those that I and II determine are
    computed. Onsets and offsets lie between the samples of a slower rate, so nothing is resampled.

    Args:
        record ([`EcgRecord`]): From `read_ecg`.
        repair_nan (`bool`, defaults to `False`): As in [`EcgFeatureExtractor`].

    Raises:
        `ValueError`, `TypeError`: for what the feature extractor refuses, naming the record.
    """
    extractor = EcgFeatureExtractor(LEAD_NAMES, allow_missing_leads=True, repair_nan=repair_nan)
    return extractor.order(record.signal, record.sampling_rate, record.lead_names, record.unit, record.name)


def measure_record(record: EcgRecord, repair_nan: bool = False) -> tuple[EcgMeasurements, StandardEcg]:
    """
    Returns the measurements of an ECG, and how it was read.

    Args and errors: as [`order_record`].
    """
    standard = order_record(record, repair_nan)
    return measure_ordered([standard])[0], standard


def measure_ordered(standards: Sequence[StandardEcg]) -> list[EcgMeasurements]:
    """
    Returns the measurements of ECGs that [`order_record`] gave, in their order; those of one length and rate at once.

    Args:
        standards (`list[StandardEcg]`): Of any lengths and rates.
    """
    alike: dict[tuple[float, int], list[int]] = {}
    for at, standard in enumerate(standards):
        alike.setdefault((standard.sampling_rate, standard.signal.shape[1]), []).append(at)
    found: dict[int, EcgMeasurements] = {}
    for (rate, _), places in alike.items():
        signals = np.stack([standards[at].signal for at in places])
        recorded = np.stack([standards[at].recorded for at in places])
        found |= dict(zip(places, measure_ecgs(signals, rate, LEAD_NAMES, recorded), strict=True))
    return [found[at] for at in range(len(standards))]


__all__ = ["measure_ordered", "measure_record", "order_record"]
