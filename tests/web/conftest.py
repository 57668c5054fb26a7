"""A service with one route of each kind, and a client for it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from fivenines.testing import running, service_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from fivenines._types import ASGIApp
    from fivenines.settings import Settings


@pytest.fixture
def settings_for(redis_url: str, namespace: str) -> Callable[..., Settings]:
    """Settings with the test's own Redis and namespace."""

    def make(**overrides: Any) -> Settings:
        return service_settings(**({"redis_url": redis_url, "namespace": namespace} | overrides))

    return make


@asynccontextmanager
async def serving(
    app: ASGIApp, *, client: tuple[str, int] = ("127.0.0.1", 50_000), state: dict[str, Any] | None = None
) -> AsyncIterator[httpx2.AsyncClient]:
    """The application, started, and a client that connects from `client`."""
    state = {} if state is None else state

    async def as_a_server_does(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "state": dict(state)}, receive, send)

    async with running(app, state):
        transport = httpx2.ASGITransport(app=as_a_server_does, client=client, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as browser:
            yield browser
