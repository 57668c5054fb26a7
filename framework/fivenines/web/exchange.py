"""One request and its response, as the stages share them: a single `send` wrapper instead of one each.

A stage that wants a say before the response begins adds a coroutine function to `before_start` (it may await, and
may raise: then the error becomes the answer), or headers to `headers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fivenines._runtime import Runtime
    from fivenines._types import Message, Scope, Send
    from fivenines.context import RequestInfo

KEY = "fivenines"


class Exchange:
    """The response so far. `status` is 0 until it begins."""

    __slots__ = ("_send", "before_start", "error", "headers", "info", "marks", "match", "matched_path", "runtime",
                 "session", "status")  # fmt: skip

    def __init__(self, info: RequestInfo, runtime: Runtime, send: Send) -> None:
        self.info = info
        self.runtime = runtime
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.before_start: list[Callable[[Message], Awaitable[None]]] = []
        self.error: BaseException | None = None
        self.marks: Any = {}
        self.match: Any = None
        self.matched_path = ""
        self.session: Any = None
        self._send = send

    @property
    def started(self) -> bool:
        """Whether the status line is on its way: after that no other answer can be given."""
        return self.status != 0

    async def send(self, message: Message) -> None:
        """Pass a message on; the first one with the headers that the stages added."""
        if message["type"] == "http.response.start" and not self.status:
            # Once: an error raised in here leads to a second start, which must not save or sign twice.
            while self.before_start:
                await self.before_start.pop(0)(message)
            message = {**message, "headers": [*message.get("headers", ()), *self.headers]}
            self.status = message["status"]
        await self._send(message)


def exchange_of(scope: Scope) -> Exchange:
    """The exchange that RequestContext made for this scope."""
    exchange: Exchange = scope[KEY]
    return exchange
