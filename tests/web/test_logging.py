"""The access line, and the rest of the log."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from starlette.responses import PlainTextResponse
from starlette.routing import Route

from fivenines import Service
from fivenines.observe.logging import JsonFormatter, TextFormatter, access
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


async def test_text_for_people_has_one_line_an_event(
    settings_for: Callable[..., Settings], caplog: pytest.LogCaptureFixture
) -> None:
    """A newline in a path does not make a second one."""
    service = Service([Route("/chatty", chatty)], settings=settings_for())
    text = await lines(service, caplog, TextFormatter())

    assert any("GET /chatty 200" in line for line in text)
    assert any("noticed item=tea" in line for line in text)
    assert all("\n" not in line for line in text)
