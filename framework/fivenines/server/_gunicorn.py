"""All that we use of gunicorn beyond its public interface, in one place.

gunicorn has no hook for a drain and none for the connections of its ASGI worker, so this module leans on
names that a release may change: the distribution pins gunicorn to one major version, and
`tests/server/test_gunicorn_names.py` fails with a list of names the day that one is gone. Nothing outside of
this module touches a name with an underscore of gunicorn's, but for the methods that `worker.py` overrides;
those are in the table too.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import inspect
import itertools
import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any, Final

from gunicorn.arbiter import Arbiter
from gunicorn.asgi import protocol
from gunicorn.asgi.lifespan import LifespanManager
from gunicorn.asgi.parser import LimitRequestHeaders
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers.gasgi import ASGIWorker

if TYPE_CHECKING:
    from collections.abc import Callable

# Attributes by the class that has them; those which __init__ sets are looked for in its source.
NAMES: Final[dict[type, tuple[str, ...]]] = {
    Arbiter: (
        "handle_term", "wait_for_signals", "signal", "stop", "pid", "START_CTX",
        "WORKER_BOOT_ERROR", "APP_LOAD_ERROR",
    ),
    ASGIWorker: (
        "_serve", "_shutdown", "_cleanup", "_quick_shutdown", "_get_ssl_context", "load_wsgi",
        "handle_exit_signal", "alive", "asgi", "lifespan", "loop", "nr_conns", "reloader", "servers",
        "sockets", "state",
    ),
    ASGIProtocol: (
        "_awaiting_request", "_finishing_calls", "_keepalive_timeout", "_on_headers_complete",
        "_current_request", "_send_error_response", "_safe_write", "_task", "_will_close", "data_received",
    ),
    LifespanManager: ("startup", "shutdown"),
}  # fmt: skip


def missing_names() -> list[str]:
    """Names of `NAMES` that this gunicorn does not have."""
    missing = []
    for owner, names in NAMES.items():
        inits = [vars(base)["__init__"] for base in owner.__mro__[:-1] if "__init__" in vars(base)]
        source = "".join(inspect.getsource(init) for init in inits) + _assigned_later(owner)
        missing += [
            f"{owner.__name__}.{name}" for name in names if not hasattr(owner, name) and f"self.{name} =" not in source
        ]
    if not hasattr(protocol, "_CACHED_SERVER_HEADER"):
        missing.append("protocol._CACHED_SERVER_HEADER")
    return missing


def _assigned_later(owner: type) -> str:
    """Source of the methods that set an attribute after __init__."""
    methods = {Arbiter: ("start",), ASGIWorker: ("load_wsgi",)}.get(owner, ())
    return "".join(inspect.getsource(getattr(owner, name)) for name in methods if hasattr(owner, name))


def hide_server_header() -> None:
    """Leave out `Server: gunicorn/asgi`, which tells an attacker what to try and nobody else anything."""
    protocol._CACHED_SERVER_HEADER = b""


def take_over_term(arbiter: Any, on_signal: Callable[[], None], on_term: Callable[[], float | None]) -> None:
    """Put a drain between SIGTERM and the arbiter's stop.

    `on_signal` runs inside the signal handler, so it may do no more than set a byte. `on_term` runs in the
    arbiter's loop, at each SIGTERM, and answers at which monotonic time the stop begins; None: now.
    """
    stop_at: float | None = None
    queue_signal, wait = arbiter.signal, arbiter.wait_for_signals

    def handle_signal(number: int, frame: object) -> None:
        if os.getpid() != arbiter.pid:
            # A worker between the fork and its own handlers. gunicorn would queue the signal where nobody
            # reads it and kill the worker when the grace is over; nothing has started yet, so it simply ends.
            if number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                raise SystemExit(0)
            return
        if number == signal.SIGTERM:
            on_signal()
        queue_signal(number, frame)

    def handle_term() -> None:
        nonlocal stop_at
        stop_at = on_term()
        if stop_at is None:
            raise StopIteration  # which is how the arbiter's loop is told to stop gracefully

    def wait_for_signals(timeout: float = 1.0) -> list[int]:
        if stop_at is None:
            return list(wait(timeout=timeout))
        signals = list(wait(timeout=max(0.0, min(timeout, stop_at - time.monotonic()))))
        if not signals and time.monotonic() >= stop_at:
            raise StopIteration
        return signals

    arbiter.signal, arbiter.handle_term, arbiter.wait_for_signals = (
        handle_signal,
        handle_term,
        wait_for_signals,
    )


class Connection(ASGIProtocol):
    """One client's connection, which knows how long it has been silent.

    Adds to gunicorn's: a limit of the head as a whole (gunicorn limits the line and each field), problem
    documents for malformed HTTP, and closing from outside.
    """

    max_head = 32_768

    def __init__(self, worker: Any) -> None:
        super().__init__(worker)
        self._application, self.app, self._asked_to_close = self.app, self._serve_application, False
        self.last_received = worker.loop.time()

    async def _serve_application(self, scope: Any, receive: Any, send: Any) -> None:
        """gunicorn sends an application's `Connection: close` and keeps the connection: keep the word given."""

        async def noting(message: Any) -> None:
            if message["type"] == "http.response.start":
                self._asked_to_close = (b"connection", b"close") in message.get("headers", ())
            await send(message)

        await self._application(scope, receive, noting)

    def connection_made(self, transport: Any) -> None:
        self.worker.connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.worker.connections.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.last_received = self.worker.loop.time()
        super().data_received(data)

    def idle_for(self, now: float) -> float:
        """Seconds without a byte and without work; 0 while a request runs."""
        if not self._awaiting_request or self._finishing_calls:
            return 0.0
        return float(now - self.last_received)

    def close_idle(self) -> None:
        """Close as if the keep-alive time were over."""
        self._keepalive_timeout()

    def cut(self) -> Any:
        """Cancel what still runs here and answer the task, to be waited for."""
        if self._task is not None:
            self._task.cancel()
        return self._task

    @property
    def doing(self) -> str:
        """Method and path of the request that runs, for the log."""
        request = self._current_request
        return f"{request.method} {request.path}" if request is not None else "an idle connection"

    def _will_close(self, request: Any, response_requires_close: bool) -> bool:
        # Asked once a response, for the header and for the deed. A drain ends a connection with its next
        # answer.
        worker = self.worker
        ends = worker.leaving or worker.page.draining or self._asked_to_close
        return bool(ends or super()._will_close(request, response_requires_close))

    def _on_headers_complete(self) -> Any:
        result = super()._on_headers_complete()
        request: Any = self._current_request
        fields = request.headers_bytes
        # ": " and the line's end are part of each field on the wire.
        if sum(map(len, itertools.chain.from_iterable(fields))) + 4 * len(fields) > self.max_head:
            raise LimitRequestHeaders("Request header fields are too large")
        return result

    def _send_error_response(self, status: int, message: str, extra_headers: Any = ()) -> None:
        # gunicorn's message may quote the request and name its own parts: it goes to the log.
        self.log.info("malformed request: %s %s", status, message)
        title = _TITLES.get(status, "Malformed request")
        slug = title.lower().replace(" ", "-")
        problem = {"type": f"/problems/{slug}", "title": title, "status": status, "detail": f"{title}."}
        body = json.dumps(problem, separators=(",", ":")).encode()
        head = [
            f"HTTP/1.1 {status} {title}",
            "Content-Type: application/problem+json",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in extra_headers),
            "Connection: close",
        ]
        self._safe_write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)


_TITLES: Final = {
    400: "Malformed request",
    408: "Request timeout",
    414: "Target too long",
    426: "Upgrade required",
    431: "Header fields too large",
    500: "Internal server error",
    501: "Not implemented",
}
