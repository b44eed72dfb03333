"""Writes WFDB records as PhysioNet publishes them: format 16, and the MATLAB files of the CinC Challenges."""

import numpy as np
import scipy.io
import wfdb

from tests.simulated import simulated


LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def make_signal(seed, n_samples=5000):
    """Microvolts (12, n_samples), int16: I, II and V1 to V6 simulated, the others as I and II have it."""
    signal = np.rint(500 * simulated(seed, n_samples)).astype(int)
    one, two, chest = 2 * signal[0], 2 * signal[1], 2 * signal[6:]
    limbs = (one, two, two - one, -(one + two) // 2, one - two // 2, two - one // 2)
    return np.stack([*limbs, *chest]).astype(np.int16)


def write_record(folder, name, microvolts, leads=LEADS, fs=500, nan=None):
    """A record of format 16 in millivolts, 1000 steps to the millivolt; `nan` marks samples (leads, samples)."""
    folder.mkdir(parents=True, exist_ok=True)
    signal = microvolts.T / 1000
    if nan is not None:
        signal = np.where(nan.T, np.nan, signal)
    wfdb.wrsamp(
        name,
        fs=fs,
        units=["mV"] * len(leads),
        sig_name=list(leads),
        p_signal=signal,
        fmt=["16"] * len(leads),
        adc_gain=[1000.0] * len(leads),
        baseline=[0] * len(leads),
        write_dir=str(folder),
    )


def write_challenge_record(folder, name, microvolts, comments, fs=500, gain="1000/mV"):
    """A record of the CinC Challenges 2020 and 2021: a MATLAB 4 file with the matrix `val`, and a header on it."""
    folder.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(folder / f"{name}.mat", {"val": microvolts}, format="4")
    lines = [f"{name} 12 {fs} {microvolts.shape[1]} 05-Feb-2020 11:39:16"]
    for lead, signal in zip(LEADS, microvolts, strict=True):
        checksum = np.int64(signal.sum()).astype(np.int16)
        lines.append(f"{name}.mat 16+24 {gain} 16 0 {signal[0]} {checksum} 0 {lead}")
    (folder / f"{name}.hea").write_text("\n".join([*lines, *comments]) + "\n")
