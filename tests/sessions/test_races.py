"""Requests that overlap, callers that go away, answers that are lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import JSONResponse, StreamingResponse

from fivenines import authenticated
from fivenines.errors import StoreUnavailableError
from fivenines.events import RequestFinished
from fivenines.sessions._store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    Start = Callable[..., Any]


def cookie_of(lab: Any) -> dict[str, str]:
    return {"cookie": f"session={lab.pool.browser.cookies['session']}"}


async def test_save_after_a_logout_brings_nothing_back(start: Start) -> None:
    """A request that was running during the logout saves into nothing, and leaves the browser's cookie alone."""
    loaded, ended = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> JSONResponse:
        loaded.set()
        await ended.wait()
        request.session["late"] = True
        return JSONResponse({})

    async with start(slow) as lab:
        await lab.pool.get("/login")
        running = asyncio.create_task(lab.pool.new_browser().get("/slow", headers=cookie_of(lab), replica=1))
        await loaded.wait()
        await lab.pool.get("/logout", replica=0)
        ended.set()
        response = await running

        assert response.status_code == 200
        # Clearing it here could take away the cookie of a login that came in between.
        assert "set-cookie" not in response.headers
        assert await lab.keys("s") == []


async def test_request_with_the_old_id_does_not_replace_the_logins_cookie(start: Start) -> None:
    """Whether it loaded before the login or after it: no session of its own, no cookie, nothing written."""
    loaded, rotated = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> JSONResponse:
        loaded.set()
        await rotated.wait()
        request.session["late"] = True
        return JSONResponse({})

    async with start(slow) as lab:
        await lab.pool.get("/put?cart=tea")
        old = cookie_of(lab)
        early = asyncio.create_task(lab.pool.new_browser().get("/slow", headers=old, replica=1))
        await loaded.wait()
        await lab.pool.get("/login", replica=0)
        rotated.set()
        late = await lab.pool.new_browser().get("/put?late=1", headers=old, replica=1)

        assert "set-cookie" not in (await early).headers
        assert "set-cookie" not in late.headers
        assert len(await lab.sessions()) == 1
        assert (await lab.pool.get("/show")).json() == {"new": False, "cart": "tea"}
        (marker,) = set(await lab.keys("s")) - set(await lab.sessions())
        assert await lab.store.do("HGETALL", marker) == {b"x": b"1"}
        assert 0 < await lab.store.do("PTTL", marker) <= 60_000


async def test_write_during_the_login_goes_along(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another request wrote into the old session up to its last moment is found in the new one."""
    create = SessionStore.create

    async def create_after_another_request(self: SessionStore, id: str, principal: Any, *rest: Any) -> str:
        if principal:
            await other.get("/count?by=7", headers=old, replica=1)
            await other.get("/put?cart=cake&mine=theirs", headers=old, replica=1)
            await other.get("/drop", headers=old, replica=1)
        return await create(self, id, principal, *rest)

    async def drop(request: Request) -> JSONResponse:
        return JSONResponse(request.session.pop("gone"))

    async def enter(request: Request) -> JSONResponse:
        request.session["mine"] = "ours"
        await request.session.login("ada")
        return JSONResponse(dict(request.session))

    async with start(enter, drop) as lab:
        other = lab.pool.new_browser()
        await lab.pool.get("/put?cart=tea&keep=1&gone=1")
        old = cookie_of(lab)
        monkeypatch.setattr(SessionStore, "create", create_after_another_request)
        response = await lab.pool.get("/enter", replica=0)

        expected = {"cart": "cake", "keep": "1", "n": 7, "mine": "ours"}
        assert response.json() == expected
        assert (await lab.pool.get("/show")).json() == {"new": False, **expected}


async def test_session_that_cannot_be_written_leaves_the_old_one(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login whose new session Redis refuses (out of memory) does not cost the old one."""

    async def refuse(*args: Any) -> str:
        raise RuntimeError("OOM command not allowed")

    async with start() as lab:
        await lab.pool.get("/put?cart=tea")
        with monkeypatch.context() as patch:
            patch.setattr(SessionStore, "create", refuse)
            assert (await lab.pool.get("/login")).status_code == 500
        assert (await lab.pool.get("/show")).json() == {"new": False, "cart": "tea"}


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("step", ["generation", "create", "supersede"])
async def test_cancelled_login_is_finished_and_answered(
    start: Start, monkeypatch: pytest.MonkeyPatch, step: str, answered: bool
) -> None:
    """A time limit around the login, wherever it strikes: the answer carries the id that is valid."""
    original = getattr(SessionStore, step)

    async def slowly(self: SessionStore, *args: Any) -> Any:
        await asyncio.sleep(0.05)
        return await original(self, *args)

    async def hurried(request: Request) -> JSONResponse:
        try:
            async with asyncio.timeout(0.01):
                await request.session.login("ada")
        except TimeoutError:
            return JSONResponse({}, 504)
        raise AssertionError

    async def outside(request: Request) -> JSONResponse:
        """The error is answered outside of the session's stage, as for a deadline of the whole request."""
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await request.session.login("ada")
        raise RuntimeError

    async with start(hurried, outside) as lab:
        await lab.pool.get("/put?cart=tea")
        monkeypatch.setattr(SessionStore, step, slowly)
        path, status = ("/hurried", 504) if answered else ("/outside", 500)
        assert (await lab.pool.get(path)).status_code == status

        assert (await lab.pool.get("/show")).json() == {"new": False, "cart": "tea"}
        assert (await lab.pool.get("/me")).json() == {"user": "ada"}
        assert len(await lab.sessions()) == 1


async def test_error_after_the_login_still_delivers_the_cookie(start: Start) -> None:
    """The old id is refused already, so even a 500 carries the new one; unsaved changes are dropped."""

    async def fails(request: Request) -> JSONResponse:
        await request.session.login("ada")
        request.session["half"] = "done"
        raise RuntimeError("later")

    async with start(fails) as lab:
        await lab.pool.get("/put?cart=tea")
        assert (await lab.pool.get("/fails")).status_code == 500
        assert (await lab.pool.get("/me")).json() == {"user": "ada"}
        assert (await lab.pool.get("/show")).json() == {"new": False, "cart": "tea"}


async def test_save_that_fails_after_the_login_still_delivers_the_cookie(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, and the browser is logged in under the new id all the same."""

    async def unavailable(*args: Any) -> bool:
        raise StoreUnavailableError("away for a moment")

    async def enter(request: Request) -> JSONResponse:
        await request.session.login("ada")
        request.session["visits"] = 0
        return JSONResponse({})

    async with start(enter) as lab:
        await lab.pool.get("/put?cart=tea")
        with monkeypatch.context() as patch:
            patch.setattr(SessionStore, "save", unavailable)
            assert (await lab.pool.get("/enter")).status_code == 503
        assert (await lab.pool.get("/me")).json() == {"user": "ada"}


async def test_login_is_seen_by_the_rest_of_the_request(start: Start) -> None:
    """The access line names who logged in, and guarded functions called afterwards let it pass."""

    async def enter(request: Request) -> JSONResponse:
        await request.session.login("ada")
        return await me(request)

    @authenticated
    async def me(request: Request) -> JSONResponse:
        return JSONResponse({"user": request.session.principal})

    async with start(enter) as lab:
        assert (await lab.pool.get("/enter")).json() == {"user": "ada"}
        (finished,) = (event for event in lab.happened if isinstance(event, RequestFinished))
        assert finished.principal == "ada"


async def test_tasks_of_one_request_make_one_session(start: Start) -> None:
    """Concurrent increments before anything is stored create a single session, and none is lost."""

    async def many(request: Request) -> JSONResponse:
        await asyncio.gather(*(request.session.increment(f"n{i % 3}") for i in range(9)))
        return JSONResponse({})

    async with start(many) as lab:
        await lab.pool.get("/many")
        assert (await lab.pool.get("/show")).json() == {"new": False, "n0": 3, "n1": 3, "n2": 3}
        assert len(await lab.sessions()) == 1


async def test_change_after_the_response_began_is_refused(start: Start) -> None:
    """What would be lost raises, with the remedy; a counter acts at once and still counts."""
    seen: list[str] = []

    async def stream(request: Request) -> StreamingResponse:
        async def body() -> Any:
            yield b"first"
            with pytest.raises(RuntimeError, match="before you send") as raised:
                request.session["x"] = 1
            seen.append(str(raised.value))
            with pytest.raises(RuntimeError):
                await request.session.login("bob")
            await request.session.increment("n")
            yield b"last"

        return StreamingResponse(body())

    async with start(stream) as lab:
        await lab.pool.get("/login")
        await lab.pool.get("/stream")
        assert seen
        assert (await lab.pool.get("/show")).json() == {"new": False, "n": 1}


async def test_writing_after_the_own_logout_begins_anew(start: Start) -> None:
    """A farewell message: a new anonymous session, with nothing of the old one."""

    async def leave(request: Request) -> JSONResponse:
        await request.session.logout()
        assert request.session.principal is None
        assert len(request.session) == 0
        request.session["message"] = "bye"
        return JSONResponse({})

    async with start(leave) as lab:
        await lab.pool.get("/login")
        await lab.pool.get("/put?secret=1")
        await lab.pool.get("/leave")
        assert (await lab.pool.get("/show")).json() == {"new": False, "message": "bye"}
        assert (await lab.pool.get("/me")).status_code == 401


@pytest.mark.parametrize("rounds", [10])
async def test_logout_racing_saves_resurrects_nothing(start: Start, rounds: int) -> None:
    """A logout among saves, counters and updates in flight on both replicas: afterwards nothing is there."""

    async def save(request: Request) -> JSONResponse:
        await asyncio.sleep(0)
        request.session[request.query_params["name"]] = 1
        request.session["n"] = 5
        return JSONResponse({})

    async with start(save) as lab:
        for _ in range(rounds):
            await lab.pool.get("/login")
            cookies, other = cookie_of(lab), lab.pool.new_browser()
            racing = [other.get(f"/save?name=f{i}" if i % 2 else "/count", headers=cookies) for i in range(40)]
            racing.insert(20, other.get("/logout", headers=cookies))
            answers = await asyncio.gather(*racing)
            assert {answer.status_code for answer in answers} <= {200, 401}
            assert (await other.get("/me", headers=cookies)).status_code == 401
            principals = [await lab.store.do("HGET", key, "u") for key in await lab.sessions()]
            assert b"ada" not in principals
            lab.pool.browser.cookies.clear()


@pytest.mark.slow
async def test_64_writers_lose_nothing(start: Start) -> None:
    """Disjoint fields, one counter, one updated field: exact, with 64 writers on two replicas."""

    async def write(request: Request) -> JSONResponse:
        who, turn = request.query_params["who"], int(request.query_params["turn"])
        request.session[f"{who}-{turn}"] = turn
        await request.session.increment("n")
        await request.session.update("m", lambda value: (value or 0) + 1)
        return JSONResponse({})

    async with start(write, redis_timeout=10) as lab:
        await lab.pool.get("/login")
        cookies = cookie_of(lab)

        async def writer(who: int) -> None:
            browser = lab.pool.new_browser()
            for turn in range(10):
                response = await browser.get(f"/write?who={who}&turn={turn}", headers=cookies, replica=who % 2)
                assert response.status_code == 200

        await asyncio.gather(*(writer(who) for who in range(64)))
        shown = (await lab.pool.get("/show")).json()
        assert (shown.pop("n"), shown.pop("m"), shown.pop("new")) == (640, 640, False)
        assert len(shown) == 640
