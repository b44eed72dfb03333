"""Real files of recorders: where they are, what a heart's leads obey, and what a file says of a person."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.signal import find_peaks

from modeling_ecgclip.record_ecgclip import EcgRecord


def vendor_file(sample_data: Path, file_name: str) -> Path:
    """Path of a real file; the test skips where it is absent."""
    path = sample_data / "vendor" / file_name
    if not path.is_file():
        pytest.skip(f"real file not found: {path}")
    return path


def check_physiology(record: EcgRecord, limb_uv: float) -> None:
    """Asserts Einthoven's and Goldberger's equations, and amplitudes that hearts have."""
    leads = {name.upper(): signal for name, signal in zip(record.lead_names, record.signal, strict=True)}
    if "III" in leads:
        assert np.abs(leads["I"] + leads["III"] - leads["II"]).max() <= limb_uv
        assert np.abs(leads["AVR"] + leads["AVL"] + leads["AVF"]).max() <= max(15.0, limb_uv)
        assert np.abs(leads["AVL"] - (leads["I"] - leads["III"]) / 2).max() <= max(10.0, limb_uv)
    for signal in leads.values():
        assert 20 < np.percentile(np.abs(signal - np.median(signal)), 99) < 20_000


def heart_rate_of(record: EcgRecord) -> float:
    """Beats per minute, from the intervals between the steepest places of II and V5."""
    leads = {name.upper(): signal for name, signal in zip(record.lead_names, record.signal, strict=True)}
    steep = np.abs(np.gradient(leads["V5"])) + np.abs(np.gradient(leads["II"]))
    steep = np.convolve(steep, np.ones(40) / 40, "same")
    beats, _ = find_peaks(steep, height=0.4 * np.percentile(steep, 99.5), distance=int(0.3 * record.sampling_rate))
    return 60 * record.sampling_rate / float(np.mean(np.diff(beats)))


def private_texts_of_file(path: Path, *tags: str) -> set[str]:
    """Texts and attributes, of three characters or more, in all elements of these names."""
    texts = set()
    for element in ElementTree.parse(path).iter():
        if element.tag.rpartition("}")[2] in tags:
            for inner in element.iter():
                texts |= {text.strip() for text in (inner.text or "", *inner.attrib.values())}
    # What may be told: sex, units, codes of what kind of thing it is.
    told = {"Male", "True", "False", "Unknown", "ECG", "MDC"}
    return {text for text in texts if len(text) >= 3 and text not in told}
