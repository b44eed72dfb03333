"""The beginning of a training run."""

import pytest

from training.run import check_tracker


def test_a_tracker_that_is_not_there_is_refused_by_name():
    check_tracker("none")
    check_tracker("tensorboard")
    with pytest.raises(ValueError, match="--report_to foo: expected none or one of .*tensorboard"):
        check_tracker("foo")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("training.run.get_available_trackers", list)
    with pytest.raises(ValueError, match="--report_to comet_ml: this tracker is not installed: pip install comet-ml"):
        check_tracker("comet_ml")
