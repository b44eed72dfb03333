import numpy as np
import pytest

from data_scripts.simulate.exam import simulate_exam
from modeling_ecgclip import read_ecg
from space import make_examples
from space.example_list import EXAMPLES, FOLDER


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.files[0])
def test_bundled_file_is_what_the_simulator_makes(example):
    record = read_ecg(example.paths[0])
    exam = simulate_exam(make_examples.SEED, example.index, make_examples.PREVALENCE_SCALE)
    # Halfway between two of the recorder's steps the processor's last bits decide: one moment of an exam, where any.
    difference = np.abs(np.asarray(record.signal, np.float32) - exam.signal)
    assert difference.max() <= np.diff(np.unique(exam.signal[0])).min()
    assert (difference > 0).any(axis=0).sum() <= 1
    assert (record.sampling_rate, record.unit) == (400, "mV")
    assert all(name.startswith("simulated_") for name in example.files)


def test_titles_say_what_the_simulator_put_in():
    labels = [
        {
            name
            for name, value in simulate_exam(
                make_examples.SEED, example.index, make_examples.PREVALENCE_SCALE
            ).labels.items()
            if value
        }
        for example in EXAMPLES
    ]
    assert labels == [set(), {"RBBB", "AF"}, {"LBBB"}, {"ST"}]


def test_command_writes_them_again(tmp_path):
    make_examples.main(["--output_dir", str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in FOLDER.iterdir())
    assert (tmp_path / "simulated_normal.dat").read_bytes() == (FOLDER / "simulated_normal.dat").read_bytes()
