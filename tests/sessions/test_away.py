"""Redis is gone, or hangs: nobody is logged out, nobody waits long, who needs no session notices nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import JSONResponse

from fivenines.errors import ReplyLostError, StoreUnavailableError
from fivenines.store._embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.requests import Request

    Start = Callable[..., Any]

TOUCHES: list[Callable[[Any], Any]] = [
    lambda session: session["x"],
    lambda session: session.get("x"),
    lambda session: "x" in session,
    lambda session: len(session),
    lambda session: bool(session),
    lambda session: list(session),
    lambda session: session.principal,
    lambda session: session.new,
    lambda session: session.pop("x", None),
    lambda session: session.__setitem__("x", 1),
    lambda session: session.__delitem__("x"),
    lambda session: session.clear(),
    lambda session: session.update({"x": 1}),
]
ACTS: list[Callable[[Any], Any]] = [
    lambda session: session.login("ada"),
    lambda session: session.logout(),
    lambda session: session.logout_everywhere(),
    lambda session: session.increment("n"),
    lambda session: session.update("n", lambda value: value),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A Redis that this test may stop and freeze; it keeps its data."""
    server = EmbeddedServer(tmp_path)
    server.start()
    try:
        yield server
    finally:
        if server._process is not None:
            _freeze(server, signal.SIGCONT)
        server.stop()


def _freeze(server: EmbeddedServer, sign: signal.Signals) -> None:
    assert server._process is not None
    os.kill(server._process.pid, sign)


async def touch_all(request: Request) -> JSONResponse:
    assert not request.session.available
    assert repr(request.session) == "<Session unavailable>"
    for touch in TOUCHES:
        with pytest.raises(StoreUnavailableError):
            touch(request.session)
    for act in ACTS:
        with pytest.raises(StoreUnavailableError):
            await act(request.session)
    return JSONResponse({})


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stopped", "frozen"])
async def test_redis_away(start: Start, server: EmbeddedServer, how: str) -> None:
    """503 with Retry-After within a second, never 401 and never an empty session; then all is as before."""
    async with start(touch_all, redis_url=server.start()) as lab:
        await lab.pool.get("/login")
        await lab.pool.get("/put?cart=tea")
        browser, stranger = lab.pool.browser, lab.pool.new_browser()
        cookie = browser.cookies["session"]
        await asyncio.to_thread(server.stop) if how == "stopped" else _freeze(server, signal.SIGSTOP)

        for path in ("/me", "/show", "/put?x=1", "/count", "/login", "/logout", "/logout_everywhere"):
            begun = time.perf_counter()
            response = await browser.get(path)
            assert (response.status_code, response.headers["retry-after"]) == (503, "1"), path
            assert "set-cookie" not in response.headers
            assert time.perf_counter() - begun < 1
        assert (await browser.get("/nothing")).status_code == 200
        assert (await browser.get("/touch_all")).status_code == 200
        assert (await stranger.get("/nothing")).status_code == 200
        assert (await stranger.get("/show")).json() == {"new": True}
        assert (await stranger.get("/me")).status_code == 401  # no cookie: Redis would say nothing else
        assert (await stranger.get("/put?x=1")).status_code == 503
        assert browser.cookies["session"] == cookie

        await asyncio.to_thread(server.start) if how == "stopped" else _freeze(server, signal.SIGCONT)
        for replica in (0, 1):
            for _ in range(50):  # 1 s
                response = await browser.get("/show", replica=replica)
                if response.status_code != 503:
                    break
                await asyncio.sleep(0.02)
            assert (response.status_code, response.json().get("cart")) == (200, "tea")
        assert (await browser.get("/me")).json() == {"user": "ada"}


@pytest.mark.parametrize(("path", "repeated"), [("/count", False), ("/put?x=1", True)])
async def test_lost_answer_of_a_count_is_never_sent_twice(start: Start, path: str, repeated: bool) -> None:
    """When the connection breaks after the command: a save is sent again, a count is not, and answers 503."""
    async with start() as lab:
        await lab.pool.get("/login")
        await lab.pool.get("/count", replica=0)
        await lab.pool.get("/put?x=0", replica=0)
        commands = _lose_third_answer(lab.pool.services[0]._holder.current().runtime.store)
        response = await lab.pool.get(path, replica=0)

        assert response.status_code == (200 if repeated else 503)
        assert len(commands) == (4 if repeated else 3)
        shown = (await lab.pool.get("/show", replica=1)).json()
        assert (shown["n"], shown["x"]) == ((1, "1") if repeated else (2, "0"))


def _lose_third_answer(store: Any) -> list[Any]:
    """The load and the generation are answered; the command after them runs, and its answer gets lost."""
    commands: list[Any] = []

    def do(*command: Any) -> asyncio.Future[Any]:
        commands.append(command)
        future = type(store).do(store, *command)
        if len(commands) != 3:
            return future
        lost: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: lost.set_exception(ReplyLostError(f"cut: {done.exception()}")))
        return lost

    store.do = do
    return commands
