"""The embedded server is this user's alone and never outlives the process that began it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fivenines.store._embedded import EmbeddedServer, answers_ping

if TYPE_CHECKING:
    from collections.abc import Callable

_CHILD = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits it ignored
from fivenines.store._embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]) if sys.argv[1] else None)
print(server.start(), server._process.pid, flush=True)
mode = sys.argv[2]
if mode == "return": sys.exit()
if mode == "raise": raise SystemExit(3)
time.sleep(60)
"""


def _send(url: str, command: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        connection.connect(url.removeprefix("unix://"))
        connection.sendall(command + b"\r\n")
        return connection.recv(1024)


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # In a container without an init the dead stay listed.
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_server_starts_answers_and_stops() -> None:
    """start() twice is one server; stop() removes the server and its folder."""
    server = EmbeddedServer()
    try:
        url = server.start()
        address = Path(url.removeprefix("unix://"))

        assert server.start() == url
        assert _send(url, b"SET a 1") == b"+OK\r\n"
        assert stat.S_IMODE(address.parent.stat().st_mode) == 0o700
    finally:
        server.stop()
    assert not address.parent.exists()


def test_server_that_died_is_replaced() -> None:
    """A store that comes back asks again for the address and gets one that answers."""
    server = EmbeddedServer()
    try:
        server.start()
        assert server._process is not None
        server._process.kill()
        server._process.wait()

        assert _send(server.start(), b"PING") == b"+PONG\r\n"
    finally:
        server.stop()


def test_data_in_a_folder_is_kept(tmp_path: Path) -> None:
    """What was written is there after a restart; the folder may have a long name."""
    folder = tmp_path / ("long-" * 20)
    first = EmbeddedServer(folder)
    assert _send(first.start(), b"SET kept yes") == b"+OK\r\n"
    first.stop()

    second = EmbeddedServer(folder)
    try:
        assert b"yes" in _send(second.start(), b"GET kept")
    finally:
        second.stop()


@pytest.mark.parametrize("name", ["d", "long" * 30])
def test_one_folder_has_one_server(tmp_path: Path, name: str) -> None:
    """The second process shares the first one's server and does not stop it; also where no socket's path fits."""
    first, second = EmbeddedServer(tmp_path / name), EmbeddedServer(tmp_path / name)
    try:
        url = first.start()
        assert second.start() == url
        second.stop()

        assert answers_ping(socket.AF_UNIX, url.removeprefix("unix://"))
    finally:
        first.stop()
    assert not Path(url.removeprefix("unix://")).exists()


@pytest.mark.parametrize("end", ["return", "raise", "SIGTERM", "SIGKILL", "SIGINT"])
def test_server_ends_with_its_parent(end: str) -> None:
    """However the parent ends, the server and its scratch folder are gone soon after."""
    parent = subprocess.Popen(
        [sys.executable, "-c", _CHILD, "", end], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    url, pid = parent.stdout.readline().split()
    if end.startswith("SIG"):
        parent.send_signal(signal.Signals[end])
    parent.communicate(timeout=10)

    assert _within(5, lambda: _gone(int(pid)))
    assert _within(5, lambda: not Path(url.removeprefix("unix://")).parent.exists())
