"""What comes about in another thread or process: waiting for it, and failing where it does not come."""

import time


def wait_until(condition, seconds=10):
    """Returns when `condition()` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)
