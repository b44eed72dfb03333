import re
from dataclasses import replace

import numpy as np
import pytest

from common.project import PROJECT
from modeling_ecgclip import EcgRecord
from space.analysis import Analysis
from space.compare import ERROR_SD_MS, Comparer, comparison, found_changes, measured_changes
from space.example_list import EXAMPLES
from space.findings import Findings
from space.shelf import Shelf
from space.storage import Storage
from space.uploads import Form, read_upload


NO_FORM = (None, "", "", False, False)


def read(analyser, example) -> Analysis:
    return analyser.analyse(*read_upload(example.paths, Form()))


@pytest.fixture(scope="module")
def pair(analyser):
    """A normal rhythm and a left bundle branch block."""
    return read(analyser, EXAMPLES[0]), read(analyser, EXAMPLES[2])


@pytest.fixture
def comparer(analyser, tmp_path):
    storage = Storage(tmp_path / "stored", 10**9, 10**9, 9, 9, max_files=9, keep_s=300)
    return Comparer(analyser, storage, Shelf(8, 10**9, keep_s=300))


def stored(comparer, *sources):
    upload = comparer.storage.reserve("a", 1)
    paths = [upload.path_of(source.name) for source in sources]
    for path, source in zip(paths, sources, strict=True):
        path.write_bytes(source.read_bytes())
    return [str(path) for path in paths]


def with_measures(analysis, quality=None, **values):
    measured = replace(analysis.measurements, **values)
    return replace(analysis, measurements=replace(measured, quality=measured.quality | (quality or {})))


def test_numbers_are_those_of_each_and_differences_add_up(pair):
    earlier, new = pair
    changes = measured_changes(*pair)
    assert [one.name for one in changes] == [one.name for one in new.measures]
    for change, first, second in zip(changes, earlier.measures, new.measures, strict=True):
        assert (change.earlier, change.new) == (first.value or "none", second.value or "none")
        if "axis" not in change.title and change.difference:
            numbers = [int(re.match(r"[+-]?\d+", text)[0]) for text in (change.earlier, change.new, change.difference)]
            assert numbers[1] - numbers[0] == numbers[2]
    found, others = found_changes(*pair)
    assert others == [] and len(found) == 6
    for change in found:
        first, second = (next(x for x in one.findings.entries if x.name == change.name) for one in pair)
        assert (change.earlier, change.new) == (earlier.findings.shown(first), new.findings.shown(second))
        assert float(change.difference) == pytest.approx(100 * (second.score - first.score), abs=0.1001)
        assert change.turned == (first.verdict != second.verdict)
        assert change.turned == ("\N{RIGHTWARDS ARROW}" in " ".join(change.remarks))


def test_what_is_uncertain_is_marked(pair):
    earlier = with_measures(
        pair[0], {"qrs_ms": 0.9, "pr_ms": 0.9, "qt_ms": 0.9}, qrs_ms=100.0, pr_ms=150.0, qt_ms=400.0
    )
    new = with_measures(pair[0], {"qrs_ms": 0.9, "pr_ms": 0.2, "qt_ms": 0.9}, qrs_ms=120.0, pr_ms=250.0, qt_ms=460.0)
    by_name = {one.name: one for one in measured_changes(earlier, new)}
    # 1.96 times the root of twice 10.5 squared, docs/measurements.md.
    assert (
        by_name["qrs_ms"].remarks == ("within measuring error (\N{PLUS-MINUS SIGN}29 ms)",)
        and by_name["qrs_ms"].unsure
    )
    assert by_name["pr_ms"].remarks == ("uncertain in the new one",) and by_name["pr_ms"].unsure
    assert by_name["qt_ms"].remarks == () and not by_name["qt_ms"].unsure
    none = replace(new.measurements, pr_ms=None, reasons=new.measurements.reasons | {"pr_ms": "no P wave"})
    change = next(x for x in measured_changes(earlier, replace(new, measurements=none)) if x.name == "pr_ms")
    assert (change.new, change.difference, change.remarks) == ("none", "", ("new: no P wave",))


def test_errors_are_those_that_were_measured():
    measured = (PROJECT / "docs" / "measurements.md").read_text(encoding="utf-8")
    row = next(line for line in measured.splitlines() if line.startswith("| all | ecgclip |"))
    assert re.findall("\N{PLUS-MINUS SIGN} ([0-9.]+)", row) == [str(one) for one in ERROR_SD_MS.values()]


@pytest.mark.parametrize(("first", "second", "difference"), [(170, -170, "+20"), (-90, 100, "-170"), (10, -20, "-30")])
def test_axes_turn_the_short_way(pair, first, second, difference):
    changes = measured_changes(*(with_measures(pair[0], qrs_axis_deg=float(axis)) for axis in (first, second)))
    assert next(x for x in changes if x.name == "qrs_axis_deg").difference == f"{difference}\N{DEGREE SIGN}"


def test_decisions_that_turn_and_labels_without(pair, analysis_of):
    entries = tuple(replace(one, score=1 - one.score, positive=not one.positive) for one in pair[0].findings.entries)
    turned = replace(pair[0], findings=Findings("multi_label_classification", entries))
    assert all(one.turned for one in found_changes(pair[0], turned)[0])
    abstains = replace(entries[0], decision="uncertain", bounds=(0.1, 0.9))
    unsure = replace(turned, findings=Findings("multi_label_classification", (abstains, *entries[1:])))
    assert [one.unsure for one in found_changes(turned, unsure)[0]] == [True] + [False] * 5
    _, values = analysis_of("values")
    assert [one.difference for one in found_changes(values, values)[0]] == ["0", "0"]
    _, many = analysis_of("many")
    first, others = found_changes(many, many)
    assert others and len(first) + len(others) == 71
    assert "Show all 71" in comparison(many, many)
    _, one_of_six = analysis_of("one_of_six")
    assert [one.remarks for one in found_changes(one_of_six, one_of_six)[0]] == [("named",)] + [("not named",)] * 5


def test_names_are_text(pair):
    hostile = replace(pair[0], name="<script>.npy", notes=["<b>"])
    shown = comparison(hostile, pair[1])
    assert "<script>.npy" not in shown and "<b></" not in shown
    assert shown.count("<ecg-tracing") == 2 and shown.count('class="ec-beat"') == 12
    assert "research" not in shown and "nor which came first" in shown


def test_uploads_are_compared_and_deleted(comparer, files, analyser):
    csv, npz = stored(comparer, files["csv"]), stored(comparer, files["npz"])
    with pytest.raises(ValueError, match="ecg.csv: the file does not state its sampling rate"):
        comparer.show_uploads(csv, npz, None, None, None, *NO_FORM)
    comparer.storage.check_kept([*csv, *npz])  # for another try
    # What the form says of the table does not contradict the archive, which states its own rate.
    shown = comparer.show_uploads(csv, npz, None, None, None, 500.0, "mV", "", False, False)
    assert shown[:2] == [None, None] and 'data-change="heart_rate_bpm"' in shown[2]
    assert "8.0 s at 500 Hz" in shown[2] and "10.0 s at 400 Hz" in shown[2]
    with pytest.raises(ValueError, match="no longer kept, 5 minutes at most"):
        comparer.show_uploads(csv, npz, None, None, None, *NO_FORM)


def test_two_exams_of_one_kind_of_file(comparer, files):
    paths = [stored(comparer, files["hdf5"]), stored(comparer, files["hdf5"])]
    shown = comparer.show_uploads(*paths, None, "7", "8", *NO_FORM)[2]
    assert "ecg.hdf5, exam 7" in shown and "ecg.hdf5, exam 8" in shown


def test_the_new_one_may_be_the_last_result(comparer, files, pair):
    npz = stored(comparer, files["npz"])
    with pytest.raises(ValueError, match="found no earlier one"):
        comparer.show_uploads([], npz, None, None, None, *NO_FORM)
    with pytest.raises(ValueError, match='found no new one; choose its file, or read one under "One ECG" first'):
        comparer.show_uploads(npz, [], None, None, None, *NO_FORM)
    key = comparer.shelf.put(pair[1])
    assert pair[1].name in comparer.show_uploads(npz, [], key, None, None, *NO_FORM)[2]
    assert comparer.shelf.get(key) is pair[1]


def test_same_ecg_differs_in_nothing(analyser, signal):
    first, second = (analyser.analyse(EcgRecord(signal, 400.0, None, "mV", f"{i}.npy")) for i in range(2))
    changes = [*measured_changes(first, second), *found_changes(first, second)[0]]
    assert {one.difference for one in changes} <= {"0 bpm", "0 ms", "0\N{DEGREE SIGN}", "0.0", ""}
    np.testing.assert_array_equal(first.signal, second.signal)
