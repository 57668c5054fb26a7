"""One connection that all requests of an event loop share.

Theory of operation. `do()` appends the command to a queue and returns a future; the first of a tick schedules one
flush, so commands submitted in one tick leave in one write and Redis answers them in one read. A reader takes the
answers off the socket in order and hands each to the oldest future. A caller that is cancelled only drops its own
future: its answer is read and thrown away, so nobody ever gets another caller's answer (redis-py#2624, #2665).

A future fails in one of two ways. `StoreUnavailableError`: the command never reached the socket. `ReplyLostError`: it
did, and its answer is unknown. Nothing is sent twice from here.

A connection whose oldest command waits longer than `timeout` is closed, because a Redis that hangs keeps its
connections open for ever. After a failed attempt to connect the next is made no sooner than `RETRY_AFTER` later;
callers in between fail at once, so that a dead Redis costs a request microseconds rather than a connect timeout.

It stands on public methods of redis-py's own connection object (connect, send_packed_command, read_response,
disconnect), so TLS, ACLs, RESP3 and unix sockets work as they do there.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

from redis.exceptions import BusyLoadingError, ResponseError

from fivenines.context import request_variable
from fivenines.errors import ReplyLostError, StoreCommandError, StoreUnavailableError
from fivenines.events import Events, StoreConnected, StoreLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio.connection import AbstractConnection

try:
    import hiredis
except ImportError:  # redis without hiredis: redis-py's own packer is used
    hiredis = None  # type: ignore[assignment]

MAX_IN_FLIGHT = 4_096
RETRY_AFTER = 0.1
Argument: TypeAlias = str | bytes | int | float

# Commands that hold the connection (everybody behind them waits), or change what it is.
_BLOCKING = frozenset(
    [
        "BLPOP",
        "BRPOP",
        "BRPOPLPUSH",
        "BLMOVE",
        "BLMPOP",
        "BZPOPMIN",
        "BZPOPMAX",
        "BZMPOP",
        "WAIT",
        "WAITAOF",
        "SUBSCRIBE",
        "PSUBSCRIBE",
        "SSUBSCRIBE",
        "UNSUBSCRIBE",
        "PUNSUBSCRIBE",
        "SUNSUBSCRIBE",
        "MONITOR",
        "SYNC",
        "PSYNC",
        "MULTI",
        "EXEC",
        "DISCARD",
        "WATCH",
        "UNWATCH",
        "SELECT",
        "AUTH",
        "HELLO",
        "RESET",
        "QUIT",
        "CLIENT",
        "DEBUG",
        "SHUTDOWN",
        "REPLICAOF",
        "SLAVEOF",
        "FAILOVER",
    ]
)
# A Redis that answers and cannot do its work: full, demoted, cut off from its replicas, busy with a script.
_AWAY = frozenset(
    ["BUSY", "CLUSTERDOWN", "MASTERDOWN", "MISCONF", "NOAUTH", "NOREPLICAS", "OOM", "READONLY", "TRYAGAIN"]
)  # fmt: skip
_BLOCKING_WITH_OPTION = frozenset({"XREAD", "XREADGROUP"})


class Lane:
    """The shared connection to one node. Made for one event loop; connects at the first command."""

    def __init__(
        self,
        connection: Callable[[], AbstractConnection],
        *,
        connect_timeout: float,
        timeout: float,
        events: Events | None = None,
    ) -> None:
        self._make_connection = connection
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._events = events or Events()
        self._loop = asyncio.get_running_loop()
        self._queue: list[tuple[bytes, asyncio.Future[Any]]] = []
        self._sent: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._flight: object = object()
        self._wake = asyncio.Event()
        self._stalled: asyncio.Future[None] = self._loop.create_future()
        self._runner: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._retry_at = 0.0
        self._reason = "not connected yet"
        self._lost_at: float | None = None
        self._closed = False
        self.connected = False

    def do(self, *command: Argument) -> asyncio.Future[Any]:
        """Submit a command now; the future brings the reply, as bytes.

        Raises ValueError for a command that would block the others. The future fails with StoreUnavailableError
        (never sent), ReplyLostError (sent, outcome unknown) or StoreCommandError (Redis refused it).
        """
        _refuse_blocking(command)
        # Here and not at the flush: an argument that is none fails its own caller, not everybody's connection.
        packed = pack(command)
        future = self._loop.create_future()
        if self._closed or len(self._sent) + len(self._queue) >= MAX_IN_FLIGHT:
            reason = "the store is closed" if self._closed else f"{MAX_IN_FLIGHT} commands are in flight"
            _fail(future, StoreUnavailableError(reason))
            return future
        if self._runner is None:
            if self._loop.time() < self._retry_at:
                _fail(future, StoreUnavailableError(self._reason))
                return future
            self._runner = self._loop.create_task(
                # Not in the context of the request that happens to come first: it serves them all.
                self._run(),
                name="fivenines-lane",
                context=contextvars.Context(),
            )
        if not self._queue:
            self._flight = object()
            self._loop.call_soon(self._wake.set)
        if (request := request_variable.get()) is not None and request.flight is not self._flight:
            request.flight = self._flight
            request.flights += 1
        self._queue.append((packed, future))
        return future

    async def aclose(self) -> None:
        """Close the connection; what is still in flight fails."""
        self._closed = True
        if (runner := self._runner) is not None:
            runner.cancel()
            await asyncio.gather(runner, return_exceptions=True)

    async def _run(self) -> None:
        """Connect and serve until the connection ends; again at once if commands wait that were never sent."""
        failure: BaseException = StoreUnavailableError("the store is closed")
        try:
            while True:
                connection = self._make_connection()
                try:
                    async with asyncio.timeout(self._connect_timeout):
                        # Covers HELLO and AUTH too: a Redis that hangs still accepts connections.
                        await connection.connect()  # type: ignore[no-untyped-call]
                    if self._closed:
                        return  # whatever library lies beneath may swallow a cancellation
                    self._became_connected()
                    failure = await self._serve(connection)
                    if isinstance(failure, _StalledError):
                        # Whoever has waited for the stall must not wait for a connection as well.
                        self._retry_at = self._loop.time() + RETRY_AFTER
                    self._became_lost(failure)
                finally:
                    # Without waiting: a peer that hangs would hold us.
                    await connection.disconnect(nowait=True)
                if not self._queue:
                    return
        except Exception as error:
            # Whatever redis-py raises here (refused, wrong password, TLS) means: no connection.
            timed_out = isinstance(error, TimeoutError)
            failure = TimeoutError(f"no connection within {self._connect_timeout:g} s") if timed_out else error
            self._retry_at = self._loop.time() + RETRY_AFTER
        finally:
            self._runner = None
            self._became_lost(failure)
            queue, self._queue = self._queue, []
            for _, future in queue:
                _fail(future, StoreUnavailableError(self._reason))

    async def _serve(self, connection: AbstractConnection) -> BaseException:
        """Write and read until one of them ends or the oldest command is too old; returns why."""
        self._stalled = stalled = self._loop.create_future()
        reader = self._loop.create_task(self._read(connection), name="fivenines-lane-reader")
        writer = self._loop.create_task(self._write(connection), name="fivenines-lane-writer")
        try:
            await asyncio.wait((reader, writer, stalled), return_when=asyncio.FIRST_COMPLETED)
            if stalled.done():
                return _StalledError(f"no answer within {self._timeout:g} s")
        finally:
            stalled.cancel()
            if self._watch is not None:
                self._watch.cancel()
                self._watch = None
            reader.cancel()
            writer.cancel()
            results = await asyncio.gather(reader, writer, return_exceptions=True)
        return next((error for error in results if isinstance(error, Exception)), ConnectionError("closed"))

    async def _write(self, connection: AbstractConnection) -> None:
        while True:
            batch = [(packed, future) for packed, future in self._queue if not future.cancelled()]
            self._queue = []
            self._wake.clear()
            if batch:
                now = self._loop.time()
                self._sent.extend((future, now) for _, future in batch)
                if self._watch is None:
                    self._watch = self._loop.call_later(self._timeout, self._look_for_stall, None)
                await connection.send_packed_command(b"".join(packed for packed, _ in batch), check_health=False)
            await self._wake.wait()

    async def _read(self, connection: AbstractConnection) -> None:
        read, sent = connection.read_response, self._sent
        while True:
            error: Exception | None = None
            try:
                reply = await read(disable_decoding=True, timeout=math.inf)
            except BusyLoadingError:
                error = StoreUnavailableError("Redis is loading its data")
            except ResponseError as refusal:
                error = StoreUnavailableError(str(refusal)) if _is_away(refusal) else StoreCommandError(str(refusal))
                error.__cause__ = refusal
            future, _ = sent.popleft()
            if future.done():
                continue
            if error is None:
                future.set_result(reply)
            else:
                _fail(future, error)

    def _look_for_stall(self, suspect: asyncio.Future[Any] | None) -> None:
        self._watch = None
        if not self._sent:
            return
        oldest, since = self._sent[0]
        left = since + self._timeout - self._loop.time()
        if left > 0:
            self._watch = self._loop.call_later(left, self._look_for_stall, None)
        elif oldest is suspect:
            if not self._stalled.done():
                self._stalled.set_result(None)
        else:
            # If it was this process that was stopped or busy, the answers are in the socket already: let the reader
            # have a turn before Redis is blamed.
            self._watch = self._loop.call_later(0.02, self._look_for_stall, oldest)

    def _became_connected(self) -> None:
        away = 0.0 if self._lost_at is None else self._loop.time() - self._lost_at
        self.connected, self._lost_at = True, None
        self._events.emit(StoreConnected(away=away))

    def _became_lost(self, failure: BaseException) -> None:
        """Fail what is in flight, and tell; called twice for one loss it does nothing the second time."""
        sent, self._sent = list(self._sent), deque()
        self._reason = f"{type(failure).__name__}: {failure}"
        if self._lost_at is None:
            self._lost_at = self._loop.time()
            if not self._closed:
                self._events.emit(StoreLost(reason=self._reason, lost=len(sent)))
        self.connected = False
        for future, _ in sent:
            _fail(future, ReplyLostError(self._reason, stalled=isinstance(failure, _StalledError)))


def _pack_in_python(command: tuple[Argument, ...]) -> bytes:
    parts = [b"*%d\r\n" % len(command)]
    for argument in command:
        if isinstance(argument, str):
            argument = argument.encode()
        elif isinstance(argument, int | float) and not isinstance(argument, bool):
            argument = repr(argument).encode()
        elif not isinstance(argument, bytes):
            raise TypeError(f"Redis takes str, bytes, int and float, not {type(argument).__name__}")
        parts += (b"$%d\r\n" % len(argument), argument, b"\r\n")
    return b"".join(parts)


# The command as Redis reads it. hiredis packs it in a tenth of the time that redis-py takes.
pack: Callable[[tuple[Argument, ...]], bytes] = getattr(hiredis, "pack_command", _pack_in_python)


class _StalledError(Exception):
    """The oldest command has waited too long."""


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        # Seen: a request that was refused elsewhere never awaits what it had submitted, and that is no news.
        future.exception()


def _is_away(refusal: ResponseError) -> bool:
    # redis-py cuts the codes it knows off the text, and keeps them apart.
    code = getattr(refusal, "status_code", None) or str(refusal).partition(" ")[0]
    return code in _AWAY


def _refuse_blocking(command: tuple[Argument, ...]) -> None:
    name = command[0].decode("ascii", "replace") if isinstance(command[0], bytes) else str(command[0])
    if name in _NAMES_SEEN_OFTEN:
        return
    name = name.split(" ", 1)[0].upper()
    blocks = name in _BLOCKING or (
        name in _BLOCKING_WITH_OPTION and any(str(part).upper().strip("b'") == "BLOCK" for part in command[1:])
    )
    if blocks:
        raise ValueError(f"{name} would hold the connection that all requests share; use store.blocking()")


_NAMES_SEEN_OFTEN = frozenset({"EVALSHA", "EVAL", "GET", "SET", "PING"})
