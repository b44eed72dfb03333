import asyncio
import threading
import time

import pytest

from space import turns as turns_module
from space.turns import BusyError, Turns


def run(scenario, **settings):
    """What a scenario returns that is given `Turns`."""
    return asyncio.run(scenario(Turns(**settings)))


def test_one_after_the_other_and_what_each_returns():
    running, most = [], []

    def work(number):
        running.append(number)
        most.append(len(running))
        time.sleep(0.01)
        running.remove(number)
        return 2 * number

    async def scenario(turns):
        return await asyncio.gather(*(turns.take("a", None, work, number) for number in range(8)))

    assert run(scenario) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert max(most) == 1


def test_addresses_take_turns():
    order = []

    async def scenario(turns):
        asked = [turns.take("a", None, order.append, f"a{i}") for i in range(5)]
        await asyncio.gather(*asked, *(turns.take("b", None, order.append, f"b{i}") for i in range(2)))

    run(scenario)
    assert order == ["a0", "b0", "a1", "b1", "a2", "a3", "a4"]


def test_who_joins_and_leaves_delays_nobody():
    ran = []

    async def scenario(turns):
        async def abandoned(number):
            with pytest.raises(BusyError, match="nobody waits"):
                await turns.take("a", f"gone {number}", ran.append, "abandoned")

        left = [asyncio.create_task(abandoned(number)) for number in range(14)]
        await asyncio.sleep(0)
        turns.listening["here"] += 1
        started = time.monotonic()
        await turns.take("a", "here", ran.append, "here")
        waited = time.monotonic() - started
        await asyncio.gather(*left)
        return waited, time.monotonic() - started

    waited, all_gone = run(scenario, grace_s=0.5)
    assert ran == ["here"]
    assert waited < 0.4 < all_gone < 5


def test_a_session_may_begin_to_listen_a_little_later():
    async def scenario(turns):
        asked = asyncio.create_task(turns.take("a", "late", lambda: "served"))
        await asyncio.sleep(0.2)
        turns.listening["late"] += 1
        return await asked

    assert run(scenario) == "served"


def test_places_to_wait_are_counted():
    async def scenario(turns):
        turns.listening.update({"s": 1})
        free = threading.Event()
        asked = [asyncio.create_task(turns.take("z", None, free.wait, 10))]
        await asyncio.sleep(0.05)  # it runs, and waits no more

        async def ask(address, session):
            asked.append(asyncio.create_task(turns.take(address, session, print)))
            await asyncio.sleep(0)

        await ask("a", "s")
        await ask("a", "s")
        with pytest.raises(BusyError, match="your last clicks"):
            await turns.take("b", "s", print)
        await ask("a", None)
        with pytest.raises(BusyError, match="3 others are waiting"):
            await turns.take("a", None, print)  # of its address
        await ask("b", None)
        with pytest.raises(BusyError, match="4 others are waiting"):
            await turns.take("c", None, print)  # of all
        free.set()
        await asyncio.gather(*asked)
        return await turns.take("a", "s", lambda: "free again")

    assert run(scenario, max_waiting=4, max_of_address=3, max_of_session=2) == "free again"


def test_what_takes_too_long_is_given_up_and_others_go_on():
    async def scenario(turns):
        slow = asyncio.create_task(turns.take("a", None, time.sleep, 0.6))
        await asyncio.sleep(0)
        quick = await turns.take("a", None, lambda: "served")
        with pytest.raises(TimeoutError, match="longer than 0.1 s and was given up"):
            await slow
        return quick

    started = time.monotonic()
    assert run(scenario, timeout_s=0.1) == "served"
    assert time.monotonic() - started < 5


def test_errors_are_the_caller_s():
    def fails():
        raise ValueError("row 3")

    async def scenario(turns):
        with pytest.raises(ValueError, match="row 3"):
            await turns.take("a", None, fails)
        return await turns.take("a", None, lambda: 1)

    assert run(scenario) == 1


def test_each_of_many_things_has_a_turn_and_its_own_error(monkeypatch):
    monkeypatch.setattr(turns_module, "RETRY_S", 0.01)

    def work(number):
        if number == 1:
            raise KeyError("one")
        return 2 * number

    async def scenario(turns):
        turns.listening["s"] += 1
        free = threading.Event()
        busy = [asyncio.create_task(turns.take("b", None, free.wait, 10))]
        await asyncio.sleep(0.05)  # it runs, and no place to wait is left:
        busy += [asyncio.create_task(turns.take("b", None, free.wait, 10)) for _ in range(2)]
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.1, free.set)
        found = [one async for one in turns.take_each("a", "s", work, range(3), within_s=10)]
        await asyncio.gather(*busy)
        late = [one async for one in turns.take_each("a", "s", work, range(2), within_s=-1)]
        del turns.listening["s"]
        with pytest.raises(BusyError, match="nobody waits"):
            async for _ in turns.take_each("a", "s", work, range(2), within_s=10):
                pass
        return found, late

    found, late = run(scenario, max_waiting=2, grace_s=0.1)
    assert (found[0], type(found[1]), found[2]) == (0, KeyError, 4)
    assert [str(one) for one in late] == ["not begun, since all together took too long: send fewer at once"] * 2
