"""gunicorn's own ASGI worker, made to start and stop cleanly.

The stock worker, measured: one silent idle connection holds its stop until the arbiter kills it, and then
neither lifespan shutdown nor `worker_exit` runs; it does not heartbeat while it finishes, so a long request
is killed after `timeout`; and it learns of SIGTERM up to a second late. Here the clock is

    0                      listeners close; connections that are silent close too
    graceful - reserve     what is still running is named in the log and cancelled
    graceful               lifespan shutdown has ended, by then the arbiter would kill

Still to come: close codes for WebSockets, a report of what was cut, and limits for slow clients.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any

from gunicorn.arbiter import Arbiter
from gunicorn.asgi.lifespan import LifespanManager
from gunicorn.workers.gasgi import ASGIWorker

from fivenines.errors import ConfigurationError
from fivenines.lifecycle import LIFESPAN_STATE_KEY
from fivenines.server._gunicorn import Connection, hide_server_header
from fivenines.server.reload import error_app

if TYPE_CHECKING:
    from fivenines.server.drain import ReplicaPage

# A connection is silent when no byte came for this long: a request whose head is on its way, or a handshake
# that the kernel completed just before the listener closed, still gets its answer.
QUIET = 1.0
# What lifespan shutdown may take, out of the graceful timeout; less where that is short.
RESERVE = 5.0


class Worker(ASGIWorker):
    """One worker process of a replica."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._wake = asyncio.Event()
        self.leaving = False
        super().__init__(*args, **kwargs)
        self.page: ReplicaPage = self.app.page
        self.state: dict[str, Any] = {LIFESPAN_STATE_KEY: self.page}
        self.connections: set[Connection] = set()

    @property
    def alive(self) -> bool:
        """True to the end; setting it False (SIGTERM, enough requests, a changed file, no parent) begins the end.

        gunicorn's connections read it twice, for the answer's header and once more after the answer. Were it
        to change between the two, a connection would close that the header promised to keep, and the client's
        next request on it would be lost. They ask `leaving` instead, once.
        """
        return True

    @alive.setter
    def alive(self, value: bool) -> None:
        self.leaving = not value
        if not value:
            # The reloader calls from its thread. A closed loop has nobody left to wake.
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._wake.set)

    def load_wsgi(self) -> None:
        if not self.cfg.reload:
            super().load_wsgi()
            return
        try:
            self.asgi = self.app.wsgi()
        except Exception as error:
            # A developer saves half a thought: say what is wrong and wait for the next save.
            self.asgi = error_app(error, self.reloader, self.log)

    async def _serve(self) -> None:
        hide_server_header()
        heartbeat = asyncio.create_task(self._heartbeat())
        try:
            await self._start_lifespan()
            for listener in self.sockets:
                server = await self.loop.create_server(
                    lambda: Connection(self), sock=listener.sock, ssl=self._get_ssl_context()
                )
                self.servers.append(server)
            if not self.leaving:
                await self._wake.wait()
            await self._shutdown()
        finally:
            heartbeat.cancel()

    async def _heartbeat(self) -> None:
        """Tell the arbiter that the loop turns, from first to last; stop when the arbiter is gone."""
        while True:
            self.notify()
            if self.ppid != os.getppid():
                self.alive = False
            await asyncio.sleep(min(1.0, self.timeout / 2))

    async def _start_lifespan(self) -> None:
        raised: list[Exception] = []

        async def watched(scope: Any, receive: Any, send: Any) -> None:
            try:
                await self.asgi(scope, receive, send)
            except Exception as error:
                raised.append(error)
                raise

        self.lifespan = LifespanManager(watched, self.log, self.state)
        try:
            await self.lifespan.startup()
        except Exception as error:
            cause = raised[0] if raised else error
            if self.cfg.reload:
                self.asgi, self.lifespan = error_app(cause, self.reloader, self.log), None
                return
            configuration = isinstance(cause, ConfigurationError)
            if not configuration:
                self.log.error("lifespan startup failed: %s", error, exc_info=cause)
            self.page.refuse(_one_line(cause), configuration=configuration)
            raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from error

    async def _shutdown(self) -> None:
        grace = float(self.cfg.graceful_timeout)
        reserve = min(RESERVE, grace / 4)
        deadline = self.loop.time() + grace - reserve
        # Whatever the kernel has completed by now is accepted before the listeners close, and has its
        # protocol, which takes the loop three rounds: accept, transport, connection_made. What completes
        # after that is reset: the drain's fence will close this gap.
        await _rounds(3)
        for server in self.servers:
            server.close()
        await _rounds(3)
        await self._finish(deadline)
        await self._cut(reserve / 5)
        await self._stop_lifespan(reserve / 2)
        # gunicorn's _cleanup waits for cancelled tasks without a bound, unless the stop is a quick one.
        self._quick_shutdown = True

    async def _finish(self, deadline: float) -> None:
        """Let requests end, unless the stop is a quick one; close connections that are silent."""
        # When another worker takes over on the same listener (SIGHUP, recycling) an idle connection is better
        # kept: nobody told its client to stop using it. A drain did.
        close_idle = self.page.draining or self.cfg.reload
        while self.connections and not self._quick_shutdown:
            now = self.loop.time()
            if now >= deadline:
                return
            for connection in list(self.connections):
                if close_idle and connection.idle_for(now) >= QUIET:
                    connection.close_idle()
            await asyncio.sleep(0.02)

    async def _cut(self, patience: float) -> None:
        tasks = []
        for connection in list(self.connections):
            self.log.warning("cut off: %s", connection.doing)
            if (task := connection.cut()) is not None:
                tasks.append(task)
        if tasks:
            await asyncio.wait(tasks, timeout=patience)

    async def _stop_lifespan(self, patience: float) -> None:
        if self.lifespan is None:
            return
        try:
            await asyncio.wait_for(self.lifespan.shutdown(), patience)
        except TimeoutError:
            self.log.error("lifespan shutdown took longer than %g s and was left", patience)
        except Exception:
            self.log.exception("lifespan shutdown failed")


async def _rounds(count: int) -> None:
    """Let the event loop turn: each round polls the sockets once."""
    for _ in range(count):
        await asyncio.sleep(0)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, ConfigurationError) else f"{type(error).__name__}: {text}"
