"""Updates of one field take turns within a replica.

For fairness alone: what makes an update exact is the comparison in Redis, which the other replicas pass as well. But
64 requests that compare and set at once make 63 conflicts for each success, and the unluckiest of them starves; in
turns there is one contender a replica.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fivenines.errors import SessionConflictError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Turn:
    """The line for one field, first come, first served. `value` is what the one before left there."""

    def __init__(self) -> None:
        self.value: bytes | None = None
        self.lock = asyncio.Lock()
        self.users = 0


class Turns:
    """The lines of one replica; a line exists while somebody stands in it."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], Turn] = {}

    @asynccontextmanager
    async def take(self, session: str, field: str, *, until: float) -> AsyncIterator[Turn]:
        """Wait for the turn; SessionConflictError when it has not come by `until` on the event loop's clock."""
        key = (session, field)
        turn = self._lines.setdefault(key, Turn())
        turn.users += 1
        try:
            try:
                async with asyncio.timeout_at(until):
                    await turn.lock.acquire()
            except TimeoutError:
                raise SessionConflictError(retry_after=1.0) from None
            try:
                yield turn
            finally:
                turn.lock.release()
        finally:
            turn.users -= 1
            if not turn.users:
                del self._lines[key]
