"""A whole replica: `Service` under `fivenines serve`, with a real Redis."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from fivenines.store import binaries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

APP = """
import asyncio, sys
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from fivenines import Service

async def modules(request):
    return PlainTextResponse(" ".join(sys.modules))

async def slow(request):
    open("slow", "a").write("x")
    await asyncio.sleep(1)
    return PlainTextResponse("done")

service = Service(routes=[Route("/", modules), Route("/slow", slow)], name="trial")
"""


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[Callable[[int], None]]:
    """Start a Redis on a port, when the test wants it."""
    servers: list[subprocess.Popen[bytes]] = []

    def start(port: int) -> None:
        found = binaries.find("redis")
        arguments = [str(found.path), "--port", str(port), "--save", "", "--dir", str(tmp_path)]
        environ = {**os.environ, **found.env}
        servers.append(subprocess.Popen(arguments, env=environ, stdout=subprocess.DEVNULL))

    yield start
    for server in servers:
        server.kill()
        server.wait()


def test_startup_waits_for_redis_and_lifespan_does_not(
    launch: Callable, eventually: Callable, start_redis: Callable[[int], None]
) -> None:
    """Without Redis the replica lives, unready; it starts by itself when Redis comes, after whatever time."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = launch(app=APP, FIVENINES_DRAIN="0", FIVENINES_REDIS_URL=f"redis://127.0.0.1:{port}").wait_until_serving()
    assert running.get("/startupz").status == 503
    assert running.get("/readyz", port=running.admin_port).status == 503

    start_redis(port)

    eventually(lambda: running.get("/startupz").status == 200)
    assert running.get("/readyz").status == 200
    assert running.get("/livez").status == 200


def test_drain_of_a_service(replica: Callable, eventually: Callable, redis_url: str, namespace: str) -> None:
    """Ready until SIGTERM, unready within 100 ms, live and closing to the end, exit 0."""
    running = replica(app=APP, FIVENINES_DRAIN="3", FIVENINES_REDIS_URL=redis_url, FIVENINES_NAMESPACE=namespace)
    eventually(lambda: running.get("/readyz").status == 200)

    began = time.monotonic()
    running.send(signal.SIGTERM)
    time.sleep(0.1)  # what is promised
    assert running.get("/readyz").status == 503
    rounds = 0
    while rounds == 0 or time.monotonic() - began < 1.3:
        rounds += 1
        answers = [running.get(path) for path in ("/", "/livez", "/startupz", "/nothing")]
        assert [answer.status for answer in answers] == [200, 200, 200, 404]
        assert {answer.headers["connection"] for answer in answers} == {"close"}

    assert running.wait() == 0


def test_serving_process_of_a_service_has_no_tools_in_memory(replica: Callable, redis_url: str, namespace: str) -> None:
    """What serve does not need is in no worker: not click, not rich, not the lab."""
    running = replica(app=APP, FIVENINES_DRAIN="0", FIVENINES_REDIS_URL=redis_url, FIVENINES_NAMESPACE=namespace)
    loaded = set(running.get("/").body.split())

    assert {"fivenines.service", "fivenines.server.worker", "redis"} <= loaded
    unwanted = {"click", "rich", "fivenines.lab", "fivenines.ops", "fivenines.testing", "fivenines.cli.commands"}
    assert not loaded & unwanted


def test_dev_needs_nothing_beside(launch: Callable, eventually: Callable) -> None:
    """`fivenines dev` needs nothing beside: its own Redis, its own key, its own cookie."""
    running = launch("dev", "app:service", app=APP, FIVENINES_SECRET_KEYS="").wait_until_serving()
    eventually(lambda: running.get("/startupz").status == 200)

    assert (running.folder / ".fivenines" / "secret-keys").stat().st_mode & 0o777 == 0o600
    assert "click" not in running.get("/").body.split()
    running.send(signal.SIGINT)
    assert running.wait() == 0
