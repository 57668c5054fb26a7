"""Redis, replicas and a balancer as one thing, some of whose parts one can lose."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import time
from typing import TYPE_CHECKING

from fivenines.errors import ConfigurationError
from fivenines.lab.balancers import Balancer, balancer
from fivenines.lab.ports import free_ports, is_free
from fivenines.lab.processes import Guard, Process, ProcessFailedError, http_status
from fivenines.lab.redis import RedisServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

_START_SECONDS = 30.0
_STOP_SECONDS = 45.0  # the drain, then gunicorn's graceful timeout of 30 s


class Replica:
    """One `fivenines serve` process tree with a public and an admin port that it keeps over restarts."""

    def __init__(self, number: int, port: int, admin_port: int, process: Process) -> None:
        self.number = number
        self.port = port
        self.admin_port = admin_port
        self.process = process
        self.started = 0.0  # monotonic
        self.stopping = False  # on purpose: nobody need start it again

    @property
    def name(self) -> str:
        """`replica1` and so on, as in the balancer's own statistics."""
        return f"replica{self.number}"

    def start(self) -> None:
        """Start it; it may not be ready yet."""
        self.process.start()
        self.started = time.monotonic()

    def ready(self) -> bool:
        """Whether its own readiness says so now."""
        return http_status(self.port, "/readyz") == 200

    def wait_ready(self) -> None:
        """Wait until it may get traffic."""
        self.process.wait_ready(self.ready, deadline=_START_SECONDS)


class Cluster:
    """`replicas` copies of `target` (`app:service`, imported from `folder`) behind a balancer.

    State (logs, Redis' data, configurations) lies in `state`. With `redis_url` no Redis is started. Every
    part ends when this process does, however that happens.
    """

    def __init__(
        self,
        target: str,
        folder: Path,
        state: Path,
        *,
        replicas: int = 3,
        env: Mapping[str, str] | None = None,
        balancer_kind: str | None = None,
        host: str = "127.0.0.1",
        port: int | None = None,
        server_timeout: float = 5.0,
        drain: float = 1.0,
        redis_url: str | None = None,
    ) -> None:
        if replicas < 1:
            raise ConfigurationError("a cluster needs at least one replica: --replicas 3")
        if port is not None and not is_free(port, host):
            raise ConfigurationError(f"port {port} on {host} is taken: choose another with --port")
        self._guard = Guard()
        self.redis = None if redis_url else RedisServer(state / "redis", self._guard)
        url = redis_url or (self.redis.url if self.redis else "")
        ports = free_ports(2 * replicas)
        environment = {
            **os.environ,
            # One for all replicas, and gone with the cluster unless the caller keeps one.
            "FIVENINES_SECRET_KEYS": os.environ.get("FIVENINES_SECRET_KEYS") or secrets.token_urlsafe(48),
            # Python's HTTP clients do not send a Secure cookie back over plain HTTP.
            "FIVENINES_SESSION_COOKIE": "insecure",
            "FIVENINES_REDIS_URL": url,
            "FIVENINES_DRAIN": f"{drain:g}",
            "FIVENINES_WORKERS": "1",
            "ORDERS_DEMO_LOGIN": "on",
            **(env or {}),
        }
        self.replicas = [
            Replica(
                number,
                public,
                admin,
                Process(
                    f"replica{number}",
                    [
                        *(sys.executable, "-m", "fivenines", "serve", target),
                        *("--bind", f"127.0.0.1:{public}", "--admin-bind", f"127.0.0.1:{admin}"),
                    ],
                    cwd=folder,
                    env=environment,
                    log=state / f"replica{number}.log",
                    guard=self._guard,
                ),
            )
            for number, public, admin in zip(range(1, replicas + 1), ports[::2], ports[1::2], strict=True)
        ]
        self.balancer: Balancer = balancer(balancer_kind)(
            ports[::2],
            state / "balancer",
            self._guard,
            host=host,
            port=port,
            server_timeout=server_timeout,
        )

    @property
    def url(self) -> str:
        """Where the service is, through the balancer."""
        return self.balancer.url

    async def start(self) -> None:
        """Start every part; returns when a request was answered through the balancer.

        Raises ProcessFailedError with the end of the log of the part that did not come up; nothing is left.
        """
        try:
            # The replicas begin with Redis: importing takes them longer than it takes Redis to listen.
            await asyncio.gather(*(asyncio.to_thread(start) for start in self._starts()))
            # Before the balancer is asked for an answer, since a replica that ended tells why.
            await asyncio.gather(*(asyncio.to_thread(replica.wait_ready) for replica in self.replicas))
            await asyncio.to_thread(self.balancer.wait_ready)
        except BaseException:
            await asyncio.shield(asyncio.create_task(self.stop()))
            raise

    async def kill(self, number: int) -> None:
        """SIGKILL the whole replica, as the death of its machine would; `revive` brings it back."""
        self.replica(number).stopping = True
        await asyncio.to_thread(self.replica(number).process.kill)

    async def revive(self, number: int) -> float:
        """Start a dead replica; the seconds until it was ready."""
        replica, began = self.replica(number), time.monotonic()
        await asyncio.to_thread(replica.start)
        await asyncio.to_thread(replica.wait_ready)
        replica.stopping = False
        return time.monotonic() - began

    async def restart(
        self, number: int, *, while_draining: Callable[[Replica], Awaitable[None]] | None = None
    ) -> float:
        """SIGTERM, wait for its end, start it, wait until it is ready; the seconds that took.

        `while_draining` runs from the signal on and is cancelled when the process has ended.
        """
        replica, began = self.replica(number), time.monotonic()
        replica.stopping = True
        replica.process.signal(signal.SIGTERM)
        watcher = asyncio.ensure_future(while_draining(replica)) if while_draining else None
        ended = await asyncio.to_thread(replica.process.wait, _STOP_SECONDS)
        if watcher is not None:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
        if not ended:
            await asyncio.to_thread(replica.process.kill)
            raise ProcessFailedError(f"{replica.name} did not end within {_STOP_SECONDS:g} s of SIGTERM")
        await self.revive(number)
        return time.monotonic() - began

    async def watch(self, notice: Callable[[str], None], *, interval: float = 0.25) -> None:
        """Start dead replicas again until cancelled, and say so."""
        while True:
            for replica in self.replicas:
                if replica.process.alive or replica.stopping:
                    continue
                notice(f"{replica.name} ended with {replica.process.returncode}, starting it again")
                try:
                    took = await self.revive(replica.number)
                except ProcessFailedError as error:
                    # A service that cannot start any more must not be started without end at full speed.
                    notice(f"{error}; next try in 5 s")
                    await asyncio.sleep(5.0)
                else:
                    notice(f"{replica.name} is ready again after {took:.1f} s")
            await asyncio.sleep(interval)

    async def stop(self) -> None:
        """End every part: the balancer first, so that nothing is sent to replicas that go."""
        await asyncio.to_thread(self.balancer.stop)
        # At once: nobody sends them anything, so none needs a drain of its own.
        await asyncio.gather(*(asyncio.to_thread(replica.process.stop, _STOP_SECONDS) for replica in self.replicas))
        if self.redis is not None:
            await asyncio.to_thread(self.redis.stop)
        await asyncio.to_thread(self._guard.close)

    def replica(self, number: int) -> Replica:
        """By number, from 1."""
        return self.replicas[number - 1]

    def _starts(self) -> list[Callable[[], None]]:
        redis = [self.redis.start] if self.redis is not None else []
        return [*redis, *(replica.start for replica in self.replicas), self.balancer.process.start]
