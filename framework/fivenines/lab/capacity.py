"""Watches replicas from outside: how long not all of them were ready, and how each behaves in its drain."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from fivenines.lab.cluster import Replica

_INTERVAL = 0.1


class CapacityMeter:
    """Asks every replica ten times a second; adds up the time that some, or all, were not ready."""

    def __init__(self, replicas: list[Replica]) -> None:
        self._replicas = replicas
        self._task: asyncio.Task[None] | None = None
        self.ready = 0
        self.seconds_reduced = 0.0  # fewer than all
        self.seconds_none = 0.0

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop watching; the sums stand."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        last = time.monotonic()
        async with direct_client() as client:
            while True:
                ready = await asyncio.gather(*(_is_ready(client, replica) for replica in self._replicas))
                self.ready = sum(ready)
                now = time.monotonic()
                if not all(ready):
                    self.seconds_reduced += now - last
                if not any(ready):
                    self.seconds_none += now - last
                last = now
                await asyncio.sleep(_INTERVAL)


@dataclass
class Drain:
    """What one replica did between SIGTERM and its end."""

    replica: str
    unready_after: float | None = None  # seconds from the signal to the first 503 of /readyz
    served: int = 0  # requests answered on its public port after that
    served_for: float = 0.0  # seconds from the signal to the last of them
    kept_open: int = 0  # of those, answers that did not say Connection: close
    live: bool = True  # /livez answered 200 as long as there was an answer


async def watch_drain(replica: Replica, drain: Drain) -> None:
    """Ask a replica that was just told to stop, past the balancer, until it answers no more."""
    began = time.monotonic()
    async with direct_client() as client:
        while True:
            try:
                readiness = await client.get(f"http://127.0.0.1:{replica.port}/readyz")
                if readiness.status_code == 503 and drain.unready_after is None:
                    drain.unready_after = time.monotonic() - began
                if drain.unready_after is not None:
                    answer = await client.get(f"http://127.0.0.1:{replica.port}/prices/tea")
                    drain.served += answer.status_code == 200
                    drain.served_for = time.monotonic() - began
                    drain.kept_open += answer.headers.get("connection", "").lower() != "close"
                    liveness = await client.get(f"http://127.0.0.1:{replica.port}/livez")
                    drain.live = drain.live and liveness.status_code == 200
            except httpx2.HTTPError:
                # It does not listen any more; whoever waits for its end cancels us.
                await asyncio.sleep(_INTERVAL)
            await asyncio.sleep(0.01)


def direct_client() -> httpx2.AsyncClient:
    """For questions to one replica: each on a connection of its own, as a probe's."""
    return httpx2.AsyncClient(
        transport=httpx2.AsyncHTTPTransport(verify=False, limits=httpx2.Limits(max_keepalive_connections=0)),
        trust_env=False,
        timeout=1.0,
    )


async def _is_ready(client: httpx2.AsyncClient, replica: Replica) -> bool:
    try:
        answer = await client.get(f"http://127.0.0.1:{replica.port}/readyz")
    except httpx2.HTTPError:
        return False
    return answer.status_code == 200
