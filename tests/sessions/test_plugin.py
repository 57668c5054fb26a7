"""What the pytest plugin hands out to tests of services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from fivenines import ConfigurationError, Service, Settings
from fivenines.testing import Browser, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from starlette.requests import Request

    from fivenines.testing import ReplicaPool


async def add(request: Request) -> JSONResponse:
    request.session.setdefault("cart", []).append(request.query_params["item"])
    return JSONResponse(request.session["cart"])


def make_service(settings: Settings) -> Service:
    return Service([Route("/add", add, methods=["POST"])], settings=settings)


async def test_replicas_share_redis_and_nothing_else(replicas: Callable[..., ReplicaPool]) -> None:
    """Requests go round, or to the replica that is named; each browser has its own cookies."""
    async with replicas(make_service, count=3, session_idle=60) as pool:
        assert len({id(service) for service in pool.services}) == 3
        assert [settings.session_idle for settings in pool.settings] == [60.0] * 3
        for number, item in enumerate(("tea", "cake", "milk")):
            await pool.post(f"/add?item={item}", replica=number)
        assert (await pool.post("/add?item=rum")).json() == ["tea", "cake", "milk", "rum"]
        assert (await pool.new_browser().post("/add?item=rum")).json() == ["rum"]


async def test_two_pools_do_not_meet(replicas: Callable[..., ReplicaPool]) -> None:
    """Each has a namespace of its own."""
    async with replicas(make_service) as one, replicas(make_service) as two:
        assert one.settings[0].namespace != two.settings[0].namespace


async def test_service_client_starts_the_service_as_it_is(
    service_client: Callable[..., AbstractAsyncContextManager[Browser]],
) -> None:
    """For a module's own `service`, which reads its settings from the environment."""
    service = Service([Route("/add", add, methods=["POST"])])
    async with service_client(service) as client:
        await client.post("/add?item=tea")
        assert (await client.post("/add?item=cake")).json() == ["tea", "cake"]
        client.cookies.clear()
        assert (await client.post("/add?item=cake")).json() == ["cake"]


async def test_error_at_start_up_is_raised() -> None:
    """A service that cannot start says why, in the test that starts it."""
    service = Service(settings=Settings.from_environment({}))  # no secret keys
    with pytest.raises((ConfigurationError, RuntimeError), match="FIVENINES_SECRET_KEYS"):
        async with running(service):
            raise AssertionError


async def test_lifespan_state_and_shutdown_reach_the_application() -> None:
    """As a server would do it; an application that knows no lifespan is served as it is."""
    happened: list[Any] = []

    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, int]]:
        happened.append("up")
        yield {"answer": 42}
        happened.append("down")

    from contextlib import asynccontextmanager

    state: dict[str, Any] = {"given": True}
    async with running(Starlette(lifespan=asynccontextmanager(lifespan)), state):
        assert state == {"given": True, "answer": 42}
    assert happened == ["up", "down"]

    async def plain(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"

    async with running(plain):
        pass


async def test_error_at_shutdown_is_raised() -> None:
    """What goes wrong at the end fails the test as well."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        raise RuntimeError("cannot close")

    with pytest.raises(RuntimeError, match="cannot close"):
        async with running(Starlette(lifespan=lifespan)):
            pass
