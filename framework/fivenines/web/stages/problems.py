"""Errors that nobody answered become problem documents; the log gets the rest of the story."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fivenines.errors import FiveNinesError
from fivenines.web.exchange import exchange_of
from fivenines.web.problems import answer, answer_http_exception

if TYPE_CHECKING:
    from fivenines._types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("fivenines")


class Problems:
    """Answers whatever the stages, middleware and handlers beneath it raise.

    Once the response has begun nothing can be said any more: the error is passed on, so that the server closes the
    connection and the caller sees a broken answer rather than a short one that looks whole.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await self._websocket(scope, receive, send)
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        from starlette.exceptions import HTTPException
        from starlette.requests import ClientDisconnect

        exchange = exchange_of(scope)
        try:
            await self.app(scope, receive, send)
        except ClientDisconnect:
            return  # nobody is left to answer
        except Exception as error:
            exchange.error = error
            expected = isinstance(error, HTTPException) or (isinstance(error, FiveNinesError) and error.status < 500)
            if not expected:
                level = logging.WARNING if isinstance(error, FiveNinesError) and error.status == 503 else logging.ERROR
                log.log(level, "request failed", exc_info=error if level == logging.ERROR else None,
                        extra={"fields": {"error": f"{type(error).__name__}: {error}"}})  # fmt: skip
            if exchange.started:
                if scope.get("fivenines.answered"):
                    return  # Starlette's ServerErrorMiddleware answers by the host's handler, and raises all the same
                raise
            response = answer_http_exception(error) if isinstance(error, HTTPException) else answer(error)
            await response(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A refusal closes the connection; before it was accepted, a server answers that with 403."""
        closed = False

        async def noting(message: Message) -> None:
            nonlocal closed
            closed = closed or message["type"] == "websocket.close"
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except FiveNinesError as error:
            exchange_of(scope).error = error
            if not closed:
                await send({"type": "websocket.close", "code": _TRY_AGAIN if error.status == 503 else _REFUSED})


# RFC 6455, section 7.4, and the registry it founded.
_REFUSED, _TRY_AGAIN = 1008, 1013
