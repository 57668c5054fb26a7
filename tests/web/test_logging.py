"""The access line, and the rest of the log."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING, Any

from starlette.responses import PlainTextResponse
from starlette.routing import Route

from fivenines import Service
from fivenines.observe.logging import BackgroundHandler, JsonFormatter, TextFormatter, access
from tests.web.conftest import serving

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from starlette.requests import Request
    from starlette.responses import Response

    from fivenines.settings import Settings


async def chatty(request: Request) -> Response:
    logging.getLogger("mine").warning("noticed", extra={"fields": {"item": "tea"}})
    return PlainTextResponse("")


async def lines(service: Service, caplog: pytest.LogCaptureFixture, formatter: logging.Formatter) -> list[str]:
    found: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(formatter.format(record))

    keep = Keep()
    logging.getLogger().addHandler(keep)
    try:
        with caplog.at_level(logging.INFO, access.name):
            async with serving(service) as client:
                await client.get("/chatty", headers={"X-Request-Id": "r-1"})
                await client.get("/nowhere%0A12:00:00 info forged")
    finally:
        logging.getLogger().removeHandler(keep)
    return found


async def test_one_json_object_a_line(settings_for: Callable[..., Settings], caplog: pytest.LogCaptureFixture) -> None:
    """What happened inside a request carries its id; the access line says what it cost."""
    service = Service([Route("/chatty", chatty)], settings=settings_for())
    parsed: list[dict[str, Any]] = [json.loads(line) for line in await lines(service, caplog, JsonFormatter())]
    mine = next(line for line in parsed if line["logger"] == "mine")
    requests = [line for line in parsed if line["event"] == "request"]

    assert (mine["event"], mine["item"], mine["request_id"], mine["level"]) == ("noticed", "tea", "r-1", "warning")
    assert [(line["status"], line["route"]) for line in requests] == [(200, "/chatty"), (404, None)]
    assert {"method", "path", "ms", "client", "flights", "request_id", "trace_id", "time"} <= set(requests[0])


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("mine", logging.INFO, "", 0, text, (), None)


def test_a_reader_that_stalls_stops_nobody() -> None:
    """A full pipe: logging goes on at once, what is too much is dropped, and how much is told afterwards."""
    reader, writer = os.pipe()
    handler = BackgroundHandler(writer, limit=100)
    handler.setFormatter(logging.Formatter("%(message)s"))
    try:
        for number in range(1_000):
            handler.emit(record(f"{number} {'x' * 4_000}"))
        text = b""
        while b"dropped" not in text:
            text += os.read(reader, 65_536)
        handler.flush()
    finally:
        os.close(writer)
        os.close(reader)

    lines = text.decode().splitlines()
    dropped = json.loads(next(line for line in lines if "dropped" in line))["count"]
    assert lines[0].startswith("0 ")
    assert dropped + len(lines) - 1 == 1_000
    assert dropped > 800


def test_flush_waits_for_what_was_logged() -> None:
    """The last words of a process that ends."""
    reader, writer = os.pipe()
    handler = BackgroundHandler(writer)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for number in range(200):
        handler.emit(record(str(number)))
    handler.flush()
    os.close(writer)
    with os.fdopen(reader) as lines:
        assert lines.read().split() == [str(number) for number in range(200)]


async def test_text_for_people_has_one_line_an_event(
    settings_for: Callable[..., Settings], caplog: pytest.LogCaptureFixture
) -> None:
    """A newline in a path does not make a second one."""
    service = Service([Route("/chatty", chatty)], settings=settings_for())
    text = await lines(service, caplog, TextFormatter())

    assert any("GET /chatty 200" in line for line in text)
    assert any("noticed item=tea" in line for line in text)
    assert all("\n" not in line for line in text)
