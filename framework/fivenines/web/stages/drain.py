"""Connections are told to go elsewhere once the replica is about to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fivenines.lifecycle import Lifecycle
from fivenines.web.exchange import exchange_of

if TYPE_CHECKING:
    from fivenines._types import ASGIApp, Message, Receive, Scope, Send


class Drain:
    """Still serves everything while draining; every answer says `Connection: close`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        exchange = exchange_of(scope)
        lifecycle = exchange.runtime.local(Lifecycle)

        async def close_while_draining(message: Message) -> None:
            # Asked when the answer begins, not when the request came: SIGTERM may have arrived in between.
            if lifecycle.draining:
                exchange.headers.append((b"connection", b"close"))

        exchange.before_start.append(close_while_draining)
        await self.app(scope, receive, send)
