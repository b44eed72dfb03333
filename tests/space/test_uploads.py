import shutil
from dataclasses import replace

import numpy as np
import pytest
import wfdb

from modeling_ecgclip import LEAD_NAMES
from modeling_ecgclip.stated_ecgclip import ImplausibleEcgError
from space.example_list import EXAMPLES
from space.uploads import Form, read_upload, read_with_one_form


WFDB_PATHS = EXAMPLES[0].paths


def test_every_kind_gives_the_same_ecg(files, signal):
    forms = {
        "npy": Form(sampling_rate=400, unit="mV"),
        "npz": Form(),
        "csv": Form(sampling_rate=400, unit="mV"),
        "hdf5": Form(exam_id=" 8 "),
    }
    for suffix, form in forms.items():
        record, notes = read_upload([files[suffix]], form)
        np.testing.assert_allclose(record.signal, signal, atol=1e-5, err_msg=suffix)
        assert record.sampling_rate == 400, suffix
        assert record.name == ("ecg.hdf5, exam 8" if suffix == "hdf5" else f"ecg.{suffix}")
        assert len(notes) == {"npy": 1}.get(suffix, 0), suffix


def test_wfdb_files_from_two_folders(tmp_path):
    # An upload puts each file into a folder of its own.
    paths = []
    for path in WFDB_PATHS:
        (tmp_path / path.suffix).mkdir()
        paths.append(shutil.copy(path, tmp_path / path.suffix))
    record, notes = read_upload(paths[::-1], Form())
    assert (record.name, record.sampling_rate, record.unit, notes) == ("simulated_normal.hea", 400, "mV", [])
    assert record.lead_names == LEAD_NAMES


def test_form_states_what_the_file_does_not(files):
    form = Form(sampling_rate=500, unit="uV", lead_names="V6, V5;V4 V3 V2 V1 aVF aVL aVR III II I")
    record, notes = read_upload([files["npy"]], form)
    assert (record.sampling_rate, record.unit, record.lead_names[0], notes) == (500, "uV", "V6", [])


@pytest.mark.parametrize(
    ("suffix", "form", "message"),
    [
        ("npy", Form(), "ecg.npy: the file does not state its sampling rate"),
        ("npy", Form(sampling_rate=400), 'does not state its unit: enter it under "What the file does not say"'),
        ("csv", Form(unit="mV"), "ecg.csv: the file does not state its sampling rate: enter it under"),
        ("hdf5", Form(), "ecg.hdf5: an HDF5 file holds many exams"),
        ("hdf5", Form(exam_id="9"), "exam 9 not found"),
        ("npz", Form(sampling_rate=500), "ecg.npz: the source states 400.0 Hz"),
        ("npz", Form(exam_id="3"), "ecg.npz: exam_id selects"),
    ],
)
def test_what_does_not_fit_is_said(files, suffix, form, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_upload([files[suffix]], form)
    assert "/" not in str(caught.value).replace("I, II", ""), "no folder of the server in a message"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no file: expected an ECG as"),
        (["a.dat"], "a.dat: a WFDB signal file needs its header"),
        (["a.png"], "a.png: expected an ECG as .* found .png"),
        (["README"], "README: .* found no suffix"),
        (["a.csv", "b.csv"], "a.csv, b.csv: expected one file"),
        (["a.hea", "b.hea"], "expected one ECG: found 2 WFDB headers"),
        (["a.npy"], "a.npy: "),
        (["a.csv"], "a.csv: "),
        (["a.hdf5"], "a.hdf5, exam 1|a.hdf5: "),
        (["a.hea"], "a.?h?e?a?: "),
    ],
)
def test_wrong_uploads_are_named(tmp_path, names, message):
    for name in names:
        (tmp_path / name).write_bytes(b"\x00\xffnot an ECG\n")
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        read_upload([tmp_path / name for name in names], Form(exam_id="1" if names == ["a.hdf5"] else None))
    assert str(tmp_path) not in str(caught.value)
    assert "ecgclip-" not in str(caught.value)


def test_leads_of_fewer_than_twelve_are_asked_for(tmp_path, signal):
    np.save(tmp_path / "two.npy", signal[:2])
    with pytest.raises(ValueError, match="two.npy: the file does not state its leads: enter them under"):
        read_upload([tmp_path / "two.npy"], Form(400, "mV"))
    record, notes = read_upload([tmp_path / "two.npy"], Form(400, "mV", "I II"))
    assert (record.lead_names, notes) == (("I", "II"), [])


def test_header_without_its_signal_file():
    with pytest.raises((ValueError, FileNotFoundError), match="simulated_normal"):
        read_upload(WFDB_PATHS[:1], Form())


def test_header_that_names_a_file_elsewhere(tmp_path):
    secret = tmp_path / "secret.dat"
    shutil.copy(WFDB_PATHS[1], secret)
    header = tmp_path / "a.hea"
    header.write_text(WFDB_PATHS[0].read_text().replace("simulated_normal.dat", f"../{tmp_path.name}/secret.dat"))
    with pytest.raises((ValueError, FileNotFoundError), match="a"):
        read_upload([header], Form())


def test_wfdb_record_of_segments(tmp_path, signal):
    names = list(LEAD_NAMES)
    for i, part in enumerate((signal[:, :1000], signal[:, 1000:])):
        wfdb.wrsamp(
            f"rec_{i}", 400, ["mV"] * 12, names, part.T.astype(float), fmt=["16"] * 12, adc_gain=[1000.0] * 12,
            baseline=[0] * 12, write_dir=str(tmp_path),
        )  # fmt: skip
    (tmp_path / "rec.hea").write_text("rec/2 12 400 4000\nrec_0 1000\nrec_1 3000\n")
    record, notes = read_upload(sorted(tmp_path.iterdir()), Form())
    assert (record.name, record.sampling_rate, notes) == ("rec.hea", 400, [])
    np.testing.assert_allclose(record.signal, signal, atol=1e-3)


def test_one_form_for_several_ecgs_adds_what_each_leaves_open(files):
    form = Form(sampling_rate=500, unit="uV", lead_names="V6 V5 V4 V3 V2 V1 aVF aVL aVR III II I", exam_id="8")
    stated, _ = read_with_one_form([files["npz"]], Form(sampling_rate=500, unit="uV", lead_names="V1"))
    assert (stated.sampling_rate, stated.unit, stated.lead_names) == (400, "mV", LEAD_NAMES)
    open_rate, _ = read_with_one_form([files["csv"]], replace(form, exam_id=None))
    assert (open_rate.sampling_rate, open_rate.unit, open_rate.lead_names) == (500, "uV", LEAD_NAMES)
    assert read_with_one_form([files["hdf5"]], form)[0].name == "ecg.hdf5, exam 8"
    with pytest.raises(ValueError, match="does not state its unit"):
        read_with_one_form([files["npy"]], Form(sampling_rate=500))


def test_an_error_of_several_parts_is_one_sentence_too(files, monkeypatch):
    def read(path, *_):
        raise ImplausibleEcgError(f"{path}: too flat", "no_signal")

    monkeypatch.setattr("space.uploads.read_ecg", read)
    with pytest.raises(ValueError, match=r"^ecg.npy: too flat$"):
        read_upload([files["npy"]], Form())
