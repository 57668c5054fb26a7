"""A body larger than the service accepts is refused while it is read, before it fills the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fivenines.errors import PayloadTooLargeError

if TYPE_CHECKING:
    from fivenines._types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Raises PayloadTooLargeError at the first read of a body that declares too much, or has sent too much.

    At the read and not before it, because 404, 401 and 415 are to be told first.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if not declared and not any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            return await self.app(scope, receive, send)
        limit, seen = self.limit, 0
        # A length of thousands of digits is none that int() would read.
        too_large = declared.isdigit() and (len(declared) > 18 or int(declared) > limit)

        async def limited() -> Message:
            nonlocal seen
            if too_large:
                raise PayloadTooLargeError(limit)
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > limit:
                    raise PayloadTooLargeError(limit)
            return message

        await self.app(scope, limited, send)
