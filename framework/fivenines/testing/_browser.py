"""A client with cookies of its own, whose requests go round the replicas."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fivenines._types import ASGIApp

_EXTENSION = "fivenines.replica"


class _Balancer(httpx2.AsyncBaseTransport):
    """Each request to the next application, or to the one that it names."""

    def __init__(self, apps: Sequence[ASGIApp]) -> None:
        self._transports = [httpx2.ASGITransport(app=app) for app in apps]
        self._next = itertools.cycle(range(len(apps)))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        chosen = request.extensions.get(_EXTENSION)
        transport = self._transports[next(self._next) if chosen is None else chosen]
        return await transport.handle_async_request(request)


class Browser:
    """One user: keeps the cookies it is sent, and asks another replica each time unless told which.

    >>> response = await browser.post("/login", json={"user": "ada"})  # doctest: +SKIP
    >>> response = await browser.get("/me", replica=1)  # doctest: +SKIP
    """

    def __init__(self, apps: Sequence[ASGIApp], *, base_url: str = "http://testserver") -> None:
        self._client = httpx2.AsyncClient(transport=_Balancer(apps), base_url=base_url, follow_redirects=False)

    @property
    def cookies(self) -> httpx2.Cookies:
        """The cookie jar; change it to play a tampering client."""
        return self._client.cookies

    async def request(self, method: str, url: str, *, replica: int | None = None, **options: Any) -> httpx2.Response:
        """Send a request; `options` are httpx2's (json=, headers=, params=, content= …)."""
        extensions = {} if replica is None else {_EXTENSION: replica}
        return await self._client.request(method, url, extensions=extensions, **options)

    async def get(self, url: str, *, replica: int | None = None, **options: Any) -> httpx2.Response:
        return await self.request("GET", url, replica=replica, **options)

    async def post(self, url: str, *, replica: int | None = None, **options: Any) -> httpx2.Response:
        return await self.request("POST", url, replica=replica, **options)

    async def put(self, url: str, *, replica: int | None = None, **options: Any) -> httpx2.Response:
        return await self.request("PUT", url, replica=replica, **options)

    async def delete(self, url: str, *, replica: int | None = None, **options: Any) -> httpx2.Response:
        return await self.request("DELETE", url, replica=replica, **options)

    async def aclose(self) -> None:
        await self._client.aclose()
