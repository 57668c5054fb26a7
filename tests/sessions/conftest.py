"""A service of two replicas whose handlers the test brings along."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import JSONResponse
from starlette.routing import Route

from fivenines import Service, authenticated
from fivenines.events import RequestFinished, SessionCreated, SessionEnded
from fivenines.store import connect
from fivenines.testing import ReplicaPool, service_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request

    from fivenines.settings import Settings


async def login(request: Request) -> JSONResponse:
    await request.session.login(request.query_params.get("user", "ada"))
    return JSONResponse({"user": request.session.principal})


async def logout(request: Request) -> JSONResponse:
    await request.session.logout()
    return JSONResponse({})


@authenticated
async def logout_everywhere(request: Request) -> JSONResponse:
    await request.session.logout_everywhere()
    return JSONResponse({})


@authenticated
async def me(request: Request) -> JSONResponse:
    return JSONResponse({"user": request.session.principal})


async def show(request: Request) -> JSONResponse:
    return JSONResponse({"new": request.session.new, **request.session})


async def put(request: Request) -> JSONResponse:
    """Sets the fields that the query names."""
    for name, value in request.query_params.items():
        request.session[name] = value
    return JSONResponse({})


async def count(request: Request) -> JSONResponse:
    by = int(request.query_params.get("by", "1"))
    return JSONResponse({"n": await request.session.increment("n", by)})


async def nothing(request: Request) -> JSONResponse:
    return JSONResponse({})


def _settings(overrides: dict[str, Any]) -> Settings:
    return service_settings(**overrides)


class Lab:
    """The pool, what happened in it, and a look into its Redis."""

    def __init__(self, pool: ReplicaPool, happened: list[Any], store: Any, settings: Settings) -> None:
        self.pool, self.happened, self.store, self.settings = pool, happened, store, settings

    @property
    def flights(self) -> list[int]:
        """Of each request so far."""
        return [event.flights for event in self.happened if isinstance(event, RequestFinished)]

    async def keys(self, kind: str = "*") -> list[bytes]:
        found, cursor = [], b"0"
        while True:
            cursor, page = await self.store.do(
                "SCAN", cursor, "MATCH", f"{self.settings.namespace}:{kind}:*", "COUNT", 1000
            )
            found += page
            if cursor == b"0":
                return found

    async def sessions(self) -> list[bytes]:
        """The keys that are sessions: a marker of a superseded id is none."""
        return [key for key in await self.keys("s") if await self.store.do("HEXISTS", key, "c")]

    async def calls(self, command: str) -> int:
        """How often Redis has run this command."""
        stats = (await self.store.do("INFO", "commandstats")).decode()
        for line in stats.splitlines():
            if line.startswith(f"cmdstat_{command}:"):
                return int(line.split("calls=")[1].split(",")[0])
        return 0


@pytest.fixture
def start(redis_url: str) -> Callable[..., Any]:
    """`async with start(handler, …, session_idle=…) as lab`: each handler answers under its own name."""

    @asynccontextmanager
    async def start(
        *handlers: Any, keys: list[str] | None = None, base_url: str = "http://testserver", **overrides: Any
    ) -> AsyncIterator[Lab]:
        overrides = {"redis_url": redis_url, **overrides}
        settings = _settings(overrides)
        each = [settings] * 2
        if keys is not None:
            each = [_settings(overrides | {"namespace": settings.namespace, "secret_keys": key}) for key in keys]
        happened: list[Any] = []
        standard = (login, logout, logout_everywhere, me, show, put, count, nothing)

        def make(settings: Settings) -> Service:
            routes = [
                Route(f"/{handler.__name__}", handler, methods=["GET", "POST"]) for handler in (*standard, *handlers)
            ]
            service = Service(routes, settings=settings)
            for kind in (RequestFinished, SessionCreated, SessionEnded):
                service.subscribe(kind, happened.append)
            return service

        store = connect(settings.redis_url, timeout=5)
        try:
            async with ReplicaPool(make, each, base_url=base_url) as pool:
                yield Lab(pool, happened, store, settings)
        finally:
            await store.aclose()

    return start
