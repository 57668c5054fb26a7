"""`connect(url)` and `Store`: what the rest of the framework knows of Redis."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from fivenines.errors import ConfigurationError, ReplyLostError, StoreCommandError, StoreUnavailableError
from fivenines.events import Events
from fivenines.store._lane import Argument, Lane

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from fivenines.store._embedded import EmbeddedServer
    from fivenines.store._scripts import Script

_SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "embedded",
)  # redis+sentinel and redis+cluster come with their topologies


def connect(url: str, *, connect_timeout: float = 0.25, timeout: float = 0.5, events: Events | None = None) -> Store:
    """The store behind a URL; nothing is opened before the first command. Both time limits are in seconds.

    Raises ConfigurationError for a URL that cannot be right.

    >>> store = connect("redis://127.0.0.1:6379/0")
    """
    scheme = urlsplit(url).scheme
    if scheme not in _SCHEMES:
        known = ", ".join(f"{name}://" for name in _SCHEMES)
        raise ConfigurationError(f"FIVENINES_REDIS_URL: {scheme or 'no scheme'} is not known; use one of {known}")
    return Store(url, connect_timeout=connect_timeout, timeout=timeout, events=events or Events())


class Store:
    """One Redis, as one replica sees it: a shared lane for everything quick, a small pool for what blocks.

    Replies are bytes. Errors: StoreUnavailableError (never sent), ReplyLostError (sent, outcome unknown),
    StoreCommandError (refused by Redis).
    """

    def __init__(self, url: str, *, connect_timeout: float, timeout: float, events: Events) -> None:
        self._url = url
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._events = events
        self._lane: Lane | None = None
        self._client: Redis | None = None
        self._embedded: EmbeddedServer | None = None
        self._closed = False

    async def open(self) -> None:
        """Start the embedded server where the URL asks for one; connections still open at the first command."""
        if self._url.startswith("embedded:"):
            await asyncio.to_thread(self._address)

    @property
    def connected(self) -> bool:
        """Whether the lane has a connection right now."""
        return self._lane is not None and self._lane.connected

    def do(self, *command: Argument) -> asyncio.Future[Any]:
        """Submit a command in this tick; await the future for its reply. Blocking commands are a ValueError."""
        return (self._lane or self._open()).do(*command)

    def read(self, *command: Argument) -> Awaitable[Any]:
        """Submit, in this tick, a command that changes nothing: it is sent once more if its answer was lost.

        A stall is not repeated: the caller's time is used up.
        """
        return _Answer(self, self.do(*command), command, repeatable=True)

    def submit(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument] = (), *, repeatable: bool = False
    ) -> Awaitable[Any]:
        """Send a script in this tick, so that several go out in one write; await the result for its reply.

        `repeatable` says that running it twice does what running it once does: then it is sent once more when its
        answer was lost with the connection. A stall is not repeated: the caller's time is used up.
        """
        first = self.do("EVALSHA", script.sha, len(keys), *keys, *args)
        whole = ("EVAL", script.text, len(keys), *keys, *args)
        return _Answer(self, first, whole, repeatable=repeatable)

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument] = (), *, repeatable: bool = False
    ) -> Any:
        """Run a script; see `submit`."""
        return await self.submit(script, keys, args, repeatable=repeatable)

    async def ping(self) -> None:
        """Raise StoreUnavailableError unless Redis answers within the time limit of one command."""
        await self.do("PING")

    def blocking(self) -> Redis:
        """A client of redis-py on a small pool of its own, for blocking commands and pub/sub. Retries are off."""
        self._require_open()
        if self._client is None:
            self._client = Redis(
                connection_pool=BlockingConnectionPool.from_url(
                    self._address(), max_connections=8, timeout=self._connect_timeout, **self._options()
                )
            )
        return self._client

    async def aclose(self) -> None:
        """Close every connection, and the embedded server if there is one."""
        self._closed = True
        lane, client, embedded = self._lane, self._client, self._embedded
        self._client = self._embedded = None
        if lane is not None:
            await lane.aclose()
        if client is not None:
            await client.aclose(close_connection_pool=True)
        if embedded is not None:
            await asyncio.to_thread(embedded.stop)

    def _open(self) -> Lane:
        self._require_open()
        self._lane = Lane(
            self._pool().make_connection,
            connect_timeout=self._connect_timeout,
            timeout=self._timeout,
            events=self._events,
        )
        return self._lane

    def _require_open(self) -> None:
        if self._closed:
            raise StoreUnavailableError("the store is closed")

    def _pool(self) -> ConnectionPool:
        """Never used as a pool: redis-py's URL parsing and connection classes come with it."""
        return ConnectionPool.from_url(self._address(), **self._options())

    def _options(self) -> dict[str, Any]:
        # redis-py repeats a command up to ten times by default, whether it ran or not: off. No time limit for each
        # read and write either: the lane watches the clock itself, and redis-py's would be one timer a reply, and an
        # asyncio.wait_for that can swallow a cancellation (cpython#86296).
        return {
            "socket_timeout": None,
            "socket_connect_timeout": self._connect_timeout,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 3,
            # Otherwise redis-py looks up its own version on the disk for every connection, inside the event loop.
            "driver_info": None,
        }

    def _address(self) -> str:
        if not self._url.startswith("embedded:"):
            return self._url
        if self._embedded is None:
            from fivenines.store._embedded import EmbeddedServer

            folder = urlsplit(self._url).path
            self._embedded = EmbeddedServer(Path(folder) if folder else None)
        return self._embedded.start()


class _Answer:
    """An answer on its way; awaiting it asks again where that is right. No coroutine: it may be left unawaited."""

    __slots__ = ("_again", "_first", "_repeatable", "_store")

    def __init__(
        self, store: Store, first: asyncio.Future[Any], again: tuple[Argument, ...], *, repeatable: bool
    ) -> None:
        self._store, self._first, self._again, self._repeatable = store, first, again, repeatable

    def __await__(self) -> Any:
        return self._wait().__await__()

    async def _wait(self) -> Any:
        try:
            return await self._first
        except StoreCommandError as error:
            # Redis restarted or flushed its scripts, and did not run anything: EVAL brings the text along.
            if not isinstance(error.__cause__, NoScriptError):
                raise
        except ReplyLostError as error:
            # After a stall the caller's time is used up.
            if not self._repeatable or error.stalled:
                raise
        return await self._store.do(*self._again)
