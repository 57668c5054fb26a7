"""WebSockets: a session to read, and refusals that close."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from fivenines import Service, authenticated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.requests import Request
    from starlette.websockets import WebSocket

    from fivenines.settings import Settings


async def login(request: Request) -> Response:
    await request.session.login("ada")  # type: ignore[attr-defined]
    return Response()


@authenticated
async def greet(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(websocket.session.principal)  # type: ignore[attr-defined]
    await websocket.close()


def routes() -> list[Any]:
    return [Route("/login", login, methods=["POST"]), WebSocketRoute("/ws", greet)]


@pytest.fixture
def client(settings_for: Callable[..., Settings]) -> Iterator[TestClient]:
    with TestClient(Service(routes(), settings=settings_for())) as client:
        yield client


def refused(client: TestClient, **options: Any) -> int:
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/ws", **options) as socket:
        socket.receive_text()
    return caught.value.code


def test_a_websocket_knows_who_is_calling(client: TestClient) -> None:
    """By the cookie of the browser that opens it."""
    client.post("/login")
    with client.websocket_connect("/ws") as socket:
        assert socket.receive_text() == "ada"


def test_a_stranger_is_refused(client: TestClient) -> None:
    """Before anything is accepted."""
    assert refused(client) == 1008


def test_a_page_of_another_site_is_refused(client: TestClient) -> None:
    """A browser sends cookies along with a WebSocket, whoever opens it."""
    client.post("/login")

    assert refused(client, headers={"Origin": "https://evil.example"}) == 1008


def test_without_redis_it_is_try_again_later(settings_for: Callable[..., Settings], tmp_path: Path) -> None:
    """1013, as 503 for a request."""
    settings = settings_for()
    with TestClient(Service(routes(), settings=settings)) as client:
        client.post("/login")
        cookies = dict(client.cookies)
    away = settings_for(redis_url=f"unix://{tmp_path}/none", namespace=settings.namespace)
    with TestClient(Service(routes(), settings=away), cookies=cookies) as client:
        assert refused(client) == 1013


async def test_nothing_is_left_running(settings_for: Callable[..., Settings]) -> None:
    """After the lifespan every task of ours has ended."""
    service = Service(routes(), settings=settings_for())
    async with service.runtime() as runtime:
        await runtime.store.ping()
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("fivenines")] == []
