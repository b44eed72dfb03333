"""Finished runs of each kind of output."""

import pytest

from modeling_ecgclip import SignalSpec
from publishing.run_folder import read_run
from tests.publishing.runs import AGE, MANY, SUPERCLASSES, write_run


KINDS = {
    "superclasses": {"labels": SUPERCLASSES},
    "many": {"labels": MANY},
    "multi_class": {"labels": SUPERCLASSES, "problem_type": "single_label_classification"},
    "age": {"labels": AGE, "problem_type": "regression"},
    "one_lead": {"labels": SUPERCLASSES[:1], "signal": SignalSpec(("I",), 500, 5000)},
}


@pytest.fixture(scope="session")
def run_of(tmp_path_factory):
    """Gives a run by the name of its kind; each is made once."""
    folder, made = tmp_path_factory.mktemp("kinds"), {}

    def find(kind):
        if kind not in made:
            made[kind] = read_run(write_run(folder / kind, **KINDS[kind]))
        return made[kind]

    return find
