from pathlib import Path

import pytest
from accelerate.commands.launch import _validate_launch_command, launch_command_parser


CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def launch(name, *more):
    arguments = ["--config_file", str(CONFIGS / f"{name}.yaml"), *more, "train_clip.py", "--output_dir", "x"]
    return _validate_launch_command(launch_command_parser().parse_args(arguments))[0]


def test_every_file_is_tested():
    assert {path.stem for path in CONFIGS.iterdir()} == {"single_gpu", "multi_gpu", "multi_node", "cpu_two_processes"}


@pytest.mark.parametrize(
    ("name", "machines", "processes", "several", "precision"),
    [
        ("single_gpu", 1, 1, False, "bf16"),
        ("multi_gpu", 1, 8, True, "bf16"),
        ("multi_node", 2, 16, True, "bf16"),
        ("cpu_two_processes", 1, 2, True, "no"),
    ],
)
def test_accelerate_reads_what_is_meant(name, machines, processes, several, precision):
    arguments = launch(name)
    assert (arguments.num_machines, arguments.num_processes) == (machines, processes)
    assert bool(arguments.multi_gpu) == several
    assert arguments.mixed_precision == precision
    assert arguments.training_script == "train_clip.py"


def test_the_command_line_comes_before_the_file():
    arguments = launch("multi_node", "--machine_rank", "1", "--main_process_ip", "node0", "--num_processes", "8")
    assert (arguments.machine_rank, arguments.main_process_ip, arguments.num_processes) == (1, "node0", 8)
    assert arguments.main_process_port == 29500
