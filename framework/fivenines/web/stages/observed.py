"""One event for each request, whatever became of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fivenines.events import RequestFinished
from fivenines.web.exchange import Exchange, exchange_of

if TYPE_CHECKING:
    from fivenines._types import ASGIApp, Message, Receive, Scope, Send


class Observed:
    """Emits RequestFinished when the last byte is out. Stands outside Problems, so it sees every refusal's status."""

    def __init__(self, app: ASGIApp, *, debug: bool) -> None:
        self.app = app
        self.debug = debug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        exchange = exchange_of(scope)
        if self.debug:
            exchange.before_start.append(lambda message: _add_server_timing(exchange, message))
        try:
            await self.app(scope, receive, send)
        finally:
            if exchange.runtime.events.wanted(RequestFinished):
                exchange.runtime.events.emit(_finished(exchange))


def _finished(exchange: Exchange) -> RequestFinished:
    info = exchange.info
    return RequestFinished(
        method=info.method,
        path=info.path,
        route=info.route,
        status=exchange.status or 499,  # nothing was answered: the caller left first
        seconds=time.perf_counter() - info.started,
        request_id=info.request_id,
        trace_id=info.trace_id,
        client=info.client,
        principal=info.principal,
        flights=info.flights,
        error=exchange.error,
    )


async def _add_server_timing(exchange: Exchange, message: Message) -> None:
    milliseconds = (time.perf_counter() - exchange.info.started) * 1_000
    value = f'app;dur={milliseconds:.1f}, store;desc="{exchange.info.flights} flights"'
    exchange.headers.append((b"server-timing", value.encode()))
