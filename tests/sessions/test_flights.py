"""What a request costs, by its own count and by Redis'."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    Start = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_health_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the first: each is a read of Redis' that no request has asked for."""
    monkeypatch.setattr("fivenines.health.CHECK_EVERY", 3_600.0)


async def settled(lab: Any) -> None:
    """Wait for that first one."""
    for replica in (0, 1):
        while (await lab.pool.get("/startupz", replica=replica)).status_code != 200:
            await asyncio.sleep(0.01)


async def reads(lab: Any) -> int:
    """How often Redis has read from a socket; this question is one of them."""
    stats = (await lab.store.do("INFO", "stats")).decode()
    return int(stats.split("total_reads_processed:")[1].split()[0])


async def test_anonymous_request_costs_nothing(start: Start) -> None:
    """No flight, no key, no cookie; not even for asking what is in the session."""
    async with start() as lab:
        await settled(lab)
        before = await reads(lab)
        for path in ("/nothing", "/show", "/me", "/missing"):
            response = await lab.pool.get(path)
            assert "set-cookie" not in response.headers
        assert await reads(lab) - before == 1

        assert set(lab.flights) == {0}
        assert await lab.keys() == []


async def test_reading_costs_one_flight_and_writes_nothing(start: Start) -> None:
    """Session and generation ride in one write; Redis reads once for each request."""
    async with start() as lab:
        await settled(lab)
        await lab.pool.get("/login")
        await lab.pool.get("/me", replica=0)
        await lab.pool.get("/me", replica=1)
        del lab.happened[:]
        before = await reads(lab)
        for _ in range(10):
            response = await lab.pool.get("/me")
            assert response.status_code == 200
            assert "set-cookie" not in response.headers
        assert await reads(lab) - before == 11
        assert lab.flights == [1] * 10


async def test_saving_costs_one_more(start: Start) -> None:
    """And nothing, where what was set is what stood there."""
    async with start() as lab:
        await lab.pool.get("/login")
        await lab.pool.get("/put?a=1", replica=0)
        await lab.pool.get("/put?a=2", replica=1)
        del lab.happened[:]
        await lab.pool.get("/put?a=3")
        await lab.pool.get("/put?a=3")

        assert lab.flights == [2, 1]


async def test_unknown_route_costs_nothing(start: Start) -> None:
    """404 and 405 are told without asking Redis."""
    async with start() as lab:
        await lab.pool.get("/login")
        del lab.happened[:]
        assert (await lab.pool.get("/missing")).status_code == 404
        assert (await lab.pool.browser.delete("/me")).status_code == 405
        assert lab.flights == [0, 0]


async def test_reads_renew_at_most_ten_times_in_an_idle_window(start: Start) -> None:
    """1,000 reads spread over one window: at most ten expiry writes, and a cookie only with each of them."""
    async with start(session_idle=100) as lab:
        await lab.pool.get("/login")
        (key,) = await lab.sessions()
        before, cookies, left = await lab.calls("pexpire"), 0, 100_000
        for _ in range(1_000):
            # A thousandth of the window goes by: the clock is Redis', so its remaining time is moved instead.
            left = await lab.store.do("PTTL", key) - 100
            await lab.store.do("PEXPIRE", key, left)
            cookies += "set-cookie" in (await lab.pool.get("/me")).headers
        renewals = await lab.calls("pexpire") - before - 1_000

        assert renewals == cookies
        assert 8 <= renewals <= 10


async def test_renewal_never_passes_the_absolute_end(start: Start) -> None:
    """However busy, a session ends when its absolute time is over; the same moment is not renewed over and over."""
    async with start(session_idle=10, session_absolute=12) as lab:
        await lab.pool.get("/login")
        (key,) = await lab.sessions()
        await lab.store.do("PEXPIRE", key, 1_000)
        assert "set-cookie" in (await lab.pool.get("/me")).headers
        end = int(await lab.store.do("HGET", key, "a"))
        await lab.store.do("HSET", key, "a", end - 9_000)  # the absolute end is now some 3 s away
        await lab.store.do("PEXPIRE", key, 1_000)
        assert "set-cookie" in (await lab.pool.get("/me")).headers
        assert await lab.store.do("PTTL", key) <= 3_000
        assert "set-cookie" not in (await lab.pool.get("/me")).headers
        await lab.store.do("HSET", key, "a", end - 12_001)  # over
        assert (await lab.pool.get("/me")).status_code == 401
        assert await lab.keys("s") == []


async def test_idle_session_ends(start: Start) -> None:
    """Redis lets go of it by itself; every hash has an expiry from its first moment."""
    async with start(session_idle=0.2) as lab:
        await lab.pool.get("/login")
        (key,) = await lab.sessions()
        assert 0 < await lab.store.do("PTTL", key) <= 200
        for _ in range(250):  # 5 s
            if not await lab.keys("s"):
                break
            await asyncio.sleep(0.02)
        assert (await lab.pool.get("/me")).status_code == 401


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_cross_site_request_is_refused_before_redis(start: Start, method: str) -> None:
    """A form on another site: 403 for POST without a flight; GET and clients that are no browser pass."""
    async with start() as lab:
        await lab.pool.get("/login")
        assert (await lab.pool.get("/me")).status_code == 200  # the script is known to Redis
        del lab.happened[:]
        evil = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
        response = await lab.pool.request(method, "/me", headers=evil)

        assert (response.status_code, lab.flights) == ((403, [0]) if method == "POST" else (200, [1]))
        assert (await lab.pool.post("/count")).status_code == 200
        assert (await lab.pool.post("/count", headers={"origin": "http://testserver"})).status_code == 200
        assert (await lab.pool.new_browser().post("/count", headers=evil)).status_code == 200  # no cookie


async def test_exempt_route_takes_cross_site_requests(start: Start) -> None:
    """`@csrf_exempt` is the route's word that it checks otherwise."""
    from fivenines import authenticated, csrf_exempt

    @csrf_exempt
    @authenticated
    async def hook(request: Request) -> JSONResponse:
        return JSONResponse({"user": request.session.principal})

    async with start(hook) as lab:
        await lab.pool.get("/login")
        response = await lab.pool.post("/hook", headers={"sec-fetch-site": "cross-site"})
        assert response.json() == {"user": "ada"}
