"""What a request needs from the store, submitted in one tick: one flight.

A later stage awaits its own answer. Nothing is submitted for a route that does not exist, nor for a request that is
refused without the store's help.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fivenines import sessions
from fivenines.web.exchange import exchange_of
from fivenines.web.router import look_up

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.routing import BaseRoute

    from fivenines._types import ASGIApp, Receive, Scope, Send


class Plan:
    """Matches the route, reads what it declares, and sends for the state it needs."""

    def __init__(self, app: ASGIApp, routes: Callable[[], Sequence[BaseRoute] | None]) -> None:
        self.app = app
        self.routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        exchange = exchange_of(scope)
        routes = self.routes()
        if routes is not None:
            look_up(exchange, routes, scope)
        # An application that shows no routes may answer anything.
        if routes is None or exchange.match is not None:
            exchange.session = sessions.begin(scope, exchange.runtime, csrf_exempt="csrf_exempt" in exchange.marks)
        await self.app(scope, receive, send)
