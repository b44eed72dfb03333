"""Known ECGs as recorders write them, by the small writers of the readers' own tests."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.modeling_ecgclip import xml_writers
from tests.modeling_ecgclip.dicom_files import channel, group, write_dicom
from tests.modeling_ecgclip.recorder_files import (
    ISHNE_CODES,
    LEADS,
    SCP_CODES,
    edf_file,
    ishne_file,
    matlab4,
    mfer_file,
    scp_leads,
    scp_simple,
)
from tests.modeling_ecgclip.writings import EVEN_RATES, FACTS, ORDERS, Ecg, Pen, Writing, draw_ecg


MICROVOLTS = (1, 2.5, 4.88, 5)  # of one code
EIGHT = ("eight",)


def recorder(pen: Pen, folder: Path) -> Writing:
    """The file of any recorder."""
    kind = pen.one("recorder", tuple(_KINDS))
    suffix, orders, rates, write = _KINDS[kind]
    ecg = draw_ecg(pen, rates, orders, whole=True)
    step_uv = pen.one("microvolts of a code", MICROVOLTS)
    codes = (1000 * ecg.leads / step_uv).round().astype(np.int16)
    path = folder / f"ecg{suffix}"
    content = write(pen, ecg, codes, step_uv, path)
    if content is not None:
        path.write_bytes(content)
    stated = frozenset(FACTS) if kind != "matlab4" else frozenset()
    read_unit = pen.drawn["unit"] if kind in ("EDF", "DICOM") else None
    return Writing(path, ecg, step_uv / 2000, stated, "uV", read_unit=read_unit)


def _numbered(ecg: Ecg, numbers: tuple[int, ...]) -> list[int]:
    """The codes that a standard gives the leads."""
    return [numbers[LEADS.index(name)] for name in ecg.names]


def _scp(pen: Pen, ecg: Ecg, codes: np.ndarray, step_uv: float, path: Path) -> bytes:
    section = scp_leads([(1, codes.shape[1])] * len(codes), _numbered(ecg, SCP_CODES))
    table = pen.one("table", (b"\x1f\x4e", b""))
    order = pen.one("differences", (0, 1, 2))
    return scp_simple(codes, order, round(1000 * step_uv), round(1e6 / ecg.rate), table, s3=section)


def _dicom(pen: Pen, ecg: Ecg, codes: np.ndarray, step_uv: float, path: Path) -> None:
    unit = pen.one("unit", ("uV", "mV"))
    factor = pen.one("correction", ("1", "0.5"))
    sensitivity = step_uv / float(factor) / (1000 if unit == "mV" else 1)
    baseline = pen.one("baseline", (0, 40))
    options = {
        "ChannelSensitivity": f"{sensitivity:.10g}",
        "ChannelSensitivityCorrectionFactor": factor,
        # In units of the sensitivity: what is added to every sample.
        "ChannelBaseline": f"{baseline * sensitivity * float(factor):.10g}",
    }
    numbers = _numbered(ecg, SCP_CODES)
    channels = [channel(name, code, unit=unit, **options) for name, code in zip(ecg.names, numbers, strict=True)]
    syntax = pen.one("syntax", ("implicit", "explicit", "deflated"))
    write_dicom(path, [group((codes - baseline).astype(np.int16), ecg.rate, channels=channels)], syntax)


def _edf(pen: Pen, ecg: Ecg, codes: np.ndarray, step_uv: float, path: Path) -> bytes:
    unit = pen.one("unit", ("uV", "mV"))
    per_code = step_uv / (1000 if unit == "mV" else 1)
    prefix = pen.one("prefix", ("ECG ", "", "EKG "))
    digital = (-30000, 30000)
    physical = tuple(f"{limit * per_code:.6g}"[:8] for limit in digital)
    labels = [f"{prefix}{name}" for name in ecg.names]
    channels = [(label, unit, physical, digital, lead) for label, lead in zip(labels, codes, strict=True)]
    return edf_file(channels, [round(ecg.rate)] * len(codes))


def _ishne(pen: Pen, ecg: Ecg, codes: np.ndarray, step_uv: float, path: Path) -> bytes:
    return ishne_file(codes, round(ecg.rate), round(1000 * step_uv), _numbered(ecg, ISHNE_CODES))


def _mfer(pen: Pen, ecg: Ecg, codes: np.ndarray, step_uv: float, path: Path) -> bytes:
    interval = pen.one("interval", ((1, -6, round(1e6 / ecg.rate)), (0, 0, round(ecg.rate))))
    options = {"order": pen.one("byte order", "<>"), "blocks": pen.one("block", (None, round(ecg.rate)))}
    return mfer_file(codes, interval=interval, resolution=(0, -9, round(1000 * step_uv)), **options)


def _aecg(pen: Pen, ecg: Ecg, codes: np.ndarray, step_uv: float, path: Path) -> bytes:
    per_second = pen.one("time unit", ((1, "s"), (1e3, "ms"), (1e6, "us")))
    unit = pen.one("unit", ("uV", "mV"))
    factor = 1000 if unit == "mV" else 1
    shift = pen.one("origin", (0, 100))  # codes
    return xml_writers.aecg(
        codes - shift, ecg.names, f"{per_second[0] / ecg.rate:.10g}", per_second[1], f"{step_uv / factor:.10g}", unit,
        f"{shift * step_uv / factor:.10g}",
    )  # fmt: skip


def _muse(pen: Pen, ecg: Ecg, codes: np.ndarray, step_uv: float, path: Path) -> bytes:
    base, exponent = pen.one("exponent", ((ecg.rate, 0), (10 * ecg.rate, -1)))
    return xml_writers.muse(codes, ecg.names, base, exponent, f"{step_uv:g}")


def _cardiosoft(pen: Pen, ecg: Ecg, codes: np.ndarray, step_uv: float, path: Path) -> bytes:
    return xml_writers.cardiosoft(codes, ecg.names, ecg.rate, resolution=f"{step_uv:g}")


def _sierra(pen: Pen, ecg: Ecg, codes: np.ndarray, step_uv: float, path: Path) -> bytes:
    options = {"compression": pen.one("compression", (None, "XLI")), "encoding": "Base64"}
    if options["compression"] is None:
        options["encoding"] = pen.one("encoding", ("Base64", "Plain"))
    return xml_writers.sierra(
        codes, ecg.names, pen.one("version", ("1.03", "1.04")), rate=ecg.rate, resolution=f"{step_uv:g}", **options
    )


def _matlab4(pen: Pen, ecg: Ecg, codes: np.ndarray, step_uv: float, path: Path) -> bytes:
    microvolts = (codes * step_uv).astype(np.float64)
    return matlab4({"val": microvolts}, pen.one("type", (0, 10)), pen.one("byte order", "<>"))


_ANY = tuple(ORDERS)
# Ending, orders of leads and rates that the format has, and its writer.
_KINDS: dict[str, tuple[str, tuple[str, ...], tuple[float, ...], Callable]] = {
    "SCP-ECG": (".scp", _ANY, EVEN_RATES, _scp),
    "DICOM": (".dcm", _ANY, EVEN_RATES, _dicom),
    "EDF": (".edf", _ANY, (*EVEN_RATES, 257, 360, 977), _edf),
    "ISHNE": (".ecg", _ANY, (*EVEN_RATES, 257, 360, 977), _ishne),
    "MFER": (".mwf", ("standard",), EVEN_RATES, _mfer),
    "aECG": (".xml", _ANY, EVEN_RATES, _aecg),
    "MUSE": (".xml", EIGHT, EVEN_RATES, _muse),
    "CardioSoft": (".xml", _ANY, EVEN_RATES, _cardiosoft),
    "Sierra": (".xml", ("standard",), EVEN_RATES, _sierra),
    "matlab4": (".mat", _ANY, EVEN_RATES, _matlab4),
}
