"""`request.session`: loaded before the handler, saved before the response begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fivenines.errors import StoreUnavailableError
from fivenines.sessions import anonymous, finish, require_principal
from fivenines.web.exchange import exchange_of

if TYPE_CHECKING:
    from fivenines._types import ASGIApp, Message, Receive, Scope, Send


class Sessions:
    """Awaits the session that the plan has sent for; refuses who is not logged in where the route says so."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        exchange = exchange_of(scope)
        pending = exchange.session
        session = await pending.session() if pending is not None else anonymous(scope, exchange.runtime)
        scope["session"] = exchange.session = session
        succeeded = True
        failure: BaseException | None = None

        async def save(message: Message) -> None:
            nonlocal failure
            try:
                await finish(session, exchange.headers, save=succeeded)
            except BaseException as error:
                failure = error
                raise

        exchange.before_start.append(save)
        try:
            exchange.info.principal = session.principal
        except StoreUnavailableError as error:
            exchange.info.unidentified = error
        try:
            if exchange.marks.get("authenticated"):
                require_principal(exchange.info)
            await self.app(scope, receive, send)
        except BaseException:
            # An error answered outside of this stage: what the handler had half changed is not kept.
            succeeded = False
            if failure is not None:
                # Starlette takes the response for begun and makes a RuntimeError of what the save raised.
                raise failure from None
            raise
