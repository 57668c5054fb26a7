"""Runtime, context, events: what belongs to one replica and one request."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fivenines._marks import mark, marks_of
from fivenines._runtime import Runtime, current_runtime, propagate
from fivenines.context import RequestInfo, current_request, remaining, request_variable
from fivenines.events import Events, SessionEnded, StoreLost
from fivenines.lifecycle import Lifecycle
from fivenines.settings import Settings


def runtime() -> Runtime:
    return Runtime(Settings.from_environment({}))


def test_local_state_is_made_once_for_each_replica() -> None:
    """Two replicas in one process share nothing."""
    one, two = runtime(), runtime()

    assert one.local(Lifecycle) is one.local(Lifecycle)
    assert one.local(Lifecycle) is not two.local(Lifecycle)
    assert one.local(dict, key="a") is not one.local(dict, key="b")


async def test_the_runtime_is_found_by_context_and_not_by_process() -> None:
    """Tasks of two replicas, interleaved."""
    one, two = runtime(), runtime()

    async def look(expected: Runtime) -> None:
        with expected.bind():
            for _ in range(20):
                await asyncio.sleep(0)
                assert current_runtime() is expected

    await asyncio.gather(look(one), look(two))
    with pytest.raises(RuntimeError, match="propagate"):
        current_runtime()


async def test_propagate_carries_the_context_into_threads() -> None:
    """Into many at once, too; without it the error names it."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(4) as pool, runtime().bind() as bound:
        found = await asyncio.gather(*(loop.run_in_executor(pool, propagate(current_runtime)) for _ in range(8)))
        with pytest.raises(RuntimeError, match="propagate"):
            await loop.run_in_executor(pool, current_runtime)

    assert set(map(id, found)) == {id(bound)}


def test_remaining_counts_down_to_zero() -> None:
    """None where there is no deadline, and never below zero."""
    assert remaining() is None
    assert current_request() is None
    info = RequestInfo("GET", "/")
    token = request_variable.set(info)
    try:
        assert remaining() is None
        info.deadline = time.monotonic() + 10
        assert 9 < (remaining() or 0) <= 10
        info.deadline = time.monotonic() - 1
        assert remaining() == 0
    finally:
        request_variable.reset(token)


def test_a_listener_that_fails_does_not_reach_the_request(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; the others still hear; a subscription ends."""
    events, heard = Events(), []

    def fails(event: SessionEnded) -> None:
        raise ZeroDivisionError

    events.subscribe(SessionEnded, fails)
    end = events.subscribe(SessionEnded, heard.append)
    with caplog.at_level(logging.ERROR):
        events.emit(SessionEnded(principal="ada", everywhere=True))
    end()
    events.emit(SessionEnded(principal="ada", everywhere=True))
    events.emit(StoreLost(reason="", lost=0))

    assert len(heard) == 1
    assert "ZeroDivisionError" in caplog.text
    assert not events.wanted(StoreLost)


def test_marks_add_up_in_any_order_and_stay_with_their_class() -> None:
    """A subclass of a class endpoint does not write into its parent's."""

    class Parent:
        pass

    class Child(Parent):
        pass

    mark(Parent, authenticated=True)
    mark(Child, csrf_exempt=True)

    assert dict(marks_of(Parent)) == {"authenticated": True}
    assert dict(marks_of(Child)) == {"authenticated": True, "csrf_exempt": True}
    assert dict(marks_of(object())) == {}
