"""The pytest plugin of fivenines: fixtures for services under test.

The package is imported inside the fixtures only, so that a plugin which is installed but not used costs
nothing, and coverage still sees the package's own imports.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from fivenines.settings import Settings
    from fivenines.testing import Browser, ReplicaPool


@pytest.fixture(scope="session")
def fivenines_redis_url() -> Iterator[str]:
    """A real Redis: `FIVENINES_TEST_REDIS_URL` where that is set, else one of its own for this run.

    Shared by all tests; each has a namespace of its own, so never flush it.
    """
    if url := os.environ.get("FIVENINES_TEST_REDIS_URL"):
        yield url
        return
    from fivenines.store._embedded import EmbeddedServer

    server = EmbeddedServer()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def fivenines_settings(fivenines_redis_url: str) -> Callable[..., Settings]:
    """`fivenines_settings(session_idle=60, …)`: settings for a test, with a namespace of its own."""
    from fivenines.testing import service_settings

    def make(**overrides: Any) -> Settings:
        return service_settings(fivenines_redis_url, **overrides)

    return make


@pytest.fixture
def replicas(fivenines_settings: Callable[..., Settings]) -> Callable[..., ReplicaPool]:
    """`async with replicas(make_service, count=2, session_idle=60) as pool: …`

    `make_service(settings)` returns a new service; further names are settings that all replicas share.
    """
    from fivenines.testing import ReplicaPool

    def make(make_service: Any, count: int = 2, *, base_url: str = "http://testserver", **overrides: Any) -> Any:
        settings = fivenines_settings(**overrides)
        return ReplicaPool(make_service, [settings] * count, base_url=base_url)

    return make


@pytest.fixture
def service_client(
    fivenines_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AbstractAsyncContextManager[Browser]]:
    """`async with service_client(app.service) as client: …`: the service as it is, started, and a browser.

    For a service that reads its settings from the environment: the variables are set for this test.
    """
    from contextlib import asynccontextmanager

    from fivenines.testing import Browser, running

    @asynccontextmanager
    async def start(service: Any, *, base_url: str = "http://testserver", **overrides: Any) -> Any:
        settings = fivenines_settings(**overrides)
        named = {"redis_url", "namespace", "session_cookie", "secret_keys", "admin_bind", *overrides}
        for name in named:
            monkeypatch.setenv(f"FIVENINES_{name.upper()}", str(getattr(settings, name)))
        async with running(service):
            browser = Browser([service], base_url=base_url)
            try:
                yield browser
            finally:
                await browser.aclose()

    return start
