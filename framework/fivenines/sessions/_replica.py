"""What one replica knows of sessions, and how a request gets its own."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from fivenines.errors import CrossSiteError, StoreUnavailableError
from fivenines.sessions._policy import Claim, CookiePolicy, is_cross_site
from fivenines.sessions._session import WEBSOCKET, Session
from fivenines.sessions._store import SessionStore
from fivenines.sessions._turns import Turns

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from fivenines._runtime import Runtime
    from fivenines._types import Scope

T = TypeVar("T")


class Sessions:
    """The cookie policy, the store and the unfinished work of one replica."""

    def __init__(self, runtime: Runtime) -> None:
        self.cookies = CookiePolicy.from_settings(runtime.settings)
        self.store = SessionStore(runtime.store, runtime.settings)
        self.turns = Turns()
        self.events = runtime.events
        self._unfinished: set[asyncio.Task[Any]] = set()

    @classmethod
    def of(cls, runtime: Runtime) -> Sessions:
        """The replica's one."""
        return runtime.local(partial(cls, runtime), key="sessions")

    async def to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that a caller who is cancelled (deadline, client gone) must not leave half done."""
        task = asyncio.create_task(work)
        self._unfinished.add(task)  # the event loop itself holds tasks only weakly
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._unfinished.discard(task)
        if not task.cancelled():
            task.exception()  # seen: whoever was cancelled no longer asks for it


class PendingSession:
    """A session whose reading is on its way. `principal` is who the signed cookie says is calling."""

    __slots__ = ("_claim", "_load", "_read_only", "_sessions", "principal")

    def __init__(self, sessions: Sessions, claim: Claim, *, read_only: str = "") -> None:
        self.principal = claim.principal
        self._sessions, self._claim, self._read_only = sessions, claim, read_only
        self._load = sessions.store.load(claim)

    async def session(self) -> Session:
        """The session; one that raises StoreUnavailableError at every touch when it could not be read."""
        try:
            found = await self._load()
        except StoreUnavailableError as error:
            return Session(self._sessions, self._claim, error, self._read_only)
        return Session(self._sessions, self._claim, found, self._read_only)


def begin(scope: Scope, runtime: Runtime, *, csrf_exempt: bool = False) -> PendingSession | None:
    """Submit the reading of the request's session in this tick; None, and no flight, without a valid cookie.

    Raises CrossSiteError, before anything is submitted, when a browser sends an unsafe request from another
    site.
    """
    sessions = Sessions.of(runtime)
    claim = sessions.cookies.read(scope["headers"])
    if claim is None:
        return None
    websocket = scope["type"] == "websocket"
    if not csrf_exempt and is_cross_site(scope.get("method", "GET"), scope["scheme"], scope["headers"]):
        raise CrossSiteError("A page of another site sent this request.")
    return PendingSession(sessions, claim, read_only=WEBSOCKET if websocket else "")


def anonymous(scope: Scope, runtime: Runtime) -> Session:
    """The session of a request without a valid cookie: empty, stored only if something is written into it."""
    return Session(Sessions.of(runtime), read_only=WEBSOCKET if scope["type"] == "websocket" else "")
