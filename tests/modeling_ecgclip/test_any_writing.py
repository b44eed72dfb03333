"""Any writing of a known ECG is read as what it is, or refused; nothing changes without a word."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor, StandardEcg
from modeling_ecgclip.leads_ecgclip import DERIVED_LEADS, UNITS_PER_MV, canonical_unit, parse_lead_name
from modeling_ecgclip.reading_ecgclip import read_ecg
from modeling_ecgclip.record_ecgclip import EcgRecord
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES
from tests.modeling_ecgclip.writings import (
    FACTS,
    SEED,
    Ecg,
    Pen,
    Writing,
    hdf5,
    in_memory,
    matlab,
    npy,
    npz,
    wfdb,
    with_caller,
)
from tests.modeling_ecgclip.written_recorders import recorder
from tests.modeling_ecgclip.written_tables import table


WRITINGS = 2000
WRITERS = (*[in_memory] * 3, npy, *[npz] * 4, *[table] * 6, *[wfdb] * 5, *[recorder] * 4, matlab, hdf5)
ROUNDING_MV = 2e-6  # float32, and sums of it


def write(number: int, folder: Path, seed: int = SEED) -> Writing:
    """One of any number of writings; the same number gives the same one."""
    pen = Pen(seed, number)
    folder.mkdir(exist_ok=True)
    return with_caller(pen, pen.one("writer", WRITERS)(pen, folder))


def difference_of_record(writing: Writing, record: EcgRecord) -> str:
    """What differs between the truth and what was read; nothing where all is right."""
    found = {fact: getattr(record, fact) for fact in FACTS}
    for fact in FACTS:
        if fact not in writing.stated and found[fact] is not None:
            return f"{fact}: {found[fact]} guessed"
        if fact in writing.stated and found[fact] is None and writing.outcome == "read":
            return f"{fact}: overlooked"
    rate = record.sampling_rate
    if rate is not None and abs(rate / writing.ecg.rate - 1) > writing.rate_slack + 1e-7:
        return f"rate: {rate} for {writing.ecg.rate}"
    names = writing.ecg.names
    if record.lead_names is not None:
        parsed = [parse_lead_name(name) for name in record.lead_names]
        if None in parsed:  # which the feature extractor refuses
            return f"leads: {record.lead_names}" if writing.outcome == "read" else ""
        names = tuple(name for name, _ in parsed)
    if set(names) != set(writing.ecg.names) or len(names) != len(writing.ecg.names):
        return f"leads: {names} for {writing.ecg.names}"
    # What nobody calls by a unit is compared in the one that it has.
    unit = writing.unit if record.unit is None else canonical_unit(record.unit)
    signal = np.asarray(record.signal, dtype=np.float64) / UNITS_PER_MV[unit]
    signal = signal if signal.shape[0] == len(names) else signal.T
    rows = [writing.ecg.names.index(name) for name in names]
    return difference_of_samples(signal, writing.ecg.leads[rows], writing.tolerance_mv)


def difference_of_samples(found: np.ndarray, truth: np.ndarray, tolerance_mv: float) -> str:
    """What differs between millivolts `(leads, samples)`; NaN has to be NaN."""
    if found.shape != truth.shape:
        return f"shape: {found.shape} for {truth.shape}"
    if not np.array_equal(np.isnan(found), np.isnan(truth)):
        return "samples without value: others"
    apart = float(np.nanmax(np.abs(found - truth)))
    return f"samples: {apart:.6f} mV apart" if apart > 1.001 * tolerance_mv + ROUNDING_MV else ""


def difference_of_standard(writing: Writing, standard: StandardEcg, rate: float) -> str:
    """What differs between the truth and what the model would be given, at the rate of the recording."""
    ecg = writing.ecg
    leads = dict(zip(ecg.names, ecg.leads, strict=True))
    for name, (of_i, of_ii) in DERIVED_LEADS.items():
        leads.setdefault(name, of_i * leads["I"] + of_ii * leads["II"])
    truth = np.stack([leads[name] for name in LEAD_NAMES])
    if rate != ecg.rate or "resampled" in standard.flags:
        # Printed times leave the rate open by less than a sample; what that moves is no difference of samples.
        return "" if abs(standard.signal.shape[1] / truth.shape[1] * ecg.rate / rate - 1) < 0.02 else "length"
    return difference_of_samples(standard.signal.astype(np.float64), truth, 2 * writing.tolerance_mv)


def outcome_of(writing: Writing) -> str:
    """`"read"`, `"refused"`, or what differs from the truth."""
    try:
        record = read_ecg(writing.source, **writing.arguments)
    except (ValueError, TypeError):
        return "refused"
    difference = difference_of_record(writing, record)
    if difference:
        return difference
    rate = record.sampling_rate
    extractor = EcgFeatureExtractor(sampling_rate=round(rate or 400))
    try:
        standard = extractor.standardize(record.signal, rate, record.lead_names, record.unit, record.name)
    except (ValueError, TypeError):
        return "refused"
    if None in (record.unit, rate):
        return "guessed by the feature extractor"
    if record.lead_names is None and writing.ecg.names != LEAD_NAMES:
        return f"order: {writing.ecg.names} taken for the standard one"
    return difference_of_standard(writing, standard, rate) or "read"


def is_whole(writing: Writing) -> bool:
    """Whether nothing is missing from an ECG that is written in a usual way, and all that is stated is true."""
    return writing.outcome == "read" and writing.stated == set(FACTS) and not np.isnan(writing.ecg.leads).any()


def test_any_writing_is_read_rightly_or_refused(tmp_path):
    wrong, found_of_whole = [], Counter()
    for number in range(WRITINGS):
        writing = write(number, tmp_path / str(number))
        found = outcome_of(writing)
        if found not in ("read", "refused") or (writing.outcome, found) == ("refused", "read"):
            wrong.append(f"{number}: {found}: {writing.dialect}, the caller states {list(writing.arguments)}")
        if is_whole(writing):
            found_of_whole[found] += 1
    assert not wrong, "\n".join([f"{len(wrong)} of {WRITINGS}:", *wrong[:20]])
    assert found_of_whole.total() > WRITINGS / 2
    assert found_of_whole["read"] >= 0.95 * found_of_whole.total(), found_of_whole


MISREADINGS = {
    "another unit": lambda record: replace(record, unit="uV" if canonical_unit(record.unit) == "mV" else "mV"),
    "another rate": lambda record: replace(record, sampling_rate=1.01 * record.sampling_rate),
    "another order": lambda record: replace(record, lead_names=(*record.lead_names[1::-1], *record.lead_names[2:])),
    "another sign": lambda record: replace(record, signal=-record.signal.astype(np.float64)),
    "one sample late": lambda record: replace(
        record, signal=np.roll(record.signal, 1, axis=record.signal.shape.index(max(record.signal.shape)))
    ),
    "a sample lost": lambda record: replace(
        record, signal=record.signal[:, 1:] if record.signal.shape[0] < 13 else record.signal[1:]
    ),
    "half of it": lambda record: replace(record, signal=record.signal / 2),
}


@pytest.mark.parametrize("misreading", MISREADINGS)
def test_misreadings_are_seen(tmp_path, monkeypatch, misreading):
    """What is compared here tells a reader that errs from one that does not."""
    found = Counter()
    for number in range(60):
        writing = write(number, tmp_path / str(number))
        if is_whole(writing) and outcome_of(writing) == "read":
            misread = MISREADINGS[misreading](read_ecg(writing.source, **writing.arguments))
            with monkeypatch.context() as patched:
                patched.setattr(f"{__name__}.read_ecg", lambda source, record=misread, **facts: record)
                found[outcome_of(writing)] += 1
    assert found.total() > 20 and "read" not in found


def test_a_guess_is_seen():
    ecg = Ecg(np.ones((2, 9)), ("I", "II"), 400)
    writing = Writing(None, ecg, 0.1, frozenset(), "mV")
    record = EcgRecord(np.ones((2, 9)), None, None, None, "r")
    assert difference_of_record(writing, record) == ""
    for guess in ({"sampling_rate": 400}, {"lead_names": ("I", "II")}, {"unit": "mV"}):
        assert "guessed" in difference_of_record(writing, replace(record, **guess))
