import asyncio
import base64
import csv
import io
import re
import shutil
import time
import zipfile
from collections import Counter

import numpy as np
import pytest

from modeling_ecgclip import EcgRecord
from space.archive import Part
from space.batch import MAX_ECGS, Batch, Group, Row, build_csv, find_groups, progress, refused, table
from space.example_list import EXAMPLES
from space.storage import Storage
from space.turns import Turns
from space.uploads import Form, read_upload
from tests.modeling_ecgclip.test_fuzz_every_format import files_of_every_kind


NO_FORM = (None, "", "", False, False)
EVERY = [path for one in EXAMPLES for path in one.paths]


@pytest.fixture
def batch(analyser, tmp_path):
    storage = Storage(tmp_path / "stored", 10**9, 10**9, 9, 9, max_files=99, keep_s=300)
    return Batch(analyser, storage, Turns())


def stored(batch, *sources):
    upload = batch.storage.reserve("a", 1)
    paths = [upload.path_of(source.name) for source in sources]
    for path, source in zip(paths, sources, strict=True):
        shutil.copyfile(source, path)
    return paths


def run(batch, paths, exam_ids="", fields=NO_FORM, meanwhile=None):
    """All that a batch yields, for a session that listens."""

    async def scenario():
        batch.turns.listening["s"] += 1
        other = None if meanwhile is None else asyncio.create_task(meanwhile(batch.turns))
        yielded = [one async for one in batch.show("a", "s", paths, exam_ids, *fields)]
        return yielded if other is None else (yielded, await other)

    return asyncio.run(scenario())


def lines_of(shown):
    """The rows of the CSV in the last table."""
    data = re.search(r'base64,([\w+/=]+)"', next(rows for _, rows in reversed(shown) if rows))[1]
    return list(csv.DictReader(io.StringIO(base64.b64decode(data).decode())))


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content if isinstance(content, bytes) else content.read_bytes())
    return path


def names_of(groups):
    return [[part.file_name for part in group.parts] for group in groups]


class TestGroups:
    def test_files_of_a_record_are_one_ecg(self, tmp_path):
        header, signal = EXAMPLES[0].paths
        other = header.read_text().replace("simulated_normal", "other").encode()
        challenge = header.read_text().replace("simulated_normal", "A0001").replace(".dat", ".mat").encode()
        segments = b"whole/2 12 400 20\nsimulated_normal 10\nother 10\n"
        members = {
            "one/simulated_normal.hea": header,
            "one/simulated_normal.dat": signal,
            "two/simulated_normal.hea": header,  # of the same name, in another folder
            "two/simulated_normal.dat": signal,
            "cinc/A0001.hea": challenge,
            "cinc/A0001.mat": b"x",
            "parts/whole.hea": segments,
            "parts/simulated_normal.hea": header,
            "parts/simulated_normal.dat": signal,
            "parts/other.hea": other,
            "parts/other.dat": signal,
            "alone/lost.dat": b"x",
            "alone/damaged.hea": b"damaged 12 nothing",
            "alone/damaged.dat": b"x",
            "__MACOSX/one/._x": b"x",
            "one/.DS_Store": b"x",
        }
        found = find_groups([zipped(tmp_path / "all.zip", members)])
        assert names_of(found.groups) == [
            ["damaged.hea", "damaged.dat"],
            ["lost.dat"],
            ["A0001.hea", "A0001.mat"],
            ["simulated_normal.hea", "simulated_normal.dat"],
            ["whole.hea", "simulated_normal.hea", "other.hea", "simulated_normal.dat", "other.dat"],
            ["simulated_normal.hea", "simulated_normal.dat"],
        ]
        assert [found.groups[3].name, found.groups[5].name] == ["one/simulated_normal.hea", "two/simulated_normal.hea"]
        assert (found.n_files, found.n_hidden) == (14, 2)

    def test_archives_among_files_keep_their_names_apart(self, tmp_path):
        archive = zipped(tmp_path / "ward.zip", {"ecg.npz": EXAMPLES[2].paths[0]})
        assert [one.name for one in find_groups([archive, *EXAMPLES[1].paths]).groups] == [
            "simulated_rbbb_af.npz",
            "ward.zip/ecg.npz",
        ]

    def test_exams_of_a_file_that_holds_many(self, files):
        groups = find_groups([files["hdf5"], files["npz"]], ["7", "8"]).groups
        assert [one.name for one in groups] == ["ecg.hdf5, exam 7", "ecg.hdf5, exam 8", "ecg.npz"]

    def test_there_are_limits(self, tmp_path):
        many = zipped(tmp_path / "many.zip", {f"{i:03}.npy": b"" for i in range(MAX_ECGS + 1)})
        with pytest.raises(ValueError, match="expected 1 to 100 ECGs at once: found 101"):
            find_groups([many])
        with pytest.raises(ValueError, match="found 0"):
            find_groups([])

    def test_headers_that_name_each_other_end(self, tmp_path):
        circle = {"a.hea": b"a/1 12 400 20\nb 20\n", "b.hea": b"b/1 12 400 20\na 20\n"}
        found = find_groups([zipped(tmp_path / "circle.zip", circle)])
        assert sum(len(one.parts) for one in found.groups) == 2


def test_numbers_are_exactly_those_of_each_ecg_alone(batch, analyser):
    lines = lines_of(run(batch, stored(batch, *EVERY)))
    assert len(lines) == len(EXAMPLES)
    for example in EXAMPLES:
        alone = analyser.analyse(*read_upload(example.paths, Form())).to_dict()
        line = next(one for one in lines if one["file"] in example.files)
        assert line["status"] == "read" and line["remarks"] == " ".join(alone["notes"])
        for one in alone["probabilities"]:
            assert float(line[one["label"]]) == one["score"]  # to the last bit
            assert line[f"{one['label']}_decision"] == ("positive" if one["positive"] else "negative")
        for name in ("heart_rate_bpm", "pr_ms", "qrs_ms", "qt_ms", "qtc_bazett_ms", "qrs_axis_deg"):
            measured = alone["measurements"][name]
            assert line[name] == ("" if measured is None else str(measured))
        doubted = [name for name, quality in alone["measurements"]["quality"].items() if quality < 0.49]
        assert set(doubted) & set(line) <= set(line["uncertain"].split())


def test_every_kind_of_file_is_read_or_stands_there_with_its_reason(batch, tmp_path, files):
    made = tmp_path / "kinds"
    made.mkdir()
    members = {}
    for number, (path, _) in enumerate(files_of_every_kind(made).values()):
        beside = path.parent.glob(f"{path.stem}.*") if path.suffix == ".hea" else [path]
        members |= {f"{number:02}/{one.name}": one for one in beside}
    members |= {"x/broken.npy": b"no array", "x/notes.docx": b"x", "x/ecg.csv": files["csv"]}
    found = find_groups([zipped(tmp_path / "kinds.zip", members)])
    shown = run(batch, stored(batch, tmp_path / "kinds.zip"))
    lines = lines_of(shown)
    assert [one["file"] for one in lines] == [one.name for one in found.groups]
    counts = Counter(one["status"] for one in lines)
    assert counts["read"] + counts["refused"] == len(found.groups) == len(lines) and counts["read"] >= 5
    assert f"{counts['read']} read, {counts['refused']} refused" in shown[-1][0]
    assert all(bool(one["reason"]) == (one["status"] == "refused") for one in lines)
    reasons = {one["file"]: one["reason"] for one in lines}
    assert reasons["x/broken.npy"].startswith("not a numeric numpy file") and ".docx" in reasons["x/notes.docx"]
    assert "does not state its sampling rate" in reasons["x/ecg.csv"]
    assert str(tmp_path) not in str(shown)


def test_one_form_is_for_all_that_do_not_state_it(batch, files):
    sources = [files[kind] for kind in ("csv", "npz", "hdf5")]
    lines = lines_of(run(batch, stored(batch, *sources), "8", (400.0, "mV", "", False, False)))
    assert [(one["file"], one["status"]) for one in lines] == [
        ("ecg.csv", "read"),
        ("ecg.hdf5, exam 8", "read"),
        ("ecg.npz", "read"),
    ]


def test_it_goes_an_ecg_at_a_time_and_others_come_between(batch):
    order = []
    read = batch._reader

    def reader(form):
        inner = read(form)
        return lambda group: order.append(group.name) or inner(group)

    batch._reader = reader

    async def meanwhile(turns):
        while len(order) < 1:
            await asyncio.sleep(0.001)
        return await turns.take("b", None, order.append, "another visitor")

    shown, _ = run(batch, stored(batch, *EVERY), meanwhile=meanwhile)
    assert order.index("another visitor") == 1 and len(order) == 5
    assert [re.search(r"(\d) to go", line)[1] for line, _ in shown[:-1]] == ["4", "3", "2", "1"]
    # The table comes at 1, 2 and 4 of 4.
    assert [rows and rows.count('class="ec-read"') for _, rows in shown] == ["", 1, 2, None, 4]


def test_what_takes_too_long_is_a_line_too_and_uploads_go(batch):
    batch.turns.timeout_s = 0.05
    batch._reader = lambda form: lambda group: time.sleep(0.2)
    paths = stored(batch, *EXAMPLES[1].paths, *EXAMPLES[2].paths)
    lines = lines_of(run(batch, paths))
    assert ["took longer than 0.05 s" in one["reason"] for one in lines] == [True, True]
    assert not any(path.exists() for path in paths) and batch.storage.n_bytes == 0


def test_an_upload_that_is_refused_stays_for_another_try(batch, tmp_path):
    (tmp_path / "no.zip").write_bytes(b"x")
    paths = stored(batch, tmp_path / "no.zip")
    with pytest.raises(ValueError, match="no.zip: expected a zip archive"):
        run(batch, paths)
    assert paths[0].exists()


def test_own_failures_name_nothing(caplog):
    group = Group((Part("ecg.npz", EVERY[0]),))
    try:
        raise KeyError("patient 4711")
    except KeyError as error:
        row = refused(group, error)
    assert "4711" not in row.refused + caplog.text and "server's log" in row.refused


class TestTable:
    @pytest.fixture(scope="class")
    def rows(self, analyser, signal):
        record = EcgRecord(signal, 400.0, None, "mV", "x")
        return [Row.of("=cmd()<b>.npz", analyser.analyse(record, ["a & b"])), Row("b.npy", refused="-1 <i>")]

    def test_names_and_reasons_are_text(self, rows):
        shown = table(rows, ["AF"])
        assert "<b>.npz" not in shown and "<i>" not in shown and "&lt;b&gt;" in shown and "a &amp; b" in shown

    def test_spreadsheets_run_nothing(self, rows):
        lines = list(csv.DictReader(io.StringIO(build_csv(rows, ["AF"]).decode())))
        assert lines[0]["file"] == "'=cmd()<b>.npz" and lines[1]["reason"] == "'-1 <i>"
        assert float(lines[0]["AF"]) == rows[0].scores["AF"]

    def test_rows_sort_by_what_is_shown(self, rows):
        shown = str(table(rows, ["AF"]))
        heads = re.findall(r'<th class="[^"]*" data-numbers="(1?)"><button type="button">([^<]+)', shown)
        assert [name for number, name in heads if number] == [
            "Heart rate",
            "PR",
            "QRS",
            "QTc Fridericia",
            "QRS axis",
            "AF",
        ]
        keys = re.findall(r'data-key="([^"]*)"', shown.split("</tr>")[1])
        assert float(keys[-2]) == rows[0].scores["AF"] and keys[2] == "60"
        assert set(re.findall(r'data-key="([^"]*)"', shown.split("</tr>")[2])[1:]) == {""}

    def test_many_labels_are_one_column_and_values_have_no_decision(self, analysis_of):
        analyser, analysis = analysis_of("many")
        names = [label.name for label in analyser.labels]
        shown, row = str(table([Row.of("e", analysis)], names)), Row.of("e", analysis)
        assert shown.count("<button") == 8 and "findings</button>" in shown
        header = build_csv([row], names).decode().splitlines()[0]
        assert header.count("_decision") == 71
        _, values = analysis_of("values")
        row = Row.of("e", values)
        line = next(csv.DictReader(io.StringIO(build_csv([row], ["k", "age"]).decode())))
        assert "k_decision" not in line and float(line["age"]) == row.scores["age"]

    def test_counting(self, rows, tmp_path):
        found = find_groups([zipped(tmp_path / "one.zip", {"a.npy": b"", ".b": b""})])
        assert "<b>1 ECG</b> in 1 file: 0 read, 1 refused; passed over, as a system&#39;s own: 1 file" in progress(
            found, rows[1:]
        )


def test_undecided_is_marked(analysis_of, signal):
    _, analysis = analysis_of("one_lead")
    row = Row.of("e", analysis)
    assert np.isfinite(list(row.scores.values())).all()
    undecided = Row("e", findings=row.findings, verdicts={"1dAVb": "undecided"}, numbers={"1dAVb": "50.0 %"})
    assert ">50.0?</td>" in table([undecided], ["1dAVb"])
