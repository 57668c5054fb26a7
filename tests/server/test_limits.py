"""Heads that are too large or broken: a clear answer, a closed connection, and a replica that goes on."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow


@pytest.fixture
def ask(replica: Callable) -> Callable[[bytes], tuple[int, dict[str, object], bytes]]:
    """Send bytes; read the answer to its end, or as far as the connection lets us."""
    running = replica(FIVENINES_DRAIN="0")

    def send(data: bytes) -> tuple[int, dict[str, object], bytes]:
        with socket.create_connection(("127.0.0.1", running.port), timeout=10) as sock:

            def push() -> None:
                with contextlib.suppress(OSError):  # it answered and closed before we were done: right
                    sock.sendall(data)

            pusher = threading.Thread(target=push)
            pusher.start()
            received = b""
            try:
                while chunk := sock.recv(65_536):
                    received += chunk
            except ConnectionResetError:
                pass
            pusher.join()
        head, _, body = received.partition(b"\r\n\r\n")
        problem = json.loads(body) if b"problem+json" in head else {}
        assert running.get("/").status == 200
        return int(head.split()[1]), problem, head

    return send


HEAD = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"a" * 8_191 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        (b"GET /" + b"a" * 8_300 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /" + b"a" * 2**20 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (HEAD + b"X: " + b"a" * 32_000 + b"\r\n\r\n", 200),
        (HEAD + b"X: " + b"a" * 33_000 + b"\r\n\r\n", 431),
        (HEAD + b"X: " + b"a" * 2**20 + b"\r\n\r\n", 431),
        (HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1_000) for n in range(33)) + b"\r\n", 431),
        (HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 2**14) for n in range(64)) + b"\r\n", 431),
        (HEAD + b"".join(b"X-%d: a\r\n" % n for n in range(98)) + b"\r\n", 200),
        (HEAD + b"".join(b"X-%d: a\r\n" % n for n in range(99)) + b"\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
        (HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ],
    ids=[
        "target 8 KiB", "target over", "target 1 MiB", "field below 32 KiB", "field over", "field 1 MiB",
        "sum over", "1 MiB of fields", "100 fields", "101 fields", "no HTTP", "two lengths",
    ],
)  # fmt: skip
def test_head_limits(ask: Callable, request_bytes: bytes, status: int) -> None:
    """The limits hold to the field, and beyond them is a problem document that names no product."""
    got, problem, head = ask(request_bytes)

    assert got == status
    if status != 200:
        assert problem["status"] == status
        assert set(problem) == {"type", "title", "status", "detail"}
        assert b"Connection: close" in head
        assert b"gunicorn" not in head


def test_an_answer_that_says_close_is_the_last(replica: Callable) -> None:
    """gunicorn alone would send the header and keep the connection: after a 413 the rest of a body is on its way."""
    running = replica(FIVENINES_DRAIN="0")
    request = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as sock:
        sock.sendall(request % b"/" + request % b"/last" + request % b"/")
        received = b""
        while chunk := sock.recv(65_536):
            received += chunk

    assert received.count(b"HTTP/1.1 200") == 2
