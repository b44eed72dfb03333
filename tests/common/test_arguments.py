"""Command lines of dataclasses."""

from dataclasses import dataclass, field

import pytest

from common.arguments import Parser, parse


@dataclass
class Where:
    """Where it goes."""

    output_dir: str = field(metadata={"help": "Folder."})
    num_proc: int = field(default=1, metadata={"help": "Processes."})

    def __post_init__(self):
        if self.num_proc < 1:
            raise ValueError(f"--num_proc must be at least 1: found {self.num_proc}")


@dataclass
class How:
    """How it is done. In more words."""

    name: str | None = field(default=None, metadata={"help": "Of it; 100 %% free."})
    verify: bool = field(default=True, metadata={"help": "Compare."})
    public: bool = field(default=False, metadata={"help": "Show it."})


DOC = r"""
Does it.

Example:
    do --output_dir here \\
        --num_proc 2
"""


def test_help_has_groups_one_spelling_and_the_example_as_written():
    text = Parser(DOC, Where, How).format_help()
    assert "\nWhere it goes:\n" in text and "\nHow it is done. In more words:\n" in text
    assert "    do --output_dir here \\\\\n        --num_proc 2\n" in text
    assert "--output-dir" not in text and "--output_dir DIR [options]" in text.splitlines()[0]
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "--output_dir DIR Folder." in lines and "--num_proc N Processes (default: 1)." in lines
    assert "--name NAME Of it; 100 % free." in lines
    assert "--verify, --no_verify Compare." in lines and "--public Show it." in lines


def test_both_spellings_and_values_of_switches_are_understood():
    where, how = parse(["--output-dir", "x", "--no-verify", "--public", "true"], DOC, Where, How)
    assert (where.output_dir, how.verify, how.public) == ("x", False, True)


def test_an_impossible_value_is_a_usage_line_and_a_line(capsys):
    with pytest.raises(SystemExit, match="2"):
        parse(["--output_dir", "x", "--num_proc", "0"], DOC, Where)
    usage, error = capsys.readouterr().err.splitlines()
    assert usage.startswith("usage:") and error.endswith("error: --num_proc must be at least 1: found 0")
