"""What happens when the input is faulty: the table of docs/data.md, row by row.

Either an error that names the file, and no output; or a table of the others, and the rejected listed with reasons.
"""

import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest

from tests.data_scripts.code15_layout import edit_csv, exams_frame, make_tracing, microvolts, rows_of, write_part


FIRST, SECOND = "exams_part0.hdf5", "exams_part10.hdf5"  # exams 61 to 90 and 91 to 110, in rows 0 to 29 and 0 to 19


def set_tracing(row, change):
    """Changes one tracing (4096, 12) of the first part in place."""

    def damage(folder):
        with h5py.File(folder / FIRST, "r+") as file:
            tracing = file["tracings"][row]
            change(tracing)
            file["tracings"][row] = tracing

    return damage


def set_values(where, value):
    def change(tracing):
        tracing[where] = value

    return set_tracing(4, change)


def overwrite(path, offset, n_bytes):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(n_bytes))


def damage_packed_chunk(folder):
    with h5py.File(folder / FIRST) as file:
        chunk = file["tracings"].id.get_chunk_info(4)
    overwrite(folder / FIRST, chunk.byte_offset + 10, 1990)


def store_part(folder, part, ids, n_rows=None, dtype=np.float32, shape=(4096, 12), **settings):
    """A part without the zero row, stored as `settings` say."""
    tracings = np.stack([make_tracing(i) for i in ids]).astype(dtype)[:, : shape[0], : shape[1]]
    with h5py.File(folder / part, "w") as file:
        file["exam_id"] = np.array(ids[:n_rows])
        file.create_dataset("tracings", data=tracings, **settings)


def damage_checked_chunk(folder):
    store_part(folder, FIRST, range(61, 91), chunks=(1, 4096, 12), fletcher32=True)
    with h5py.File(folder / FIRST) as file:
        chunk = file["tracings"].id.get_chunk_info(4)
    overwrite(folder / FIRST, chunk.byte_offset + 100_000, 4)


def damage_chunk_of_several(folder):
    store_part(folder, FIRST, range(61, 91), chunks=(10, 4096, 12), compression="gzip")
    with h5py.File(folder / FIRST) as file:
        chunk = file["tracings"].id.get_chunk_info(1)
    overwrite(folder / FIRST, chunk.byte_offset + 1000, 1000)


def truncate(folder):
    content = (folder / SECOND).read_bytes()
    (folder / SECOND).write_bytes(content[: len(content) // 2])


def edit_ids(part, row, exam_id):
    def damage(folder):
        with h5py.File(folder / part, "r+") as file:
            file["exam_id"][row] = exam_id

    return damage


def drop_line(folder):
    frame = pd.read_csv(folder / "exams.csv", dtype=str, keep_default_na=False)
    frame[frame["exam_id"] != "65"].to_csv(folder / "exams.csv", index=False)


def no_patient(folder):
    frame = pd.read_csv(folder / "exams.csv", dtype=str, keep_default_na=False)
    frame.loc[frame["exam_id"] == "65", "patient_id"] = ""
    frame.to_csv(folder / "exams.csv", index=False)


# Damage, and for each record that must be listed its reason and a piece of the detail.
LISTED = {
    "damaged compressed chunk": (damage_packed_chunk, {"65": ("unreadable tracing", f"{FIRST}, row 4, exam 65")}),
    "damaged chunk with checksum": (damage_checked_chunk, {"65": ("unreadable tracing", f"{FIRST}, row 4, exam 65")}),
    "damaged chunk of ten exams": (
        damage_chunk_of_several,
        {str(i): ("unreadable tracing", f"{FIRST}, row {i - 61}, exam {i}") for i in range(71, 81)},
    ),
    "missing part": (
        lambda folder: (folder / SECOND).unlink(),
        {str(i): ("part not found", SECOND) for i in range(91, 111)},
    ),
    "row that exams.csv does not list": (drop_line, {"65": ("not in exams.csv", f"{FIRST}, row 4")}),
    "line without a row": (
        edit_ids(FIRST, 4, 999),
        {"65": ("not in its part", FIRST), "999": ("not in exams.csv", f"{FIRST}, row 4")},
    ),
    "exam twice in a part": (
        edit_ids(FIRST, 4, 70),
        {"65": ("not in its part", FIRST), "70": ("duplicate exam_id", f"{FIRST}, row 9")},
    ),
    "exam in two parts": (
        edit_ids(SECOND, 0, 65),
        {"91": ("not in its part", SECOND), "65": ("duplicate exam_id", f"{SECOND}, row 0")},
    ),
    "row with a tracing and no id": (
        edit_ids(FIRST, 4, 0),
        {"65": ("not in its part", FIRST), "0": ("no exam_id", f"{FIRST}, row 4 holds a tracing")},
    ),
    "no patient": (no_patient, {"65": ("no patient_id", f"{FIRST}, row 4")}),
    "NaN": (
        set_values((1000, 3), np.nan),
        {"65": ("NaN or infinite values", f"{FIRST}, row 4, exam 65: 1 of 49152 values")},
    ),
    "infinite values": (
        set_values((slice(1000, 1010), 3), -np.inf),
        {"65": ("NaN or infinite values", f"{FIRST}, row 4, exam 65: 10 of 49152 values")},
    ),
    "all zeros": (set_values(slice(None), 0), {"65": ("all-zero tracing", f"{FIRST}, row 4, exam 65")}),
    "all leads constant": (
        set_values(slice(None), 1),
        {"65": ("no signal", f"{FIRST}, row 4, exam 65 (unit mV): every lead is constant")},
    ),
    "another unit": (
        set_tracing(4, lambda tracing: np.multiply(tracing, 1000, out=tracing)),
        {"65": ("amplitude of another unit", f"{FIRST}, row 4, exam 65 (unit mV): amplitudes of")},
    ),
}


@pytest.mark.parametrize("fault", LISTED)
def test_the_rejected_are_listed_and_the_others_kept(fault, code15_folder, tmp_path, convert):
    damage, expected = LISTED[fault]
    damage(code15_folder)
    record, table = convert(code15_folder, "--max_rejected_fraction", 0.5)
    assert record["found"] == record["kept"] + record["rejected"] and record["rejected"] == len(expected)
    frame = pd.read_csv(tmp_path / "table" / "rejected.csv", dtype=str, keep_default_na=False)
    listed = {row["record"]: row for row in frame.to_dict("records")}
    assert {record: row["reason"] for record, row in listed.items()} == {
        k: reason for k, (reason, _) in expected.items()
    }
    for exam_id, (_, detail) in expected.items():
        assert detail in listed[exam_id]["detail"]
    rows = rows_of(table)
    kept = {str(i) for i in range(61, 111)} - set(expected)
    assert set(rows) == kept | ({"70"} if "twice" in fault else {"65"} if "two parts" in fault else set())
    for exam_id in ("61", "90"):  # the neighbours are what they were
        tracing = make_tracing(int(exam_id), 2934 if int(exam_id) % 3 == 0 and "chunk " not in fault else 4096)
        np.testing.assert_array_equal(np.reshape(rows[exam_id]["ecg"], (12, 4096)), microvolts(tracing))


def latin1(folder):
    text = (folder / "exams.csv").read_text().replace("patient_id", "patient_id,clínica", 1)
    lines = text.splitlines()
    (folder / "exams.csv").write_bytes("\n".join([lines[0], *(f"{line},são" for line in lines[1:])]).encode("latin-1"))


def damage_ids(folder):
    with h5py.File(folder / SECOND, "w") as file:
        file.create_dataset("exam_id", data=np.arange(91, 111), chunks=(20,), fletcher32=True)
        file["tracings"] = np.zeros((20, 4096, 12), np.float32)
        chunk = file["exam_id"].id.get_chunk_info(0)
    overwrite(folder / SECOND, chunk.byte_offset, 8)


def zip_second(folder, names=(SECOND,), compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(folder / "exams_part10.zip", "w", compression) as archive:
        for name in names:
            archive.write(folder / SECOND, name)
    (folder / SECOND).unlink()


def truncated_zip(folder):
    zip_second(folder)
    content = (folder / "exams_part10.zip").read_bytes()
    (folder / "exams_part10.zip").write_bytes(content[:-1000])


def damaged_zip(folder):
    zip_second(folder)
    overwrite(folder / "exams_part10.zip", 100_000, 100)


def damaged_stored_zip(folder):
    zip_second(folder, compression=zipfile.ZIP_STORED)
    overwrite(folder / "exams_part10.zip", 100_000, 100)


def drop_ids(folder):
    with h5py.File(folder / SECOND, "r+") as file:
        del file["exam_id"]


def repeat_line(folder):
    lines = (folder / "exams.csv").read_text().splitlines()
    lines[1] = "65" + lines[1][lines[1].index(",") :]
    (folder / "exams.csv").write_text("\n".join(lines))


REFUSED = {
    "truncated part": (truncate, f"{SECOND}: not a readable HDF5 file, or truncated"),
    "empty part": (lambda folder: (folder / SECOND).write_bytes(b""), f"{SECOND}: not a readable HDF5 file"),
    "part that is no HDF5": (lambda folder: (folder / SECOND).write_bytes(b"text" * 999), f"{SECOND}: not a readable"),
    "damaged ids": (damage_ids, f"{SECOND}: not a readable HDF5 file, or truncated"),
    "eleven leads": (
        lambda folder: store_part(folder, SECOND, range(91, 111), shape=(4096, 11)),
        rf"{SECOND}: expected tracings of shape \(exams, 4096, 12\).*found \(20, 4096, 11\)",
    ),
    "other length": (
        lambda folder: store_part(folder, SECOND, range(91, 111), shape=(4000, 12)),
        rf"{SECOND}: expected tracings of shape \(exams, 4096, 12\).*found \(20, 4000, 12\)",
    ),
    "whole numbers": (
        lambda folder: store_part(folder, SECOND, range(91, 111), dtype=np.int16),
        f"{SECOND}: expected tracings .* in floating point, found .* in int16",
    ),
    "fewer ids than tracings": (
        lambda folder: store_part(folder, SECOND, range(91, 111), n_rows=19),
        rf"{SECOND}: expected 20 whole numbers exam_id, found \(19,\)",
    ),
    "no ids": (drop_ids, f"{SECOND}: expected the datasets exam_id and tracings, found tracings"),
    "truncated zip": (truncated_zip, "exams_part10.zip: not a readable zip file, or truncated"),
    "damaged zip": (damaged_zip, f"exams_part10.zip: {SECOND} in it cannot be unpacked"),
    "damaged zip, not compressed": (
        damaged_stored_zip,
        f"exams_part10.zip: {SECOND} in it cannot be unpacked: Bad CRC",
    ),
    "two parts in a zip": (
        lambda folder: zip_second(folder, (SECOND, "b.h5")),
        f"exams_part10.zip: expected one file named .hdf5 or .h5 in it, found {SECOND}, b.h5",
    ),
    "another text encoding": (latin1, "exams.csv, line 1: expected text in UTF-8, found the byte 0xed"),
    "exam twice in exams.csv": (repeat_line, "exams.csv: expected each exam_id once; found 1 more than once: 65"),
    "sex that is neither": (
        lambda folder: edit_csv(folder, is_male="maybe"),
        r"exams.csv, exam \d+, column is_male: expected True or False, found 'maybe'",
    ),
    "age that is no number": (
        lambda folder: edit_csv(folder, age="old"),
        r"exams.csv, exam \d+, column age: expected a number, found 'old'",
    ),
    "blank id": (lambda folder: edit_csv(folder, exam_id=""), "exams.csv: row 2 has no exam_id"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_be_read_is_refused_and_leaves_nothing(fault, code15_folder, refused):
    damage, message = REFUSED[fault]
    damage(code15_folder)
    refused(code15_folder, ValueError, message)


def test_a_csv_of_another_shape_is_refused(code15_folder, refused):
    index = code15_folder / "exams.csv"
    lines = index.read_text().splitlines()
    pd.read_csv(index, dtype=str).drop(columns=["AF", "trace_file"]).to_csv(index, index=False)
    refused(code15_folder, ValueError, "exams.csv: missing columns AF, trace_file; found exam_id")
    index.write_text(lines[0])
    refused(code15_folder, ValueError, "expected one row for each exam, found none")
    index.write_text("\n".join([*lines[:3], lines[3] + ",1,2,3"]))
    refused(code15_folder, ValueError, "exams.csv: cannot be read as CSV: .* line 4")
    index.unlink()
    refused(code15_folder, FileNotFoundError, "exams.csv: no such file")
    refused(code15_folder / "absent", FileNotFoundError, "absent: no such folder")


def test_no_part_and_no_exam_are_errors(code15_folder, refused):
    (code15_folder / SECOND).unlink()
    write_part(code15_folder / FIRST, [1], [make_tracing(1)])
    refused(code15_folder, ValueError, "no exam could be kept of 51 found.*exam 1: not in exams.csv")
    (code15_folder / FIRST).unlink()
    refused(code15_folder, ValueError, f"none of the parts that exams.csv names is there: {FIRST}")


def test_too_many_bad_exams_are_an_error(code15_folder, refused):
    with h5py.File(code15_folder / FIRST, "r+") as file:
        file["tracings"][0:6] = 0
    refused(code15_folder, ValueError, "6 of 50 recordings were rejected.*exam 61: all-zero tracing")


def test_what_can_be_used_is_kept_and_flagged(tmp_path, convert):
    folder = tmp_path / "code15"
    folder.mkdir()
    tracings = [make_tracing(i) for i in range(5)]
    tracings[1][:, 7] = 0
    tracings[2][:, 8] -= 9
    tracings[3][2000:2002, 9] = [-80, -60]  # -40 mV and -30 mV: no code of lost samples, which repeats
    tracings[4][1000:1020, 3] = np.nan
    write_part(folder / FIRST, [1, 2, 3, 4, 5], tracings)
    exams_frame({FIRST: [1, 2, 3, 4, 5]}).to_csv(folder / "exams.csv", index=False)
    record, table = convert(folder, "--repair_nan")
    rows = rows_of(table)
    flags = [[], ["flat_lead"], ["offset"], ["clipped"], ["nan_repaired:aVR:0.5%"]]
    assert [rows[str(i)]["quality"] for i in range(1, 6)] == flags and record["rejected"] == 0
    assert np.reshape(rows["4"]["ecg"], (12, 4096))[9, 2000] == -32767


def test_a_report_table_of_another_encoding_is_refused(code15_folder, tmp_path, refused):
    (tmp_path / "r.csv").write_bytes("exam_id,report\n61,Conclusão: ECG normal\n".encode("latin-1"))
    refused(code15_folder, ValueError, "r.csv: expected UTF-8 text, found 0xe3", "--reports", tmp_path / "r.csv")
