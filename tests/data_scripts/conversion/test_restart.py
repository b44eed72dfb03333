"""A conversion that was ended in the middle goes on where it was; its table is that of a run without a break."""

import errno
import json
import multiprocessing
import os
import resource
import shutil
import signal
import time

import numpy as np
import pytest

from data_scripts import code15
from data_scripts.conversion import run as conversion
from data_scripts.conversion import shards
from data_scripts.conversion.builder import SourceSettings
from data_scripts.conversion.run import ConversionArguments, run_conversion
from data_scripts.tables.digest import table_digest
from data_scripts.tables.schema import load_exam_table
from tests.data_scripts.code15_layout import exams_frame, make_tracing, write_part
from tests.data_scripts.conversion import noise


class Noise(noise.Noise):
    """Stops at an exam, as often as it is told to."""

    fails = {}  # exam to what happens there
    read = []  # exams that were read, in this process

    def read_recordings(self, exams):
        for exam, recording in zip(exams, super().read_recordings(exams), strict=True):
            number = int(exam["exam_id"])
            if number in self.fails:
                self.fails[number]()
            self.read.append(number)
            yield recording


def disk_full():
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 10)
    monkeypatch.setattr(Noise, "fails", {})
    monkeypatch.setattr(Noise, "read", [])


def convert_noise(tmp_path, repair_nan=False, output="out", **changes):
    arguments = ConversionArguments(output_dir=str(tmp_path / output), **changes)
    return run_conversion(Noise, SourceSettings(str(tmp_path), repair_nan), arguments)


@pytest.fixture
def interrupted(tmp_path, capsys):
    """A folder in which a run was ended by a full disk at exam 35 of 40, in its fourth shard of ten; its digest."""
    whole = convert_noise(tmp_path, output="whole")["digest"]
    Noise.fails[35] = disk_full
    with pytest.raises(OSError, match="No space left"):
        convert_noise(tmp_path)
    assert not (tmp_path / "out").exists()
    assert "out.incomplete keeps 3 finished shards: the same command goes on there" in capsys.readouterr().err
    Noise.fails.clear()
    Noise.read.clear()
    return whole


def finish(tmp_path, **changes):
    """Runs again; returns the record and which exams were read."""
    record = convert_noise(tmp_path, **changes)
    assert not (tmp_path / "out.incomplete").exists()
    assert table_digest(load_exam_table(tmp_path / "out")) == record["digest"]
    return record, list(Noise.read)


def test_finished_shards_are_not_read_again(interrupted, tmp_path, capsys):
    record, read = finish(tmp_path)
    assert read == list(range(30, 40))
    assert record["digest"] == interrupted and record["found"] == record["kept"] == 40
    assert "going on in" in capsys.readouterr().err


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def drop_a_row(path):
    record = json.loads(path.read_text())
    record["digests"]["test"] = record["digests"]["test"][32:]
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("train/data-00001-of-00004.arrow", cut),
        ("train/data-00001-of-00004.arrow", flip),
        ("test/data-00001-of-00004.arrow", os.unlink),
        ("test/data-00001-of-00004.arrow", lambda path: path.write_bytes(b"")),
        ("work/shards/000001.json", cut),
        ("work/shards/000001.json", drop_a_row),
        ("work/shards/000001.json", lambda path: path.write_text("{}")),
        ("work/shards/000001.json", lambda path: path.write_bytes(bytes(500))),
    ],
)
def test_a_torn_shard_is_recognised_and_written_again(interrupted, tmp_path, file, damage):
    damage(tmp_path / "out.incomplete" / file)
    record, read = finish(tmp_path)
    assert read == [*range(10, 20), *range(30, 40)]
    assert record["digest"] == interrupted


def test_other_settings_start_over_and_another_part_is_read_again(interrupted, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(Noise.fails, 35, disk_full)
    with pytest.raises(OSError, match="No space left"):
        convert_noise(tmp_path, repair_nan=True)
    assert Noise.read == list(range(35)) and "starting over" in capsys.readouterr().err
    Noise.read.clear()
    Noise.fails.clear()
    (tmp_path / "a").write_text("now the part is another file")
    record, read = finish(tmp_path, repair_nan=True)
    # The shards of exams 0 to 19 are of part a; that of 20 to 29 is of b and was finished.
    assert read == [*range(20), *range(30, 40)] and record["digest"] == interrupted
    assert f"{tmp_path / 'a'} was changed since the interrupted run" in capsys.readouterr().err


def test_ctrl_c_keeps_what_is_finished(tmp_path, request):
    # A shell's background jobs ignore the signal, and so would Python.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))

    def ctrl_c():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)  # the main thread is told meanwhile

    Noise.fails[15] = ctrl_c
    with pytest.raises(KeyboardInterrupt):
        convert_noise(tmp_path)
    Noise.fails.clear()
    Noise.read.clear()
    assert finish(tmp_path)[1] == list(range(10, 40))


def test_a_killed_process_is_an_error_and_the_next_run_goes_on(tmp_path):
    Noise.fails[35] = lambda: os.kill(os.getpid(), signal.SIGKILL)
    with pytest.raises(ChildProcessError, match="a process of the conversion was killed"):
        convert_noise(tmp_path, num_proc=2)
    Noise.fails.clear()
    record, read = finish(tmp_path)
    assert 35 in read and len(read) < 40 and record["kept"] == 40


def convert_until_told(tmp_path, begun, go_on):
    def wait():
        begun.set()
        go_on.wait(60)

    Noise.fails[35] = wait
    convert_noise(tmp_path)


@pytest.fixture
def other_run(tmp_path):
    """Another process that converts into `out`, and has come to exam 35; what lets it go on."""
    begun, go_on = (multiprocessing.get_context("fork").Event() for _ in range(2))
    process = in_a_process(convert_until_told, tmp_path, begun, go_on)
    assert begun.wait(60)
    yield process, go_on
    process.kill()
    process.join()


def test_two_runs_never_write_the_same_table(other_run, tmp_path):
    process, go_on = other_run
    with pytest.raises(BlockingIOError, match=f"out is being written by process {process.pid} on "):
        convert_noise(tmp_path, overwrite_output_dir=True)
    go_on.set()
    process.join()
    assert process.exitcode == 0
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("out")) == ["out"]
    assert table_digest(load_exam_table(tmp_path / "out")) == convert_noise(tmp_path, output="again")["digest"]


def test_what_another_run_finished_meanwhile_is_not_replaced(other_run, tmp_path, monkeypatch):
    """The second has passed its check, and is about to take the lock, while the first finishes."""
    process, go_on = other_run
    take = conversion.only_writer

    def after_the_other(folder):
        go_on.set()
        process.join()
        return take(folder)

    monkeypatch.setattr(conversion, "only_writer", after_the_other)
    with pytest.raises(FileExistsError, match="holds an exam table: choose another folder, or replace it"):
        convert_noise(tmp_path)
    assert process.exitcode == 0 and load_exam_table(tmp_path / "out")["train"]
    assert not (tmp_path / "out.incomplete").exists()


def unreadable():
    raise ValueError("part b: not readable")


def test_an_error_of_the_source_keeps_what_is_finished(tmp_path):
    Noise.fails[35] = unreadable
    with pytest.raises(ValueError, match="part b: not readable"):
        convert_noise(tmp_path)
    Noise.fails.clear()
    Noise.read.clear()
    assert finish(tmp_path)[1] == list(range(30, 40))


def test_an_error_before_the_first_shard_leaves_nothing(tmp_path):
    Noise.fails[5] = unreadable
    with pytest.raises(ValueError, match="part b: not readable"):
        convert_noise(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("exam", [25, 35])
def test_a_source_that_changes_while_it_is_read_is_refused_by_name(tmp_path, exam):
    """Within a shard, and after a shard of the same part was finished."""
    part = tmp_path / "b"
    part.write_text("before")
    Noise.fails[exam] = lambda: part.write_text("after a while")
    message = f"{part}: changed while it was read: expected 6 bytes of .*, found 13 bytes"
    with pytest.raises(ValueError, match=message):
        convert_noise(tmp_path)
    assert not (tmp_path / "out").exists()
    Noise.fails.clear()
    Noise.read.clear()
    assert finish(tmp_path)[1] == list(range(20, 40))  # all of that part, nothing of the other


def test_records_that_change_while_they_are_read_are_noticed(tmp_path, monkeypatch):
    """Of a part that is a folder, the files of each exam count."""
    monkeypatch.setattr(Noise, "located", True)
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
    record = tmp_path / "a" / "3.dat"
    record.write_text("before")
    Noise.fails[15] = lambda: record.write_text("after")  # its shard is finished by then
    with pytest.raises(ValueError, match=f"{tmp_path / 'a'}: changed while it was read"):
        convert_noise(tmp_path)
    Noise.fails[5] = lambda: record.write_text("again")
    with pytest.raises(ValueError, match=f"{record}: changed while it was read"):
        convert_noise(tmp_path)
    Noise.fails.clear()
    Noise.read.clear()
    assert finish(tmp_path)[1] == list(range(10))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """160 exams in the layout of CODE-15%, one of them with NaN and one in no line of exams.csv."""
    folder = tmp_path_factory.mktemp("archive") / "code15"
    folder.mkdir()
    parts = {"exams_part0.hdf5": range(1, 101), "exams_part1.hdf5": range(101, 161)}
    for part, ids in parts.items():
        tracings = [make_tracing(i % 7) + np.float32(i / 1000) for i in ids]
        tracings[17][5, 5] = np.nan
        write_part(folder / part, ids, tracings)
    exams_frame(parts).iloc[:-1].to_csv(folder / "exams.csv", index=False)
    return folder


def command(folder, output):
    return ["--source_dir", str(folder), "--output_dir", str(output), "--num_proc", "2"]


def in_a_process(function, *arguments):
    """Starts a forked process: as good as any to be killed, and no seconds of imports."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


def convert_in_little_room(folder, output, message):
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000_000, 6_000_000))
    try:
        code15.main(command(folder, output))
    except OSError as error:
        message.write_text(str(error))


def test_a_file_that_the_disk_does_not_take_is_named_and_the_next_run_goes_on(archive, tmp_path, monkeypatch):
    """The system itself refuses to let a file grow, as it does on a full disk."""
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 100)
    in_a_process(convert_in_little_room, archive, tmp_path / "out", tmp_path / "message").join()
    # The first shard of 100 exams is larger than that, the second of 60 is not.
    path = tmp_path / "out.incomplete" / "train" / "data-00000-of-00002.arrow"
    assert (tmp_path / "message").read_text() == f"[Errno 27] File too large: '{path}'"
    assert not (tmp_path / "out").exists()
    finished = [path.name for path in (tmp_path / "out.incomplete" / "work").glob("shards/*")]
    assert finished in (["000001.json"], [])  # as far as the other process had come
    record = code15.main(command(archive, tmp_path / "out"))
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 16)
    assert record == code15.main(command(archive, tmp_path / "again"))


def test_killed_before_the_last_renaming_it_starts_over(archive, tmp_path, monkeypatch):
    def kill(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patched:
        patched.setattr(conversion, "put_in_place", kill)
        in_a_process(code15.main, command(archive, tmp_path / "out")).join()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.incomplete", "out.lock"]
    assert code15.main(command(archive, tmp_path / "out"))["kept"] == 157
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_truncated_part_costs_none_of_the_others(archive, tmp_path, monkeypatch, capsys):
    """Damaged between two runs: it is named, the others' shards stay, and what was repaired is read again."""
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 20)
    source = tmp_path / "source"
    shutil.copytree(archive, source)
    expected = code15.main([*command(source, tmp_path / "whole")])
    part = source / "exams_part1.hdf5"
    content = part.read_bytes()
    read = code15.Code15.read_recordings

    def truncated_meanwhile(self, exams):
        if exams[0]["part"] == part.name:
            part.write_bytes(content[:-100_000])
        return read(self, exams)

    arguments = ["--source_dir", str(source), "--output_dir", str(tmp_path / "out")]
    message = f"{part}: not a readable HDF5 file, or truncated"
    with monkeypatch.context() as patched:
        patched.setattr(code15.Code15, "read_recordings", truncated_meanwhile)
        with pytest.raises(ValueError, match=message):
            code15.main(arguments)
    finished = tmp_path / "out.incomplete" / "work" / "shards"
    assert sorted(path.name for path in finished.iterdir()) == [f"00000{number}.json" for number in range(5)]
    with pytest.raises(ValueError, match=message):
        code15.main(arguments)
    assert len(list(finished.iterdir())) == 5
    part.write_bytes(content)
    again = []
    monkeypatch.setattr(code15.Code15, "read_recordings", lambda self, exams: again.extend(exams) or read(self, exams))
    assert code15.main(arguments) == expected
    assert {exam["part"] for exam in again} == {part.name}
    assert f"{part} was changed since the interrupted run" in capsys.readouterr().err


def convert_slowly(folder, output):
    """The command line, with 4 ms for each exam and seconds for the end, so that a kill finds it at work."""
    convert, describe = shards.standard_recording, conversion._describe

    def slow(*recording):
        time.sleep(0.004)
        return convert(*recording)

    def slow_end(*table):
        time.sleep(20)
        return describe(*table)

    shards.standard_recording, conversion._describe = slow, slow_end
    code15.main(command(folder, output))


def test_killed_at_ten_random_moments_it_gives_the_same_table(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 5)
    expected = code15.main(command(archive, tmp_path / "whole"))
    assert (expected["found"], expected["kept"], expected["rejected"]) == (160, 157, 3)
    output = tmp_path / "out"
    finished = tmp_path / "out.incomplete" / "work" / "shards"
    random = np.random.default_rng(15)
    # Ten moments, told by how many of the 32 shards are finished, and some milliseconds: from before the first to
    # after the last.
    moments = [0, *sorted(random.integers(0, 32, 8).tolist()), 32]
    n_killed = 0
    for moment in moments:
        process = in_a_process(convert_slowly, archive, output)
        deadline = time.monotonic() + 30
        while process.is_alive() and len(list(finished.glob("*[0-9].json"))) < moment and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        n_killed += process.exitcode == -signal.SIGKILL
        assert not output.exists()
    assert n_killed == 10
    record = code15.main(command(archive, output))
    assert record == expected
    assert table_digest(load_exam_table(output)) == expected["digest"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]
    rejected = (output / "rejected.csv").read_text()
    assert rejected == (tmp_path / "whole" / "rejected.csv").read_text() and rejected.count("NaN or infinite") == 2
