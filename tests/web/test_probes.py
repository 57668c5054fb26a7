"""/livez, /readyz, /startupz."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from fivenines import Service
from fivenines.lifecycle import LIFESPAN_STATE_KEY
from fivenines.testing import running
from tests.web.conftest import serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx2
    from starlette.websockets import WebSocket

    from fivenines.settings import Settings


class Page:
    """The state that a server shares."""

    draining = False


def service(settings: Settings) -> Service:
    return Service([Route("/", lambda request: PlainTextResponse("hello"))], settings=settings)


async def eventually(client: httpx2.AsyncClient, path: str, status: int) -> httpx2.Response:
    async with asyncio.timeout(5):
        while (response := await client.get(path)).status_code != status:
            await asyncio.sleep(0.01)
    return response


async def test_started_once_the_store_has_answered(settings_for: Callable[..., Settings]) -> None:
    """All three pass then."""
    async with serving(service(settings_for())) as client:
        await eventually(client, "/startupz", 200)
        ready = await eventually(client, "/readyz", 200)

    assert ready.json() == {"status": "pass"}
    assert ready.headers["content-type"] == "application/health+json"


async def test_without_redis_alive_but_not_started(settings_for: Callable[..., Settings], tmp_path: Path) -> None:
    """Start-up waits for the store; liveness never asks it."""
    async with serving(service(settings_for(redis_url=f"unix://{tmp_path}/none"))) as client:
        answers = {path: (await client.get(path)).status_code for path in ("/livez", "/readyz", "/startupz")}

    assert answers == {"/livez": 200, "/readyz": 503, "/startupz": 503}


@pytest.mark.parametrize(("setting", "status"), [("degraded", 200), ("critical", 503)])
async def test_redis_lost_later_is_degraded_or_critical(
    settings_for: Callable[..., Settings], tmp_path: Path, setting: str, status: int
) -> None:
    """Shared by all replicas: by default they stay in the balancer."""
    from fivenines.store._embedded import EmbeddedServer

    redis = EmbeddedServer(tmp_path)
    url = await asyncio.to_thread(redis.start)
    try:
        async with serving(service(settings_for(redis_url=url, redis_readiness=setting))) as client:
            await eventually(client, "/startupz", 200)
            await asyncio.to_thread(redis.stop)
            async with asyncio.timeout(5):
                while (ready := await client.get("/readyz")).json()["status"] == "pass":
                    await asyncio.sleep(0.01)
            assert ready.status_code == status
            assert (await client.get("/livez")).status_code == 200
            assert (await client.get("/startupz")).status_code == 200
    finally:
        await asyncio.to_thread(redis.stop)


async def test_draining_fails_readiness_alone_and_closes_connections(settings_for: Callable[..., Settings]) -> None:
    """Live through the shared state: the very next probe sees it."""
    page = Page()
    async with serving(service(settings_for()), state={LIFESPAN_STATE_KEY: page}) as client:
        await eventually(client, "/readyz", 200)
        assert "connection" not in (await client.get("/")).headers
        page.draining = True
        answers = {path: await client.get(path) for path in ("/", "/livez", "/readyz", "/startupz", "/nowhere")}

    assert {path: response.status_code for path, response in answers.items()} == {
        "/": 200,
        "/livez": 200,
        "/readyz": 503,
        "/startupz": 200,
        "/nowhere": 404,
    }
    assert all(response.headers["connection"] == "close" for response in answers.values())
    assert answers["/readyz"].headers["retry-after"] == "1"


async def test_other_methods_are_not_answered(settings_for: Callable[..., Settings]) -> None:
    """405 with Allow; HEAD has no body."""
    async with serving(service(settings_for())) as client:
        wrong = await client.post("/livez")
        head = await client.head("/livez")

    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD")
    assert wrong.headers["content-type"] == "application/problem+json"
    assert (head.status_code, head.content) == (200, b"")


async def test_the_admin_port_serves_probes_and_nothing_else(settings_for: Callable[..., Settings]) -> None:
    """Whatever is public stays on the public port."""
    settings = settings_for(admin_bind="127.0.0.1:9123")
    async with serving(service(settings)) as client:
        probe = await client.get("http://testserver:9123/livez")
        public = await client.get("http://testserver:9123/")

    assert (probe.status_code, public.status_code) == (200, 404)
    assert public.headers["content-type"] == "application/problem+json"


async def test_the_admin_port_opens_no_websocket(settings_for: Callable[..., Settings]) -> None:
    """Those are public routes too."""

    async def greet(websocket: WebSocket) -> None:
        await websocket.accept()

    app = Service([WebSocketRoute("/ws", greet)], settings=settings_for(admin_bind="127.0.0.1:9123"))

    async def opened(port: int) -> list[str]:
        sent: list[Any] = []
        scope: dict[str, Any] = {
            "type": "websocket",
            "path": "/ws",
            "query_string": b"",
            "root_path": "",
            "headers": [],
        }
        scope |= {"scheme": "ws", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", port), "subprotocols": []}

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await app(scope, receive, send)
        return sent

    async with running(app):
        assert await opened(9123) == ["websocket.close"]
        assert await opened(8000) == ["websocket.accept"]
