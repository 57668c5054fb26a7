"""Real replicas: `fivenines serve` in a process of its own, on free ports, with a small application."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Without the framework's stages: what is tested here is the server beneath them.
APP = """
import asyncio, os

async def service(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        open("stopped", "a").write("stopped")
        await send({"type": "lifespan.shutdown.complete"})
        return
    replica, path = scope["state"]["fivenines.replica"], scope["path"]
    status, body = (503 if path == "/readyz" and replica.draining else 200), str(os.getpid()).encode()
    if path == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"more", "more_body": True})
            await asyncio.sleep(0.05)
    if path.startswith("/slow/"):
        open("slow", "a").write("x")
        await asyncio.sleep(float(path.removeprefix("/slow/")))
    halves = path.startswith("/halves/")
    headers = [(b"content-length", b"%d" % (2 if halves else len(body)))]
    if path == "/last":
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if halves:
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await asyncio.sleep(float(path.removeprefix("/halves/")))
        body = b"b"
    await send({"type": "http.response.body", "body": body})
"""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


class Replica:
    """One `fivenines serve`, and a client for it."""

    def __init__(self, folder: Path, environ: dict[str, str], arguments: tuple[str, ...]) -> None:
        self.folder = folder
        self.port, self.admin_port = free_port(), free_port()
        self.environ = {
            **os.environ,
            "FIVENINES_BIND": f"127.0.0.1:{self.port}",
            "FIVENINES_ADMIN_BIND": f"127.0.0.1:{self.admin_port}",
            "FIVENINES_SECRET_KEYS": "k" * 40,
            **environ,
        }
        self.log = folder / "log"
        self.connections: list[http.client.HTTPConnection] = []
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fivenines", *arguments],
                cwd=folder,
                env=self.environ,
                stdout=log,
                stderr=log,
            )

    def wait(self, timeout: float = 15.0) -> int:
        """Exit code, once it ended."""
        return self.process.wait(timeout)

    def wait_until_serving(self, path: str = "/livez") -> Replica:
        def serving() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(OSError):
                return self.get(path).status == 200
            return False

        eventually(serving, 20.0)
        return self

    def get(
        self, path: str, *, port: int | None = None, connection: http.client.HTTPConnection | None = None
    ) -> Answer:
        """Over a connection of its own, unless one is given."""
        used = connection or self.connect(port)
        used.request("GET", path)
        response = used.getresponse()
        answer = Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read().decode(),
        )
        if connection is None:
            used.close()
        return answer

    def connect(self, port: int | None = None) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)
        connection.connect()
        self.connections.append(connection)
        return connection

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        for connection in self.connections:
            connection.close()
        if self.process.poll() is None:
            self.process.terminate()
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(holds: Callable[[], bool], timeout: float = 10.0) -> None:
    """Poll until it holds; what is waited for happens in other processes."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout:g} s"
        time.sleep(0.01)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., None]:
    return eventually


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    """`launch(app=source, FIVENINES_DRAIN="0")` starts a replica and returns without waiting for it."""
    started: list[Replica] = []

    def start(*arguments: str, app: str = APP, **environ: str) -> Replica:
        (tmp_path / "app.py").write_text(textwrap.dedent(app))
        replica = Replica(tmp_path, environ, arguments or ("serve", "app:service"))
        started.append(replica)
        return replica

    yield start
    for replica in started:
        replica.end()


@pytest.fixture
def replica(launch: Callable[..., Replica]) -> Callable[..., Replica]:
    """Like `launch`, and serving when it is handed out."""

    def start(*arguments: str, **options: str) -> Replica:
        return launch(*arguments, **options).wait_until_serving()

    return start
