from space.failures import sentence_of


def test_what_is_no_fault_of_the_visitor_names_nothing_of_the_ecg(caplog):
    assert sentence_of(ValueError("ecg.npy: too short")) == "ecg.npy: too short"
    for error in (RuntimeError("patient 4711"), raised(RuntimeError("patient 4711"))):
        assert sentence_of(error) == "this could not be done; the server's log says where it failed"
    assert "4711" not in caplog.text
    assert "RuntimeError in no line of code" in caplog.text and "RuntimeError in raised, line" in caplog.text


def raised(error):
    """The error as it is when something raised it."""
    try:
        raise error
    except RuntimeError as caught:
        return caught
