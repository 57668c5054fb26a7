"""Log lines: one JSON object a line in production, one readable line in development.

`configure()` is for the process that serves (the server calls it once); the library itself configures nothing, so an
application that has its own logging keeps it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import re
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

import msgspec

from fivenines.context import current_request
from fivenines.events import Events, RequestFinished, StoreConnected, StoreLost

if TYPE_CHECKING:
    from collections.abc import Callable

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
access = logging.getLogger("fivenines.access")
log = logging.getLogger("fivenines")
_encode = msgspec.json.Encoder(enc_hook=str).encode


def observe(events: Events) -> None:
    """Log a replica's events."""
    events.subscribe(RequestFinished, _request_finished)
    events.subscribe(StoreLost, _store_lost)
    events.subscribe(StoreConnected, _store_connected)


def _request_finished(event: RequestFinished) -> None:
    if not access.isEnabledFor(logging.INFO):
        return
    fields = {
        "method": event.method,
        "path": event.path,
        "route": event.route,
        "status": event.status,
        "ms": round(event.seconds * 1_000, 2),
        "client": event.client,
        "principal": event.principal,
        "flights": event.flights,
        "request_id": event.request_id,
        "trace_id": event.trace_id,
    }
    access.info("request", extra={"fields": fields})


def _store_lost(event: StoreLost) -> None:
    log.warning("store lost", extra={"fields": {"reason": event.reason, "lost": event.lost}})


def _store_connected(event: StoreConnected) -> None:
    log.info("store connected", extra={"fields": {"away": round(event.away, 3)}})


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, event, the request it belongs to, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _timestamp(record.created),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        if (request := current_request()) is not None:
            line["request_id"], line["trace_id"] = request.request_id, request.trace_id
        line.update(getattr(record, "fields", ()))
        if record.exc_info:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return _encode(line).decode()


class TextFormatter(logging.Formatter):
    """For people: time, level, event, and the fields that are set."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {name: value for name, value in getattr(record, "fields", {}).items() if value not in (None, "")}
        if record.name == access.name:
            text = "{method} {path} {status} {ms} ms, {flights} flights".format(**{"flights": 0, **fields})
        else:
            text = " ".join([record.getMessage(), *(f"{name}={value}" for name, value in fields.items())])
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        # A path or a user's text with a line break in it must not look like a second line.
        line = f"{moment} {record.levelname.lower():7} {_CONTROL.sub(lambda match: repr(match[0])[1:-1], text)}"
        if record.exc_info:
            line += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return line


def _timestamp(created: float) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
    return f"{whole}.{int(created % 1 * 1_000):03d}Z"


def formatter(log_format: str) -> logging.Formatter:
    """The formatter for the `log_format` setting."""
    kinds: dict[str, Callable[[], logging.Formatter]] = {"json": JsonFormatter, "text": TextFormatter}
    return kinds[log_format]()


class BackgroundHandler(logging.Handler):
    """Writes lines in a thread of its own, so that a reader that stalls stops nobody.

    A pipe that nobody empties would otherwise block the event loop, probes included. At most `limit` lines wait; what
    comes beyond is dropped, and how much, is told once the reader goes on. Survives a fork: the child has its own
    queue and thread, and no stream's lock, which a fork could leave locked, is used.
    """

    def __init__(self, descriptor: int, limit: int = 10_000) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._limit = limit
        self._process = 0
        self._dropped = 0
        self._lines: queue.Queue[str]

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        if self._process != os.getpid():
            self._start()
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def flush(self) -> None:
        """Wait until all is written, but no longer than a second: the process is about to end."""
        if self._process != os.getpid():
            return
        end = time.monotonic() + 1.0
        with self._lines.all_tasks_done:
            while self._lines.unfinished_tasks and (left := end - time.monotonic()) > 0:
                self._lines.all_tasks_done.wait(left)

    def _start(self) -> None:
        self._process, self._dropped = os.getpid(), 0
        self._lines = queue.Queue(self._limit)
        threading.Thread(target=self._write, args=(self._lines,), name="fivenines-log", daemon=True).start()

    def _write(self, lines: queue.Queue[str]) -> None:
        while True:
            line = lines.get()
            # Whoever reads our output may be gone; that is no reason to stop the service.
            with contextlib.suppress(OSError):
                self._write_whole(line)
                if (dropped := self._dropped) and lines.empty():
                    self._dropped -= dropped
                    self._write_whole(f'{{"level":"warning","event":"log lines dropped","count":{dropped}}}')
            lines.task_done()

    def _write_whole(self, line: str) -> None:
        data = f"{line}\n".encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(self._descriptor, data) :]


def configure(log_format: str, log_level: str) -> None:
    """Send this process's log to stdout in our form; what was configured before is replaced."""
    handler = BackgroundHandler(sys.stdout.fileno())
    handler.setFormatter(formatter(log_format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(log_level.upper())


def flush() -> None:
    """Wait, a second at most, until what was logged is written."""
    for handler in logging.getLogger().handlers:
        handler.flush()
