"""What a handler can do with `request.session`, seen from outside, on two replicas."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import JSONResponse

from fivenines.context import current_request
from fivenines.errors import NotAuthenticatedError, SessionConflictError
from fivenines.events import SessionCreated, SessionEnded
from fivenines.sessions._turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    Start = Callable[..., Any]


async def test_session_is_the_same_on_every_replica(start: Start) -> None:
    """What one replica writes the other reads."""
    async with start() as lab:
        await lab.pool.get("/put?theme=dark", replica=0)
        shown = await lab.pool.get("/show", replica=1)

        assert shown.json() == {"new": False, "theme": "dark"}


async def test_login_changes_the_id_and_keeps_the_data(start: Start) -> None:
    """A login takes the anonymous session along under a new id; the old id is refused at once, everywhere."""
    async with start() as lab:
        await lab.pool.get("/put?cart=tea")
        before = lab.pool.browser.cookies["session"]
        await lab.pool.get("/login?user=ada")
        after = lab.pool.browser.cookies["session"]

        assert before.split(".")[0] != after.split(".")[0]
        assert (await lab.pool.get("/show")).json() == {"new": False, "cart": "tea"}
        for replica in (0, 1):
            thief = lab.pool.new_browser()
            thief.cookies.set("session", before)
            assert (await thief.get("/show", replica=replica)).json() == {"new": True}
            assert (await thief.get("/me", replica=replica)).status_code == 401
        assert len(await lab.sessions()) == 1
        assert [event for event in lab.happened if isinstance(event, SessionCreated)] == [
            SessionCreated(None, rotated=False),
            SessionCreated("ada", rotated=True),
        ]


async def test_second_login_of_the_same_user_changes_the_id_again(start: Start) -> None:
    """Every login ends the id before it, with the data kept."""
    async with start() as lab:
        await lab.pool.get("/login?user=ada")
        first = lab.pool.browser.cookies["session"]
        await lab.pool.get("/put?cart=tea")
        await lab.pool.get("/login?user=ada")

        assert (await lab.pool.get("/show")).json()["cart"] == "tea"
        lab.pool.browser.cookies.set("session", first, domain="testserver.local", path="/")
        assert (await lab.pool.new_browser().get("/me", headers={"cookie": f"session={first}"})).status_code == 401


async def test_another_user_inherits_nothing(start: Start) -> None:
    """Who logs in over someone else's session starts empty."""
    async with start() as lab:
        await lab.pool.get("/login?user=ada")
        await lab.pool.get("/put?secret=hers")
        await lab.pool.get("/login?user=bob")

        assert (await lab.pool.get("/show")).json() == {"new": False}
        assert (await lab.pool.get("/me")).json() == {"user": "bob"}


async def test_unknown_id_is_never_adopted(start: Start) -> None:
    """A signed id that Redis does not know starts nothing; a write gets an id of the service's own."""
    async with start() as lab:
        await lab.pool.get("/put?a=1")
        known = lab.pool.browser.cookies["session"]
        await lab.pool.get("/logout")
        lab.pool.browser.cookies.clear()
        browser = lab.pool.new_browser()
        browser.cookies.set("session", known)

        assert (await browser.get("/show")).json() == {"new": True}
        assert await lab.keys() == []
        response = await browser.get("/put?a=2")
        assert response.cookies["session"].split(".")[0] != known.split(".")[0]
        assert len(await lab.sessions()) == 1


async def test_id_made_up_by_a_client_never_becomes_a_key(start: Start) -> None:
    """Fixation: what a client chose is not even asked for."""
    async with start() as lab:
        for value in ("A" * 43, "A" * 43 + ".." + "A" * 22, "x", "A" * 5000):
            thief = lab.pool.new_browser()
            response = await thief.get("/me", headers={"cookie": f"session={value}"})
            assert response.status_code == 401
            assert (await thief.get("/show", headers={"cookie": f"session={value}"})).json() == {"new": True}
        assert await lab.keys() == []
        assert set(lab.flights) == {0}


async def test_logout_ends_the_session_everywhere_and_clears_the_cookie(start: Start) -> None:
    """After the answer no replica knows the session, and the browser has no cookie."""
    async with start() as lab:
        await lab.pool.get("/login?user=ada", replica=0)
        kept = lab.pool.browser.cookies["session"]
        response = await lab.pool.get("/logout", replica=1)

        assert "Max-Age=0" in response.headers["set-cookie"]
        assert "session" not in lab.pool.browser.cookies
        assert await lab.sessions() == []
        late = await lab.pool.new_browser().get("/me", headers={"cookie": f"session={kept}"}, replica=0)
        assert late.status_code == 401
        assert SessionEnded("ada", everywhere=False) in lab.happened


async def test_logout_everywhere_ends_all_of_one_user(start: Start) -> None:
    """All the user's sessions end, on the next request and on every replica; other users' go on."""
    async with start() as lab:
        laptop, phone, other = (lab.pool.new_browser() for _ in range(3))
        for browser, user in ((laptop, "ada"), (phone, "ada"), (other, "bob")):
            await browser.get(f"/login?user={user}")
        response = await laptop.get("/logout_everywhere", replica=0)

        assert response.status_code == 200
        assert "Max-Age=0" in response.headers["set-cookie"]
        assert (await phone.get("/me", replica=0)).status_code == 401
        assert (await phone.get("/me", replica=1)).status_code == 401
        assert (await other.get("/me", replica=1)).status_code == 200
        await phone.get("/login?user=ada")
        assert (await phone.get("/me", replica=1)).status_code == 200
        assert (await laptop.get("/logout_everywhere")).status_code == 401


async def test_logout_everywhere_needs_somebody(start: Start) -> None:
    """401 where nobody is logged in; a logout without a session is nothing."""

    async def everywhere(request: Request) -> JSONResponse:
        await request.session.logout_everywhere()
        return JSONResponse({})

    async with start(everywhere) as lab:
        assert (await lab.pool.get("/everywhere")).status_code == 401
        response = await lab.pool.get("/logout")
        assert (response.status_code, "set-cookie" in response.headers) == (200, False)
        assert await lab.keys() == []


async def test_lost_generation_logs_out_rather_than_in(start: Start) -> None:
    """When Redis evicts the key that says which sessions are valid, none is."""
    async with start() as lab:
        await lab.pool.get("/login?user=ada")
        for key in await lab.keys("g"):
            await lab.store.do("DEL", key)

        assert (await lab.pool.get("/me")).status_code == 401


async def test_mutation_inside_a_value_is_saved(start: Start) -> None:
    """`request.session["cart"].append(…)` is noticed by its bytes, and reading alone writes nothing."""

    async def add(request: Request) -> JSONResponse:
        request.session.setdefault("cart", {"items": []})["items"].append(request.query_params["item"])
        return JSONResponse(request.session["cart"])

    async def read(request: Request) -> JSONResponse:
        return JSONResponse(list(request.session["cart"]["items"]))

    async with start(add, read) as lab:
        await lab.pool.get("/add?item=tea")
        await lab.pool.get("/add?item=cake")
        writes = await lab.calls("hset")

        assert (await lab.pool.get("/read")).json() == ["tea", "cake"]
        assert await lab.calls("hset") == writes


async def test_another_spelling_of_a_value_is_no_change(start: Start) -> None:
    """A field that something else wrote with spaces or 1e3 is left alone when it was only read."""

    async def read(request: Request) -> JSONResponse:
        return JSONResponse(request.session["x"])

    async with start(read) as lab:
        await lab.pool.get("/put?x=1")
        (key,) = await lab.sessions()
        await lab.store.do("HSET", key, "d:x", '{"a" : [1e3]}')

        assert (await lab.pool.get("/read")).json() == {"a": [1000.0]}
        assert await lab.store.do("HGET", key, "d:x") == b'{"a" : [1e3]}'


async def test_removed_fields_go_and_others_stay(start: Start) -> None:
    """`del`, `pop` and `clear` remove what this request saw, field by field."""

    async def drop(request: Request) -> JSONResponse:
        del request.session["a"]
        assert request.session.pop("b") == "2"
        assert "a" not in request.session
        return JSONResponse(len(request.session))

    async def wipe(request: Request) -> JSONResponse:
        request.session.clear()
        return JSONResponse({})

    async with start(drop, wipe) as lab:
        await lab.pool.get("/login?user=ada")
        await lab.pool.get("/put?a=1&b=2&c=3")
        assert (await lab.pool.get("/drop")).json() == 1
        assert (await lab.pool.get("/show")).json() == {"new": False, "c": "3"}
        await lab.pool.get("/wipe")
        assert (await lab.pool.get("/show")).json() == {"new": False}
        assert (await lab.pool.get("/me")).status_code == 200  # clear() is no logout


async def test_concurrent_requests_merge_by_field(start: Start) -> None:
    """Two requests that overlap keep each other's fields; the same field: the later save wins."""
    both = asyncio.Barrier(2)

    async def slow(request: Request) -> JSONResponse:
        await both.wait()  # both have loaded
        request.session[request.query_params["name"]] = "mine"
        return JSONResponse({})

    async with start(slow) as lab:
        await lab.pool.get("/put?seen=1&doomed=1")
        await asyncio.gather(lab.pool.get("/slow?name=a", replica=0), lab.pool.get("/slow?name=b", replica=1))
        assert (await lab.pool.get("/show")).json() == {
            "new": False, "seen": "1", "doomed": "1", "a": "mine", "b": "mine",
        }  # fmt: skip


async def test_value_that_is_no_json_fails_where_it_is_set(start: Start) -> None:
    """The traceback shows the handler's line and the field's name; nothing is saved."""
    caught: list[str] = []

    async def bad(request: Request) -> JSONResponse:
        with pytest.raises(TypeError) as raised:
            request.session["when"] = {1, 2}
        caught.append(str(raised.value))
        with pytest.raises(TypeError):
            request.session[7] = "x"
        with pytest.raises(TypeError):
            await request.session.increment(7)
        return JSONResponse(len(request.session))

    async with start(bad) as lab:
        assert (await lab.pool.get("/bad")).json() == 0
        assert "'when'" in caught[0]
        assert await lab.keys() == []


async def test_mutation_into_no_json_is_an_error_not_a_loss(start: Start) -> None:
    """What was put deep inside a value is found at the save: 500 rather than a silent loss."""

    async def bad(request: Request) -> JSONResponse:
        request.session["list"].append(object())
        return JSONResponse({})

    async def begin(request: Request) -> JSONResponse:
        request.session["list"] = []
        return JSONResponse({})

    async with start(bad, begin) as lab:
        await lab.pool.get("/begin")
        assert (await lab.pool.get("/bad")).status_code == 500
        assert (await lab.pool.get("/show")).json()["list"] == []


async def test_increment_counts_whoever_asks(start: Start) -> None:
    """A counter needs no value to begin with, takes negative steps, and stays exact beyond 2^53."""
    async with start() as lab:
        assert (await lab.pool.get("/count")).json() == {"n": 1}  # makes the session
        assert (await lab.pool.get("/count?by=41")).json() == {"n": 42}
        assert (await lab.pool.get("/count?by=-2")).json() == {"n": 40}
        assert (await lab.pool.get(f"/count?by={2**60 + 1}")).json() == {"n": 2**60 + 41}
        assert (await lab.pool.get("/show")).json()["n"] == 2**60 + 41
        assert len(await lab.sessions()) == 1


async def test_increment_builds_on_what_this_request_wrote(start: Start) -> None:
    """Own earlier writes come first, and are not undone by the save at the end."""

    async def mixed(request: Request) -> JSONResponse:
        session = request.session
        session["n"] = 10
        first = await session.increment("n")
        session["other"] = True
        return JSONResponse([first, await session.increment("n", 5), session["n"]])

    async with start(mixed) as lab:
        await lab.pool.get("/login")
        await lab.pool.get("/put?keep=1")
        assert (await lab.pool.get("/mixed")).json() == [11, 16, 16]
        assert (await lab.pool.get("/show")).json() == {"new": False, "n": 16, "other": True, "keep": "1"}


@pytest.mark.parametrize("value", ["text", 1.5, True, [1], None])
async def test_increment_refuses_what_is_no_integer(start: Start, value: object) -> None:
    """A TypeError that names the field, whether the value is stored or new; the value stays."""
    errors: list[str] = []

    async def store_it(request: Request) -> JSONResponse:
        request.session["n"] = value
        if "now" in request.query_params:
            with pytest.raises(TypeError):
                await request.session.increment("n")
        return JSONResponse({})

    async def add(request: Request) -> JSONResponse:
        with pytest.raises(TypeError) as raised:
            await request.session.increment("n")
        errors.append(str(raised.value))
        with pytest.raises(TypeError):
            await request.session.increment("m", 1.5)
        return JSONResponse(request.session["n"])

    async with start(store_it, add) as lab:
        assert (await lab.pool.get("/store_it?now")).status_code == 200
        await lab.pool.get("/store_it")
        assert (await lab.pool.get("/add")).json() == value
        assert "'n'" in errors[0]


async def test_update_changes_what_stands_there_now(start: Start) -> None:
    """The change sees other requests' values, gets None for an absent field, and is not undone by the save."""

    async def append(request: Request) -> JSONResponse:
        item = request.query_params["item"]
        return JSONResponse(await request.session.update("items", lambda items: [*(items or []), item]))

    async with start(append) as lab:
        await lab.pool.get("/append?item=0")
        await asyncio.gather(*(lab.pool.get(f"/append?item={n}") for n in range(1, 30)))
        items = (await lab.pool.get("/show")).json()["items"]

        assert sorted(items, key=int) == [str(n) for n in range(30)]


async def test_updates_wait_for_their_turn_no_longer_than_allowed() -> None:
    """Who does not get it in time is told so; the line goes on for the others and is gone afterwards."""
    turns, now = Turns(), asyncio.get_running_loop().time
    async with turns.take("id", "x", until=now() + 5) as first:
        first.value = b"1"
        with pytest.raises(SessionConflictError):
            async with turns.take("id", "x", until=now() + 0.01):
                raise AssertionError
        async with turns.take("id", "y", until=now() + 0.01) as other:
            assert other.value is None
        waiting = asyncio.create_task(turns.take("id", "x", until=now() + 5).__aenter__())
        cancelled = asyncio.create_task(turns.take("id", "x", until=now() + 5).__aenter__())
        await asyncio.sleep(0)
        cancelled.cancel()
    assert (await waiting).value == b"1"


async def test_update_with_a_mapping_is_the_dicts(start: Start) -> None:
    """Code written for Starlette's session goes on working."""

    async def many(request: Request) -> JSONResponse:
        request.session.update({"a": 1}) or request.session.update([("b", 2)])
        with pytest.raises(TypeError, match="plain function"):
            await request.session.update("a", asyncio.sleep)
        return JSONResponse({})

    async with start(many) as lab:
        assert (await lab.pool.get("/many")).status_code == 200
        assert (await lab.pool.get("/show")).json() == {"new": False, "a": 1, "b": 2}


async def test_update_gives_up_in_time(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """When others are faster until the time is up: 409, and the field is as they left it."""
    monkeypatch.setattr("fivenines.sessions._session.UPDATE_WITHIN", 0.0)

    async def lose(request: Request) -> JSONResponse:
        await lab.store.do("HSET", key, "d:x", '"theirs"')
        return JSONResponse(await request.session.update("x", lambda value: "mine"))

    async with start(lose) as lab:
        await lab.pool.get("/put?x=1")
        (key,) = await lab.sessions()
        response = await lab.pool.get("/lose")

        assert response.status_code == 409
        assert response.json()["type"].endswith("session-conflict")
        assert (await lab.pool.get("/show")).json()["x"] == "theirs"


async def test_update_stays_within_the_requests_deadline(start: Start) -> None:
    """The request's own deadline is nearer than the limit of `update`."""

    async def lose(request: Request) -> JSONResponse:
        info = current_request()
        assert info is not None
        info.deadline = time.monotonic()
        await lab.store.do("HSET", key, "d:x", '"theirs"')
        return JSONResponse(await request.session.update("x", lambda value: "mine"))

    async with start(lose) as lab:
        await lab.pool.get("/put?x=1")
        (key,) = await lab.sessions()

        assert (await lab.pool.get("/lose")).status_code == 409


async def test_ended_session_refuses_what_acts_at_once(start: Start) -> None:
    """A session that was logged out while a request ran: 401 for increment and update, nothing comes back."""
    ended = asyncio.Event()
    loaded = asyncio.Event()

    async def slow(request: Request) -> JSONResponse:
        loaded.set()
        await ended.wait()
        with pytest.raises(NotAuthenticatedError):
            await request.session.update("x", lambda value: 1)
        assert request.session.principal is None
        await request.session.increment("n")
        raise AssertionError

    async with start(slow) as lab:
        await lab.pool.get("/login")
        cookies = {"cookie": f"session={lab.pool.browser.cookies['session']}"}
        running = asyncio.create_task(lab.pool.new_browser().get("/slow", headers=cookies, replica=1))
        await loaded.wait()
        await lab.pool.get("/logout", replica=0)
        ended.set()

        assert (await running).status_code == 401
        assert await lab.sessions() == []
