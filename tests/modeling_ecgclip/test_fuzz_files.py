"""Malformed and hostile files through the classification pipeline: each is refused by name, or answered, in time."""

import io
import os
import pickle
import struct
import warnings
import zipfile
import zlib
from collections import Counter

import h5py
import numpy as np
import pytest
import torch
import wfdb

from modeling_ecgclip import EcgClassificationPipeline, EcgFeatureExtractor, EcgResNetForSignalClassification
from modeling_ecgclip.configuration_ecgclip import EcgResNetConfig
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES
from tests.modeling_ecgclip.fuzzing import is_classification, mutate, time_limit
from tests.simulated import simulated


SEED = 20260501
MUTATIONS_PER_FILE = 18
NAMED_ERRORS = (ValueError, TypeError, FileNotFoundError)
# Each hostile idea is refused for what it is, and not by a lucky accident before.
REASONS = (
    "pickled objects, which are never loaded",
    "bytes unpacked: found 200,000,077",
    "members or more",
    "found a file of 500,000,000 bytes",
    "at most 6,000,000 values: found 12,000,000,000",
    "begin with the name of a file beside the header and a format: found '../../etc/passwd",
    "found a link, which is not followed",
    "found values of another file, not followed",
    "a chunk unpacks to more than its",
    "table of at most 2,000,000 cells",
    "found another encoding",
    "finite samples; found NaN",
)
WFDB_LINE = "ok.dat 16 1000(0)/mV 16 0 0 0 0 {}"


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    config = EcgResNetConfig.from_preset("tiny", thresholds=(0.5,) * 6)
    model = EcgResNetForSignalClassification(config).eval()
    return EcgClassificationPipeline(model=model, feature_extractor=EcgFeatureExtractor())


@pytest.fixture(scope="module")
def ecg():
    """(12, 1000) whole microvolts."""
    return np.rint(1000 * simulated(0, 1000)).astype(np.int16)


@pytest.fixture(scope="module")
def witness(tmp_path_factory):
    """A file that a pickle would make, were it opened."""
    return tmp_path_factory.mktemp("witness") / "opened"


def valid_files(folder, ecg):
    """One file of each kind, and the arguments with which it is read."""
    folder.mkdir(exist_ok=True)
    mv = ecg / 1000.0
    np.save(folder / "a.npy", mv.astype(np.float32))
    np.savez(folder / "stored.npz", ecg=mv, sampling_rate=500, unit="mV", lead_names=list(LEAD_NAMES))
    np.savez_compressed(folder / "deflated.npz", ecg=mv, sampling_rate=500, unit="mV")
    rows = [",".join(LEAD_NAMES)] + [",".join(f"{value:.3f}" for value in row) for row in mv.T]
    (folder / "comma.csv").write_text("\n".join(rows))
    (folder / "semicolon.csv").write_text("\n".join(rows).replace(",", ";"))
    timed = ["Recorder: x", "Time [ms];" + ";".join(f"{name} (mV)" for name in LEAD_NAMES)]
    timed += [f"{2 * i};" + ";".join(f"{value:.3f}".replace(".", ",") for value in row) for i, row in enumerate(mv.T)]
    (folder / "timed.csv").write_text("\n".join(timed))
    (folder / "ok_twice.hea").write_text("ok_twice/2 12 500 2000 1.1.2000\nok 1000\nok 1000\n")
    wfdb.wrsamp(
        "ok", 500, ["mV"] * 12, list(LEAD_NAMES), mv.T, fmt=["16"] * 12, adc_gain=[1000.0] * 12, baseline=[0] * 12,
        write_dir=str(folder),
    )  # fmt: skip
    tracings = np.zeros((3, 4096, 12), np.float32)
    tracings[:, 1000:2000] = mv.T
    for name, options in (("plain.hdf5", {}), ("gzip.h5", {"compression": "gzip", "shuffle": True})):
        with h5py.File(folder / name, "w") as file:
            file["exam_id"] = np.array([12, 7, 30])
            file.create_dataset("tracings", data=tracings, **options)
    stated = {"sampling_rate": 500, "unit": "mV"}
    return {
        "a.npy": stated, "stored.npz": {}, "deflated.npz": {}, "comma.csv": stated, "semicolon.csv": stated,
        "timed.csv": {}, "ok.hea": {}, "ok.dat": {}, "ok_twice.hea": {},
        "plain.hdf5": {"exam_id": 7}, "gzip.h5": {"exam_id": 7},
    }  # fmt: skip


def npy_header(descr, shape, extra=b"", version=b"\x01\x00"):
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
    return b"\x93NUMPY" + version + length + text + extra


def zip_of(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def hostile_headers():
    """WFDB headers beside a good `ok.dat`."""
    lines = [WFDB_LINE.format(name) for name in LEAD_NAMES]

    def header(first="x 12 500 1000", line=None, count=12):
        return "\n".join([first, *([line, *lines[1:]] if line else lines)[:count]])

    elsewhere = [
        "../../etc/passwd",
        "/etc/passwd",
        "..\\..\\etc\\passwd",
        "http://127.0.0.1/ok.dat",
        "s3://bucket/ok.dat",
    ]
    elsewhere += ["file:///etc/passwd", "memory://ok.dat", "simplecache::http://127.0.0.1/ok.dat", "~", "-", "..", "."]
    elsewhere += ["ok.dat/../../x", "\x80../ok.dat", "sub/ok.dat"]
    for name in elsewhere:
        yield header(line=f"{name} 16 1000/mV 16 0 0 0 0 I")
    firsts = [
        "x 12 500 1000000000",
        "x 12 500 99999999999999999999",
        "x 1000000000 500 1000",
        "x 0 500 1000",
        "x 12 0 1000",
    ]
    firsts += ["x 12 1e9 1000", "x 12 0.0000001 1000", "x 12 500 -5", "x/3 12 500 1000", "x/9999999 12 500 0", "", "x"]
    firsts += [
        "x twelve 500 1000",
        "../x 12 500 1000",
        "x" * 100_000,
        "9" * 5000 + " 12",
    ]
    firsts += ["x 11 500 1000", "x 12 10000 1000000000", "x 12 499.99999999 1000x", "x 12 500 2000"]
    for first in firsts:
        yield header(first=first)
    formats = [
        "17",
        "16x1000000000",
        "16:1000000000",
        "16+1000000000000",
        "508",
        "524",
        "0",
        "99999",
        "16x0",
        "212",
        "8",
    ]
    for fmt in formats:
        yield header(line=f"ok.dat {fmt} 1000/mV 16 0 0 0 0 I")
    for tail in (
        "1000/pm 16 0 0 0 0 I",
        "1e999/mV 16 0 0 0 0 I",
        "1000(99999999999999999999)/mV",
        "0.0000000001/mV",
        "",
    ):
        yield header(line=f"ok.dat 16 {tail}")
    yield header(line="absent.dat 16 1000/mV 16 0 0 0 0 I")
    yield header(count=3)
    yield "#" * 1_000_000
    yield "\x00" * 5000


def hostile_arrays(witness):
    """Contents of `.npy` and `.npz` files."""

    class Opens:
        def __reduce__(self):
            return open, (str(witness), "w")

    objects = io.BytesIO()
    np.save(objects, np.array([Opens()] * 12, dtype=object), allow_pickle=True)
    pickled = [pickle.dumps(Opens(), protocol=protocol) for protocol in (0, 2, 4)]
    torch_file = io.BytesIO()
    torch.save({"ecg": torch.ones(12, 100)}, torch_file)
    claims = [
        ("<f8", "(12, 1000000000)"),
        ("<f8", "(99999999999, 99999999999)"),
        ("<f8", "(-1, -12)"),
        ("<f8", "(12, 1000)"),
    ]
    claims += [
        ("|O", "(12,)"),
        ("<U1000000000", "(12,)"),
        ("<c16", "(12, 2)"),
        ("<M8[s]", "(12, 2)"),
        ("|V8", "(12, 2)"),
    ]
    claims += [
        ("<f8", "()"),
        ("<f8", "(0, 12)"),
        ("<f8", "(12, 0)"),
        ("|b1", "(12, 2)"),
        ("<U0", "(12, 2)"),
        ("?!", "(12,)"),
    ]
    bodies = [npy_header(descr, shape, bytes(4000)) for descr, shape in claims]
    bodies += [
        npy_header("<f8", "(" * 3000 + ")" * 3000),
        npy_header("<f8", "-" * 9000 + "1"),
        npy_header("<f8", "(1,)" * 10_000),
    ]
    bodies += [npy_header("<f8", "__import__('os').system('true')"), npy_header([("a", "<f8"), ("b", "|O")], "(12,)")]
    bodies += [npy_header("<f8", "(12, 2)", bytes(400), b"\x03\x00"), npy_header("<f8", "(12, 2)", b"", b"\x09\x00")]
    bodies += [
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
        b"\x93NUMPY",
        *pickled,
        torch_file.getvalue(),
        objects.getvalue(),
    ]
    yield from ((".npy", body) for body in bodies)
    bomb = npy_header("<f8", "(12, 40000000)") + bytes(200_000_000)
    archives = [
        zip_of({"ecg.npy": bomb}, zipfile.ZIP_DEFLATED),
        zip_of({"ecg.npy": objects.getvalue()}),
    ]
    archives += [zip_of({f"a{i}.npy": b"" for i in range(3000)}), zip_of({"../../ecg.npy": bodies[0]}), zip_of({})]
    archives += [zip_of({"ecg.npy": body}) for body in bodies[:6]]
    archives += [
        zip_of({"ecg.npy": bodies[3]}, zipfile.ZIP_LZMA),
        zip_of({"ecg.txt": b"1,2"}),
        b"PK\x05\x06" + bytes(18),
    ]
    archives += [*pickled, zip_of({"data.pkl": pickled[1]}), torch_file.getvalue(), b"PK\x05\x06" + b"\xff" * 18]
    lying = bytearray(zip_of({"ecg.npy": bomb[:2_000_000]}, zipfile.ZIP_DEFLATED))
    at = lying.rfind(b"PK\x01\x02")
    lying[at + 24 : at + 28] = struct.pack("<I", 200)  # the directory states less than unpacks
    encrypted = bytearray(zip_of({"ecg.npy": bodies[3]}))
    encrypted[6] |= 1
    encrypted[encrypted.rfind(b"PK\x01\x02") + 8] |= 1
    yield from ((".npz", bytes(body)) for body in [*archives, lying, encrypted])


def hostile_tables():
    """Contents of `.csv` files."""
    row = b",".join([b"0.1"] * 12) + b"\n"
    names = b",".join(name.encode() for name in LEAD_NAMES)
    yield from (
        b"", b"\n\n\n", b"\x00" * 5000, bytes(range(256)) * 20, "ção,I,II\n1,2,3".encode("latin-1"), b"\xff\xfe" + row,
        (row * 10).decode().encode("utf-16"), b"\xef\xbb\xbf", b"1_0,1__0\n", b"0x10,1\n", b"I,I\n1,2\n3,4\n",
        b"1," * 1_000_000, b"1," * 400_000 + b"1\n", b"9" * 3_000_000, b'"' * 100_000, b'"' + row * 30_000,
        row * 400_000, b"I," * 500 + b"I\n" + b"1," * 500 + b"1\n", b"X" * 200_000 + b",I\n1,2\n",
        b"nan," * 11 + b"nan\n", row,
        row * 500, (b"nan," * 11 + b"nan\n") * 500, (b"inf," * 11 + b"inf\n") * 500,
        (b"1e308," * 11 + b"1e308\n") * 500,
        b"time_s,I\n1,2\n1,2\n", b"time_s," + names + b"\n" + b"1," * 12 + b"1\n", names + b"\n" + row + b"x" + row,
        b"time_s," + names + b"\n" + b"0," + row + b"1e-9," + row, names.replace(b"V6", b"V7") + b"\n" + row * 9,
        b"<html><body>,</body></html>\n", b"{\"ecg\": [[1, 2], [3, 4]]}", row + b"1,2\n", b"=cmd|' /C calc'!A0," + row,
        pickle.dumps([1, 2, 3], protocol=0), pickle.dumps([1, 2, 3], protocol=4), names,
        names + b"\n" + b"," * 11 + b"\n",
    )  # fmt: skip


def claims(shape, dtype="f4", **options):
    """Writes tracings that state a shape, a type or filters."""

    def write(file):
        file["exam_id"] = np.array([7])
        file.create_dataset("tracings", shape, dtype, **options)

    return write


def ids(values, shape=None, **options):
    """Writes exam ids beside good tracings."""

    def write(file):
        file.create_dataset("exam_id", shape, data=values, **options)
        file["tracings"] = np.ones((3, 100, 12), np.float32)

    return write


def hdf5_writers(outside):
    """Functions that fill an HDF5 file; `outside` is a good one, in another folder."""

    def links_out(file):
        file["exam_id"] = h5py.ExternalLink(str(outside), "/exam_id")
        file["tracings"] = h5py.ExternalLink(str(outside), "/tracings")

    def soft_links(file):
        file["other"] = h5py.ExternalLink("/etc/passwd", "/")
        file["exam_id"], file["tracings"] = h5py.SoftLink("/other/exam_id"), h5py.SoftLink("/tracings")

    def virtual(file):
        file["exam_id"] = np.array([7])
        layout = h5py.VirtualLayout((3, 4096, 12), "f4")
        layout[:] = h5py.VirtualSource(str(outside), "tracings", (3, 4096, 12))
        file.create_virtual_dataset("tracings", layout)

    def raw_file(file):
        file["exam_id"] = np.array([7])
        file.create_dataset("tracings", (1, 100, 12), "f4", external=[("/etc/passwd", 0, 4800)])

    def bomb(file):
        file["exam_id"] = np.array([7])
        dataset = file.create_dataset("tracings", (1, 4096, 12), "f4", chunks=(1, 4096, 12), compression="gzip")
        dataset.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(300_000_000), 9))

    def groups(file):
        file.create_group("exam_id")
        file.create_group("tracings")

    return [
        links_out,
        soft_links,
        virtual,
        raw_file,
        bomb,
        groups,
        claims((1, 10**9, 12)),
        claims((10**9, 10**6, 12)),
        claims((1, 4096, 12), chunks=(1, 1, 1)),
        claims((1, 400_000, 12), chunks=(1, 400_000, 12)),
        claims((1, 12)),
        claims((1, 100, 12), "S10"),
        claims((1, 100, 12), h5py.string_dtype()),
        claims((1, 100, 12), [("a", "f4")]),
        claims((200, 40_000, 12), chunks=(200, 40_000, 12), compression="gzip"),
        claims((0, 100, 12)),
        claims(None, data=3),
        claims((1, 100, 12), compression="lzf"),
        claims((1, 100, 12), h5py.ref_dtype),
        claims((1, 100, 12), "f4"),
        ids(np.zeros(3)),
        ids([7, 7, 7]),
        ids(["a", "b"]),
        ids(np.array([b"\xff" * 9] * 3)),
        ids(7),
        ids([[7]]),
        ids(None, (10**10,), dtype="i8"),
        ids(np.arange(8, 11)),
        ids(None, (2_000_000,), dtype="S1000"),
        ids([5, 6, 8, 9, 7]),
    ]


def hostile_hdf5(folder, outside):
    """HDF5 files and the arguments with which they are read."""
    for i, write in enumerate(hdf5_writers(outside)):
        path = folder / f"hostile{i}.hdf5"
        with h5py.File(path, "w") as file:
            write(file)
        yield path, {"exam_id": 7}
    for i, content in enumerate((b"", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + b"\xff" * 5000, pickle.dumps([1]))):
        path = folder / f"noise{i}.h5"
        path.write_bytes(content)
        yield path, {"exam_id": 7}


def hostile_paths(folder):
    """Paths that are no good file at all."""
    for ending in (".npy", ".npz", ".csv", ".hdf5", ".hea", ".pkl"):
        path = folder / f"sparse{ending}"
        with path.open("wb") as file:
            file.truncate(500_000_000)
        yield path, {"exam_id": 7} if ending == ".hdf5" else {}
    (folder / "big.hea").write_text("big 1 500 1000\nbig.dat 16 1000/mV 16 0 0 0 0 I\n")
    (folder / "big.dat").symlink_to(folder / "sparse.npy")
    os.mkfifo(folder / "pipe.npy")
    (folder / "endless.csv").symlink_to("/dev/zero")
    (folder / "loop.npy").symlink_to(folder / "loop.npy")
    (folder / "folder.npy").mkdir()
    for name in ("weights.pt", "model.joblib", "a.pickle", "a.exe", "a.mat", "a.npy.gz", "a"):
        (folder / name).write_bytes(pickle.dumps({"ecg": 1}))
    names = [
        "big",
        "pipe.npy",
        "endless.csv",
        "loop.npy",
        "folder.npy",
        "weights.pt",
        "model.joblib",
        "a.pickle",
        "a.exe",
    ]
    names += [
        "a.mat",
        "a.npy.gz",
        "a",
        "absent.npy",
        "nul\x00.npy",
        "x" * 5000 + ".npy",
        "../../../../../../etc/passwd",
    ]
    for name in names:
        yield folder / name, {}
    yield "http://127.0.0.1/ecg.npy", {}
    yield "", {}


def hostile_files(folder, ecg, witness):
    """Everything that was made by hand: each must be refused."""
    outside = folder / "outside"
    valid_files(outside, ecg)
    for i, header in enumerate(hostile_headers()):
        case = folder / f"wfdb{i}"
        case.mkdir()
        (case / "ok.dat").write_bytes((outside / "ok.dat").read_bytes())
        (case / "x.hea").write_bytes(header.encode("latin-1"))
        yield case / "x", {}
    contents = [*hostile_arrays(witness), *((".csv", content) for content in hostile_tables())]
    for i, (ending, content) in enumerate(contents):
        path = folder / f"hostile{i}{ending}"
        path.write_bytes(content)
        yield path, {"sampling_rate": 500, "unit": "mV"}
    yield from hostile_hdf5(folder, outside / "plain.hdf5")
    yield from hostile_paths(folder)


def run(classifier, path, arguments):
    """The pipeline's answer, or its error; nothing else may come out."""
    with time_limit(str(path)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return classifier(str(path), **arguments)
        except NAMED_ERRORS as error:
            return error


def assert_named(error, path):
    """An error of ours names the file, and says more than its name."""
    name = os.path.basename(str(path))[:20].split(".")[0]
    assert name in str(error), (path, error)
    assert len(str(error)) > len(str(path)) + 10 or len(str(path)) > 1000, error
    assert len(str(error)) < 5000 + len(str(path)), path


def test_hostile_files_are_refused(classifier, ecg, witness, tmp_path):
    refused = Counter()
    messages = []
    for path, arguments in hostile_files(tmp_path, ecg, witness):
        outcome = run(classifier, path, arguments)
        assert isinstance(outcome, NAMED_ERRORS), (path, outcome)
        assert_named(outcome, path)
        messages.append(str(outcome))
        refused[os.path.splitext(str(path))[1]] += 1
    assert sum(refused.values()) >= 200
    for ending in ("", ".npy", ".npz", ".csv", ".hdf5"):
        assert refused[ending] >= 15, refused
    for reason in REASONS:
        assert any(reason in message for message in messages), reason
    assert not witness.exists(), "a pickle was opened"


def test_damaged_files_are_refused_or_answered(classifier, ecg, tmp_path):
    generator = np.random.default_rng(SEED)
    outcomes = Counter()
    valid = valid_files(tmp_path / "valid", ecg)
    for name, arguments in valid.items():
        assert is_classification(run(classifier, tmp_path / "valid" / name, arguments), 6), name
        content = (tmp_path / "valid" / name).read_bytes()
        for i in range(MUTATIONS_PER_FILE):
            case = tmp_path / f"{name}-{i}"
            case.mkdir()
            for partner in ("ok.hea", "ok.dat") if name.startswith("ok") else ():
                (case / partner).write_bytes((tmp_path / "valid" / partner).read_bytes())
            (case / name).write_bytes(mutate(content, generator))
            outcome = run(classifier, case / name, arguments)
            if isinstance(outcome, Exception):
                assert_named(outcome, case / name)
                outcomes["refused"] += 1
            else:
                assert is_classification(outcome, 6), (case, outcome)
                outcomes["answered"] += 1
    assert outcomes.total() == MUTATIONS_PER_FILE * len(valid)
    assert outcomes["refused"] >= 50
    assert outcomes["answered"] >= 10  # flipped bits of samples leave an ECG
