"""Several replicas of one service in one process."""

from __future__ import annotations

import uuid
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from fivenines.settings import Settings
from fivenines.testing._browser import Browser
from fivenines.testing._lifespan import running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    import httpx2

    from fivenines._types import ASGIApp


def service_settings(redis_url: str, **overrides: Any) -> Settings:
    """Settings for tests: a namespace nobody else has, a cookie that travels over plain HTTP, fixed keys."""
    values: dict[str, Any] = {
        "redis_url": redis_url,
        "namespace": f"test-{uuid.uuid4().hex[:12]}",
        "session_cookie": "insecure",
        "secret_keys": "for tests only: " + "0123456789abcdef" * 2,
        "admin_bind": "",
    }
    return Settings.from_environment({}, **(values | overrides))


class ReplicaPool:
    """Replicas that share one Redis and nothing else, and a browser in front of them.

    `make_service` is called once for each settings: two replicas are two objects, as in production.

    >>> async with ReplicaPool(make_service, [settings] * 2) as pool:  # doctest: +SKIP
    ...     await pool.post("/login", json={"user": "ada"}, replica=0)
    ...     assert (await pool.get("/me", replica=1)).status_code == 200
    """

    def __init__(
        self,
        make_service: Callable[[Settings], ASGIApp],
        settings: Sequence[Settings],
        *,
        base_url: str = "http://testserver",
    ) -> None:
        self.settings = list(settings)
        self.services = [make_service(one) for one in self.settings]
        self._base_url = base_url
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for service in self.services:
            await self._stack.enter_async_context(running(service))
        self.browser = self.new_browser()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def new_browser(self) -> Browser:
        """Another user, with cookies of its own."""
        browser = Browser(self.services, base_url=self._base_url)
        self._stack.push_async_callback(browser.aclose)
        return browser

    async def request(self, method: str, url: str, *, replica: int | None = None, **options: Any) -> httpx2.Response:
        return await self.browser.request(method, url, replica=replica, **options)

    async def get(self, url: str, *, replica: int | None = None, **options: Any) -> httpx2.Response:
        return await self.browser.get(url, replica=replica, **options)

    async def post(self, url: str, *, replica: int | None = None, **options: Any) -> httpx2.Response:
        return await self.browser.post(url, replica=replica, **options)
