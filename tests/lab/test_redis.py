"""A Redis that one can hurt."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from fivenines.lab.processes import Guard
from fivenines.lab.redis import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def guard() -> Iterator[Guard]:
    made = Guard()
    yield made
    made.close()


def _send(server: RedisServer, *commands: str) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=2) as connection:
        answer = b""
        for command in commands:
            connection.sendall(f"{command}\r\n".encode())
            answer = connection.recv(1024)
        return answer


def test_frozen_redis_keeps_connections_and_answers_nothing(tmp_path: Path, guard: Guard) -> None:
    """And goes on where it was."""
    server = RedisServer(tmp_path, guard, persist=False)
    server.start()
    _send(server, "SET a 1")

    server.freeze()
    assert not server.answers()
    server.unfreeze()

    assert b"1" in _send(server, "GET a")
    server.stop()
    assert not server.answers()


@pytest.mark.parametrize("end", ["restart", "kill"])
def test_redis_comes_back_on_its_port_with_its_data(tmp_path: Path, guard: Guard, end: str) -> None:
    """What was written to its file is read again."""
    server = RedisServer(tmp_path, guard)
    server.start()
    url = server.url
    _send(server, "CONFIG SET appendfsync always", "SET a kept")

    if end == "restart":
        server.restart()
    else:
        server.kill()
        server.start()

    assert b"kept" in _send(server, "GET a")
    assert server.url == url
    server.stop()


def test_password_is_asked_for_and_not_on_the_command_line(tmp_path: Path, guard: Guard) -> None:
    """It is in the URL that the service gets, and in a file for its owner."""
    server = RedisServer(tmp_path, guard, password="open-sesame", persist=False)
    server.start()

    assert b"NOAUTH" in _send(server, "GET a")
    assert _send(server, "AUTH open-sesame") == b"+OK\r\n"
    assert server.url.startswith("redis://:open-sesame@127.0.0.1:")
    assert not any("open-sesame" in part for part in server.process.command)
    assert (tmp_path / "password.conf").stat().st_mode & 0o077 == 0
    server.stop()
