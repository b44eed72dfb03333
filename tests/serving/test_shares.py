import threading
import time

import pytest

from serving.shares import FairQueue, FairThreads, Full, Shares


def test_shares_are_limited_in_all_and_for_each():
    shares = Shares(3, 2)
    shares.take("a", 2)
    with pytest.raises(Full):
        shares.take("a")
    shares.take("b")
    with pytest.raises(Full):
        shares.take("c")
    shares.give("a", 2)
    shares.take("c", 2)
    assert (shares.taken, shares.of("a"), shares.of("c")) == (3, 0, 2)


def test_addresses_take_turns():
    queue = FairQueue()
    for item in range(4):
        queue.push("a", item)
    queue.push("b", 10)
    assert [queue.pop(0) for _ in range(6)] == [("a", 0), ("b", 10), ("a", 1), ("a", 2), ("a", 3), None]


def test_one_address_waits_until_its_own_are_done():
    queue = FairQueue(at_once=1)
    queue.push("a", 0)
    queue.push("a", 1)
    assert queue.pop(0) == ("a", 0)
    assert queue.pop(0) is None
    queue.push("b", 2)
    assert queue.pop(0) == ("b", 2)
    queue.done("a")
    assert queue.pop(0) == ("a", 1)


def test_only_what_fits():
    queue = FairQueue()
    queue.push("a", "logits")
    queue.push("b", "embeds")
    assert queue.pop(0, lambda item: item == "embeds") == ("b", "embeds")
    assert len(queue) == 1


def test_waiting_ends_with_an_item_and_with_the_queue():
    queue = FairQueue()
    found = []
    threads = [threading.Thread(target=lambda: found.append(queue.pop())) for _ in range(2)]
    for thread in threads:
        thread.start()
    queue.push("a", 1)
    while not found:
        time.sleep(0.01)
    queue.push("b", 2)
    threads[0].join(5), threads[1].join(5)
    assert sorted(found) == [("a", 1), ("b", 2)]
    queue.push("a", 3)
    assert queue.close() == [3]
    assert queue.pop() is None


def test_threads_do_what_is_asked_and_say_what_went_wrong():
    threads = FairThreads(2, at_once=1)
    running = threading.Event()
    slow = threads.submit("a", lambda: running.wait(10))
    behind = threads.submit("a", lambda: "after it")
    assert threads.submit("b", lambda: 1).result(10) == 1
    assert isinstance(threads.submit("b", lambda: 1 / 0).exception(10), ZeroDivisionError)
    assert not behind.done()
    running.set()
    assert slow.result(10) is True and behind.result(10) == "after it"
    threads.stop()
