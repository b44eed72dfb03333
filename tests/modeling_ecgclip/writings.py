"""Known ECGs, written down in any of the ways in which people and machines write them: what a reader is tried on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
import scipy.signal
import torch

from data_scripts.simulate.exam import simulate_exam
from modeling_ecgclip.leads_ecgclip import UNITS_PER_MV
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES, SAMPLING_RATE
from tests.modeling_ecgclip.wfdb_files import BITS, packed


SEED = 20261126
FACTS = ("sampling_rate", "lead_names", "unit")
RATES = (100, 128, 200, 240, 250, 257, 257.5, 360, 400, 500, 512, 600, 977, 1000)
# Rates whose interval is a whole number of microseconds, which some recorders state.
EVEN_RATES = (100, 200, 250, 400, 500, 1000)
N_EXAMS = 5
EIGHT_LEADS = (0, 1, 6, 7, 8, 9, 10, 11)
ORDERS = {
    "standard": tuple(range(12)),
    "chest first": (6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5),
    "aVL aVF aVR": (0, 1, 2, 4, 5, 3, 6, 7, 8, 9, 10, 11),
    "Cabrera": (4, 0, 3, 1, 5, 2, 6, 7, 8, 9, 10, 11),
    "eight": EIGHT_LEADS,
}
# How people call a unit, and a lead.
UNIT_SPELLINGS = {
    "mV": ("mV", "mv", "MV", "millivolt", "millivolts"),
    "uV": ("uV", "uv", "\u00b5V", "\u03bcV", "microvolts"),
    "V": ("V", "v", "volt", "Volts"),
}
SPELLINGS: dict[str, Callable[[str], str]] = {
    "standard": str,
    "upper": str.upper,
    "lower": str.lower,
    "D": lambda name: f"D{name}" if set(name) == {"I"} else name,
    "C": lambda name: name.replace("V", "C") if name[0] == "V" else name,
    "Lead": lambda name: f"Lead {name}",
    "ECG": lambda name: f"ECG_{name}",
    "MDC": lambda name: f"MDC_ECG_LEAD_{name.upper()}",
}


class Pen:
    """Draws how an ECG is written, and remembers what it drew."""

    def __init__(self, *seed: int):
        self.random = np.random.default_rng(seed)
        self.drawn: dict[str, Any] = {}

    def one(self, what: str, options: Sequence[Any]) -> Any:
        self.drawn[what] = options[int(self.random.integers(len(options)))]
        return self.drawn[what]

    def chance(self, what: str, share: float) -> bool:
        drawn = bool(self.random.random() < share)
        if drawn:
            self.drawn[what] = True
        return drawn


@dataclass(frozen=True)
class Ecg:
    """
    The truth.

    Args:
        leads (`np.ndarray` of shape `(leads, samples)`, float64): Millivolts, in the order in which they are written.
        names (`tuple[str, ...]`): Standard ones.
        rate (`float`): Hz.
    """

    leads: np.ndarray
    names: tuple[str, ...]
    rate: float


@dataclass(frozen=True)
class Writing:
    """
    One ECG, written in one way.

    Args:
        source: What `read_ecg` is given.
        ecg ([`Ecg`]): What it is.
        tolerance_mv (`float`): By how much a right answer may differ from the truth.
        stated (`frozenset[str]`): Which of `FACTS` the source or the caller states.
        unit (`str`): In which the samples are written, stated or not.
        read_unit (`str`, *optional*): Of the record that is read, where the reader gives another.
        outcome (`str`): `"read"` where all that is written is usual; `"refused"` where it contradicts itself or the
            caller, or is damaged; `"either"`, the truth or a refusal, for the rest.
        rate_slack (`float`): Relative, that printed times leave open.
        arguments (`dict`): What the caller states.
        dialect (`dict`): How it is written, for people.
    """

    source: Any
    ecg: Ecg
    tolerance_mv: float
    stated: frozenset[str]
    unit: str
    outcome: str = "read"
    rate_slack: float = 0.0
    read_unit: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    dialect: dict[str, Any] = field(default_factory=dict)


@cache
def samples_of(exam: int, rate: float) -> np.ndarray:
    """(12, samples) millivolts of six seconds of a simulated exam."""
    recorded = simulate_exam(SEED, exam).signal[:, : 6 * SAMPLING_RATE].astype(np.float64)
    if rate == SAMPLING_RATE:
        return recorded
    return scipy.signal.resample_poly(recorded, int(2 * rate), 2 * SAMPLING_RATE, axis=1, padtype="line")


def draw_ecg(
    pen: Pen, rates: Sequence[float] = RATES, orders: Sequence[str] = tuple(ORDERS), whole: bool = False
) -> Ecg:
    """An ECG of 2.5 to 5 seconds; of `whole` seconds where the format has it."""
    rate = pen.one("rate", rates)
    samples = samples_of(pen.one("exam", range(N_EXAMS)), rate)
    seconds = pen.one("seconds", (3, 4, 5) if whole else (2.5, 2.503, 3.1, 5))
    start = int(pen.random.integers(rate))
    # The standard order is the most frequent one.
    order = ORDERS[pen.one("order", (*["standard"] * len(orders), *orders))]
    leads = samples[list(order), start : start + round(rate * seconds)]
    return Ecg(np.ascontiguousarray(leads), tuple(LEAD_NAMES[at] for at in order), rate)


def spelled(
    pen: Pen, ecg: Ecg, named: bool = True, styles: Sequence[str] = tuple(SPELLINGS)
) -> tuple[list[str], np.ndarray]:
    """The leads' names as somebody spells them, and the millivolts below each: where `named`, -aVR is upside down."""
    spell = SPELLINGS[pen.one("spelling", styles)]
    names, signs = [spell(name) for name in ecg.names], np.ones((len(ecg.names), 1))
    if named and "aVR" in ecg.names and pen.chance("-aVR", 0.1):
        at = ecg.names.index("aVR")
        names[at], signs[at] = f"-{names[at]}", -1
    return names, ecg.leads * signs


def draw_stated(pen: Pen, unstated: float = 0.15) -> frozenset[str]:
    """Which facts are stated: most of the time all of them."""
    return frozenset(fact for fact in FACTS if not pen.chance(f"no {fact}", unstated))


def numbers(pen: Pen, mv: np.ndarray) -> tuple[np.ndarray, str, float]:
    """Samples as an array of some type, in some unit, which is named, with half of a step in millivolts."""
    dtype = np.dtype(pen.one("dtype", ("f2", "f4", "f4", "f8", ">f4", ">f8", "i2", "i4", "i8", ">i2", ">i4")))
    unit = pen.one("unit", ("mV", "uV", "V") if dtype.kind == "f" else ("uV",))
    values = mv * UNITS_PER_MV[unit]
    if dtype.kind == "i":
        return values.round().astype(dtype), unit, 0.5 / UNITS_PER_MV[unit]
    step = float(np.finfo(dtype).eps * np.abs(values).max() + np.finfo(dtype).smallest_subnormal)
    return values.astype(dtype), unit, step / UNITS_PER_MV[unit]


def laid_out(pen: Pen, array: np.ndarray) -> np.ndarray:
    """The same numbers with leads along either axis, in either order of memory."""
    layout = pen.one("layout", ("leads first", "samples first", "Fortran", "Fortran, samples first"))
    array = np.ascontiguousarray(array.T) if "samples" in layout else array
    return np.asfortranarray(array) if "Fortran" in layout else array


# --- Arrays of callers -----------------------------------------------------------------------------------------------


def in_memory(pen: Pen, folder: Path) -> Writing:
    """An array, a tensor, lists, or an exam-table row; what it is, a dictionary or the caller says."""
    ecg = draw_ecg(pen)
    stated = draw_stated(pen) if pen.chance("dictionary", 0.5) else frozenset()
    names, mv = spelled(pen, ecg, "lead_names" in stated)
    array, unit, step = numbers(pen, mv)
    kind = pen.one("container", ("array", "masked", "tensor", "bfloat16", "lists", "strided", "row"))
    if kind == "row":
        return _exam_row(ecg, names, mv)
    array = laid_out(pen, array)
    native = array.astype(array.dtype.newbyteorder("="))
    if kind == "masked":
        array = np.ma.MaskedArray(array, mask=np.zeros(array.shape, bool))
    elif kind == "tensor":
        array = torch.from_numpy(native)
    elif kind == "bfloat16" and native.dtype.kind == "f":
        array = torch.from_numpy(native.astype(np.float32)).to(torch.bfloat16)
        step = float(np.abs(mv).max()) * 2.0**-8
    elif kind == "lists":
        array = native.tolist()
    elif kind == "strided":
        array = np.repeat(array, 2, axis=1)[:, ::2]
    facts = {"sampling_rate": ecg.rate, "lead_names": names, "unit": _spelling_of_unit(pen, unit)}
    if kind == "lists" or stated:
        array = {"ecg": array, **{fact: facts[fact] for fact in stated}}
    return Writing(array, ecg, step, stated, unit)


def _exam_row(ecg: Ecg, names: list[str], mv: np.ndarray) -> Writing:
    """Whole microvolts between zeros, which belong to the row and not to the recording."""
    microvolts = np.pad((1000 * mv).round().astype(np.int16), ((0, 0), (7, 8)))
    row = {"ecg": microvolts.ravel(), "n_samples": mv.shape[1], "lead_names": names, "sampling_rate": ecg.rate}
    return Writing(row, ecg, 0.0005, frozenset(FACTS), "uV")


def _spelling_of_unit(pen: Pen, unit: str) -> str:
    return pen.one("unit's spelling", UNIT_SPELLINGS[unit])


# --- numpy -----------------------------------------------------------------------------------------------------------


def npy(pen: Pen, folder: Path) -> Writing:
    ecg = draw_ecg(pen)
    array, unit, step = numbers(pen, ecg.leads)
    np.save(folder / "ecg.npy", laid_out(pen, array))
    return Writing(folder / "ecg.npy", ecg, step, frozenset(), unit)


RATE_KEYS = ("sampling_rate", "fs", "Fs", "sfreq", "sample_rate", "sampling_frequency", "hz", "rate", "fs_hz", "SR")
UNIT_KEYS = ("unit", "units", "ecg_unit", "Units", "signal_units")
LEAD_KEYS = ("lead_names", "leads", "channels", "sig_name", "ch_names", "Lead_Names", "columns")
SIGNAL_KEYS = ("ecg", "ECG", "signal", "p_signal", "data", "x", "anything")
# What may lie beside a signal, and change what it means.
OTHER_KEYS = {"gain": 200.0, "adc_gain": [1000.0] * 12, "dt": 0.002, "period_ms": 2, "mask": [1, 0], "patient": "p7",
              "scale": 0.001, "hr": 61, "sampling_rate_khz": 0.5, "offset": 3}  # fmt: skip


def npz(pen: Pen, folder: Path) -> Writing:
    ecg, stated = draw_ecg(pen), draw_stated(pen)
    names, mv = spelled(pen, ecg, "lead_names" in stated)
    array, unit, step = numbers(pen, mv)
    spelling = _spelling_of_unit(pen, unit)
    one = pen.one("form of one value", (lambda value: value, np.array, lambda value: np.array([value])))
    texts = pen.one("form of texts", (list, np.array, lambda values: np.array([v.encode() for v in values])))
    values = {
        "sampling_rate": one(ecg.rate),
        "unit": pen.one("units", (one(spelling), texts([spelling] * len(names)))),
        "lead_names": texts(names),
    }
    keys = {"sampling_rate": RATE_KEYS, "unit": UNIT_KEYS, "lead_names": LEAD_KEYS}
    members = {pen.one(f"key of {fact}", keys[fact]): values[fact] for fact in stated}
    outcome = "read"
    if pen.chance("text for a rate", 0.03) and "sampling_rate" in stated:
        members[pen.drawn["key of sampling_rate"]], outcome = f"{ecg.rate} Hz", "either"
    if pen.chance("other member", 0.1):
        key = pen.one("other key", tuple(OTHER_KEYS))
        members[key], outcome = OTHER_KEYS[key], "either"
    if pen.chance("two rates", 0.04) and "sampling_rate" in stated:
        members |= {"f_sample": 1} if "freq" in members else {"freq": 2 * ecg.rate}
        outcome = "refused"
    save = pen.one("save", (np.savez, np.savez_compressed))
    save(folder / "ecg.npz", **{pen.one("key", SIGNAL_KEYS): laid_out(pen, array)}, **members)
    return Writing(folder / "ecg.npz", ecg, step, stated, unit, outcome)


# --- HDF5 and MATLAB -------------------------------------------------------------------------------------------------


def hdf5(pen: Pen, folder: Path) -> Writing:
    """In the layout of CODE-15%: 400 Hz, the standard order, twice the millivolts between zeros."""
    ecg = draw_ecg(pen, (SAMPLING_RATE,), ("standard",))
    ecg = replace(ecg, leads=ecg.leads[:, : ecg.leads.shape[1] // 2 * 2])  # as many zeros on either side
    left = (4096 - ecg.leads.shape[1]) // 2
    tracings = np.zeros((2, 4096, 12), np.float32)
    tracings[1, left : left + ecg.leads.shape[1]] = 2 * ecg.leads.T
    with h5py.File(folder / "ecg.hdf5", "w") as file:
        file["exam_id"] = np.array([12, 7])
        file.create_dataset("tracings", data=tracings, compression=pen.one("compression", (None, "gzip")))
    source = {"path": folder / "ecg.hdf5", "exam_id": 7}
    return Writing(source, ecg, 1e-6, frozenset(FACTS), "mV")


def matlab(pen: Pen, folder: Path) -> Writing:
    ecg, stated = draw_ecg(pen), draw_stated(pen)
    names, mv = spelled(pen, ecg, "lead_names" in stated)
    array, unit, step = numbers(pen, mv)
    array = array.astype(np.float32) if array.dtype.itemsize == 2 and array.dtype.kind == "f" else array
    values = {
        "sampling_rate": ecg.rate,
        "unit": _spelling_of_unit(pen, unit),
        "lead_names": pen.one("texts", (np.array(names, dtype=object), np.array(names))),
    }
    keys = {
        "sampling_rate": ("sampling_rate", "fs", "Fs", "sfreq"),
        "unit": ("unit", "units"),
        "lead_names": ("lead_names", "leads", "channels"),
    }
    members = {pen.one(f"key of {fact}", keys[fact]): values[fact] for fact in stated}
    signal = {pen.one("key", ("val", "ecg", "ECG", "signal")): array.astype(array.dtype.newbyteorder("="))}
    scipy.io.savemat(folder / "ecg.mat", signal | members, do_compression=pen.chance("compressed", 0.5))
    # Letters beyond ASCII are written as scipy does, which others do otherwise.
    outcome = "read" if values["unit"].isascii() else "either"
    return Writing(folder / "ecg.mat", ecg, step, stated, unit, outcome)


# --- WFDB ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Channels:
    """Channels of one signal file: header lines that await their file's name, steps, and half a step in millivolts."""

    lines: list[str]
    steps: np.ndarray
    tolerance_mv: float


def wfdb(pen: Pen, folder: Path) -> Writing:
    ecg, stated = draw_ecg(pen), draw_stated(pen, 0.07)
    names, mv = spelled(pen, ecg, "lead_names" in stated)
    names = names if "lead_names" in stated else [""] * len(names)
    unit = pen.one("unit", ("mV", "mV", "uV", "V")) if "unit" in stated else "uV"
    outcome = "read"
    parts = [slice(0, 3), slice(3, None)] if pen.chance("two files", 0.2) else [slice(None)]
    lines, tolerance = [], 0.0
    for number, part in enumerate(parts):
        fmt = pen.one(f"format of file {number}", (16, 16, 212, 212, 24, 32, 61, 80, 160, 310, 311))
        channels = _channels(pen, names[part], mv[part], fmt, unit, "unit" in stated)
        if number == len(parts) - 1 and "lead_names" in stated and pen.chance("other channel", 0.15):
            channels = _with_another(pen, channels, fmt)
        offset = int(pen.one("offset", (0, 0, 0, 24)))
        content = bytes(offset) + packed(channels.steps.T, fmt)
        (folder / f"ecg{number}.dat").write_bytes(content)
        title = f"ecg{number}.dat {fmt}" + (f"+{offset}" if offset else "")
        lines += [f"{title} {line}" for line in channels.lines]
        tolerance = max(tolerance, channels.tolerance_mv)
    if pen.chance("wrong checksum", 0.04):
        at = int(pen.random.integers(len(ecg.names)))
        lines[at], outcome = _wrong_checksum(lines[at]), "refused"
    rate = f" {ecg.rate}{pen.one('counter', ('', '', '/1'))}" if "sampling_rate" in stated else ""
    length = f" {mv.shape[1]}{pen.one('date', ('', ' 10:11:12', ' 10:11:12 29/02/2001'))}" if rate else ""
    comments = pen.one("comments", ("", "# Age: 61\n# Dx: 426783006\n"))
    encoding = pen.one("encoding", ("utf-8", "latin-1" if "\u03bc" not in "".join(lines) else "utf-8"))
    end = pen.one("line end", ("\n", "\r\n"))
    text = "\n".join([f"ecg {len(lines)}{rate}{length}", *lines, comments]).replace("\n", end)
    (folder / "ecg.hea").write_bytes(text.encode(encoding))
    source = folder / f"ecg{pen.one('ending', ('', '.hea'))}"
    return Writing(source, ecg, tolerance, stated, unit, outcome)


def _channels(pen: Pen, names: list[str], mv: np.ndarray, fmt: int, unit: str, calibrated: bool) -> _Channels:
    """Steps of some leads, in one format; each lead has a gain of its own."""
    baseline = int(pen.one("baseline", (0, 0, 5, -11)))
    written = pen.one("gain's unit", (*UNIT_SPELLINGS[unit], *([""] if unit == "mV" else ()))).replace(" ", "")
    has_sums = pen.one("sums", ("right", "right", "zeros"))
    per_mv = UNITS_PER_MV[unit]
    lines, steps, tolerance = [], [], 0.0
    for name, lead in zip(names, mv, strict=True):
        peak = float(np.abs(lead).max() * per_mv) or 1.0
        most = (2 ** (min(BITS[fmt], 24) - 1) - 20) / peak
        gain = float(f"{min(float(pen.one('steps in a mV', (200, 1000, 4880))) / per_mv, 0.99 * most):.3g}")
        gain = gain if calibrated else 1.0
        sign = -1 if calibrated and pen.chance("negative gain", 0.03) else 1
        codes = (sign * gain * per_mv * lead).round().astype(np.int64) + baseline
        if not calibrated:
            codes = np.clip(codes, -(2 ** (BITS[fmt] - 1)) + 1, 2 ** (BITS[fmt] - 1) - 1)
        tolerance = max(tolerance, 0.5 / gain / per_mv if calibrated else float(
            np.abs((codes - baseline) / per_mv - lead).max()))  # fmt: skip
        stated_gain = f"{sign * gain:.10g}" if calibrated else "0"
        unit_of_gain = f"/{written}" if written else ""
        first, checksum = (int(codes[0]), int(codes.sum() % 2**16)) if has_sums == "right" else (0, 0)
        lines.append(f"{stated_gain}({baseline}){unit_of_gain} {BITS[fmt]} 0 {first} {checksum} 0 {name}".strip())
        steps.append(codes)
    return _Channels(lines, np.array(steps), tolerance)


def _with_another(pen: Pen, channels: _Channels, fmt: int) -> _Channels:
    """A channel that is no standard lead, in some place between the others."""
    gain, name = pen.one("channel", (("100(0)/NU", "RESP"), ("100/mV", "vx"), ("50/mV", "V7"), ("0", "x")))
    line = f"{gain} 8 0 0 0 0 {name}"
    at = int(pen.random.integers(len(channels.lines) + 1))
    lines = [*channels.lines[:at], line, *channels.lines[at:]]
    other = pen.random.integers(-9, 9, channels.steps.shape[1])
    return replace(channels, lines=lines, steps=np.insert(channels.steps, at, other, axis=0))


def _wrong_checksum(line: str) -> str:
    """Another sum than that of the samples; one that is no zero, which states nothing."""
    fields = line.split(" ")
    fields[6] = str((int(fields[6]) + 4321) % 2**16 or 1)
    return " ".join(fields)


# --- What the caller states ------------------------------------------------------------------------------------------


def with_caller(pen: Pen, writing: Writing) -> Writing:
    """The same writing, whose reader is told what it does not state, what it states, or something else."""
    unit = writing.read_unit or writing.unit
    truth = {"sampling_rate": writing.ecg.rate, "unit": unit, "lead_names": list(writing.ecg.names)}
    upside_down = bool(pen.drawn.get("-aVR"))
    arguments: dict[str, Any] = {}
    outcome = writing.outcome
    for fact in FACTS:
        if fact == "lead_names" and upside_down:
            continue
        if fact not in writing.stated:
            if pen.chance(f"caller states {fact}", 0.6):
                arguments[fact] = truth[fact]
        elif pen.chance(f"caller agrees on {fact}", 0.05):
            arguments[fact] = truth[fact]
        elif writing.outcome == "read" and pen.chance(f"caller contradicts {fact}", 0.02):
            arguments[fact] = _another(fact, truth[fact])
            outcome = "refused"
    return replace(
        writing,
        arguments=arguments,
        stated=writing.stated | set(arguments),
        outcome=outcome,
        dialect=dict(pen.drawn),
    )


def _another(fact: str, truth: Any) -> Any:
    """Something else than the truth."""
    if fact == "sampling_rate":
        return 2 * truth
    if fact == "unit":
        return "uV" if truth == "mV" else "mV"
    return [truth[1], truth[0], *truth[2:]]
