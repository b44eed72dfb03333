from dataclasses import replace

import pytest

from modeling_ecgclip import EcgRecord
from space.shelf import Shelf


@pytest.fixture(scope="module")
def analysis(analyser, signal):
    return analyser.analyse(EcgRecord(signal, 400.0, None, "mV", "ecg.npy"))


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_results_go_after_a_while(analysis):
    clock = Clock()
    shelf = Shelf(8, 10**9, keep_s=300, clock=clock)
    key, other = shelf.put(analysis), shelf.put(analysis)
    assert key != other and len(key) > 20
    clock.now = 299
    assert shelf.get(key) is analysis
    clock.now = 400
    assert shelf.get(key) is analysis  # each use begins the time anew
    with pytest.raises(ValueError, match="no longer kept .*5 minutes.*upload the ECG again"):
        shelf.get(other)
    clock.now = 800
    shelf.tidy()
    assert len(shelf) == 0 and shelf.n_bytes == 0


def test_the_oldest_go_where_there_are_too_many(analysis):
    shelf = Shelf(3, 10**9, keep_s=300)
    keys = [shelf.put(analysis) for _ in range(3)]
    shelf.get(keys[0])
    newest = shelf.put(analysis)
    assert len(shelf) == 3 and shelf.get(keys[0]) and shelf.get(newest)
    with pytest.raises(ValueError, match="upload the ECG again"):
        shelf.get(keys[1])


def test_memory_has_a_bound(analysis):
    shelf = Shelf(1000, 3 * analysis.n_bytes, keep_s=300)
    for _ in range(10):
        shelf.put(analysis)
    assert len(shelf) == 3 and shelf.n_bytes == 3 * analysis.n_bytes


def test_a_result_is_replaced_and_dropped(analysis):
    shelf = Shelf(3, 10**9, keep_s=300)
    key = shelf.put(analysis)
    assert shelf.put(replace(analysis, name="later"), key) == key and shelf.get(key).name == "later"
    shelf.drop(key)
    shelf.drop(None)
    for gone in (key, None, ""):
        with pytest.raises(ValueError, match="no longer kept"):
            shelf.get(gone)
