"""Changing the secret keys, the secure cookie, WebSockets, and what a thief of Redis' data finds."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from starlette.routing import WebSocketRoute

from fivenines import Service
from fivenines.testing import running

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.websockets import WebSocket

    Start = Callable[..., Any]

OLD, NEW, NEWEST = "a" * 32, "b" * 32, "c" * 32
# One replica at a time is restarted with the next list: each pair has stood side by side for a while.
ROLLING = [(OLD, f"{OLD},{NEW}"), (f"{OLD},{NEW}", f"{NEW},{OLD}"), (f"{NEW},{OLD}", NEW)]


@pytest.mark.parametrize(("before", "after"), ROLLING)
async def test_rolling_change_of_keys_loses_no_session(start: Start, before: str, after: str) -> None:
    """In each of the three steps both replicas take the other's cookies, in both directions."""
    async with start(keys=[before, after]) as lab:
        for first, then in ((0, 1), (1, 0)):
            browser = lab.pool.new_browser()
            await browser.get("/login", replica=first)
            for replica in (then, first, then):
                assert (await browser.get("/me", replica=replica)).json() == {"user": "ada"}


async def test_cookie_of_an_older_key_is_signed_anew(start: Start) -> None:
    """Once, so that the old key can go when the idle time has passed; the id stays the same."""
    async with start(keys=[OLD, f"{NEW},{OLD}"]) as lab:
        await lab.pool.get("/login", replica=0)
        old = lab.pool.browser.cookies["session"]
        response = await lab.pool.get("/me", replica=1)

        assert response.cookies["session"].split(".")[:2] == old.split(".")[:2]
        assert response.cookies["session"] != old
        assert "set-cookie" not in (await lab.pool.get("/me", replica=1)).headers


async def test_key_that_is_gone_opens_nothing(start: Start) -> None:
    """A cookie signed by a key that is no longer in the list is no cookie, and costs no flight."""
    async with start(keys=[OLD, NEWEST]) as lab:
        await lab.pool.get("/login", replica=0)
        assert (await lab.pool.get("/me", replica=1)).status_code == 401
        assert (await lab.pool.get("/me", replica=0)).status_code == 200


async def test_secure_cookie_over_https(start: Start) -> None:
    """The default: __Host-session, which a client does not send back over plain HTTP."""
    async with start(session_cookie="secure", base_url="https://testserver") as lab:
        header = (await lab.pool.get("/login")).headers["set-cookie"]

        assert header.startswith("__Host-session=")
        for attribute in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
            assert attribute in header
        assert "Domain" not in header
        assert (await lab.pool.get("/me")).status_code == 200
        assert (await lab.pool.get("http://testserver/me")).status_code == 401


async def test_dump_of_redis_holds_no_live_id(start: Start) -> None:
    """Whoever reads all of Redis, keys and values, finds nothing to put into a cookie."""
    async with start() as lab:
        ids = []
        for user in ("ada", "bob", "eve"):
            browser = lab.pool.new_browser()
            await browser.get("/put?x=1")
            ids.append(browser.cookies["session"])
            await browser.get(f"/login?user={user}")
            ids.append(browser.cookies["session"])
        dump = b""
        for key in await lab.keys():
            dump += key + b"\n" + (await lab.store.do("DUMP", key))
        assert len(dump) > 500
        for value, size in itertools.product(ids, (43, 22)):
            assert value[:size].encode() not in dump
            assert value[-22:].encode() not in dump


async def test_names_and_principals_cannot_leave_their_key(start: Start) -> None:
    """Colons and braces of a user's name make no other key and no other slot."""
    async with start() as lab:
        for user in ("a:b", "{x}y", "%3A", "ä ö"):
            await lab.pool.new_browser().get("/login", params={"user": user})
        names = {key.split(b":", 2)[2] for key in await lab.keys("g")}
        assert names == {b"a%3Ab", b"%7Bx%7Dy", b"%253A", b"%C3%A4%20%C3%B6"}


async def test_websocket_reads_and_does_not_write(start: Start) -> None:
    """The session as it was at connect; every change names the remedy."""
    seen: list[Any] = []

    async def socket(websocket: WebSocket) -> None:
        session = websocket.session
        seen.append((session.principal, dict(session)))
        changes = [lambda: session.__setitem__("x", 1), lambda: session.update({"x": 1})]
        if session:
            changes += [lambda: session.pop("cart"), session.clear]
        for act in changes:
            with pytest.raises(RuntimeError, match="in an HTTP request"):
                act()
        for verb in (session.login("bob"), session.logout(), session.logout_everywhere(),
                     session.increment("n"), session.update("n", lambda n: n)):  # fmt: skip
            with pytest.raises(RuntimeError, match="in an HTTP request"):
                await verb
        await websocket.accept()
        await websocket.close()

    async with start() as lab:
        await lab.pool.get("/login")
        await lab.pool.get("/put?cart=tea")
        cookie = f"session={lab.pool.browser.cookies['session']}".encode()
        service = Service([WebSocketRoute("/socket", socket)], settings=lab.settings)
        async with running(service):
            for headers in ([(b"cookie", cookie)], []):
                sent = await _connect(service, headers)
                assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
        assert seen == [("ada", {"cart": "tea"}), (None, {})]


async def _connect(service: Service, headers: list[tuple[bytes, bytes]]) -> list[Any]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket", "asgi": {"version": "3.0"}, "scheme": "ws", "path": "/socket", "raw_path": b"/socket",
        "query_string": b"", "headers": [(b"host", b"testserver"), *headers], "subprotocols": [],
        "client": ("127.0.0.1", 1), "server": ("testserver", 80), "root_path": "", "state": {},
    }  # fmt: skip
    await service(scope, receive, send)
    return sent
