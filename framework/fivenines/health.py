"""What the probes say. Liveness never touches a dependency; readiness reads what a background check last saw.

A probe costs an attribute read, so a storm of them reaches no dependency. While Redis is away the replica stays ready
and says `degraded`: Redis is shared, and failing every replica at once would leave the balancer with none.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, NamedTuple

from fivenines.errors import FiveNinesError

if TYPE_CHECKING:
    from fivenines.lifecycle import Lifecycle
    from fivenines.store import Store

CHECK_EVERY = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


class Health(NamedTuple):
    """One probe's answer: `status` is pass, warn or fail (the words of the health+json draft)."""

    status: str
    output: str = ""

    @property
    def http_status(self) -> int:
        """200 for pass and warn, 503 for fail."""
        return 503 if self.status == "fail" else 200


class Monitor:
    """Watches the store in the background, and answers for this worker."""

    def __init__(self, store: Store, lifecycle: Lifecycle, *, store_is_critical: bool) -> None:
        self._store = store
        self._lifecycle = lifecycle
        self._critical = store_is_critical
        self._store_away = True
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to check; the start-up probe passes when the store has answered once."""
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="fivenines-health")

    async def stop(self) -> None:
        """End the checks."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def live(self) -> Health:
        """Answering at all is being alive."""
        return Health("pass")

    def started(self) -> Health:
        """Passes once every dependency has been seen, and for good."""
        return Health("pass") if self._lifecycle.started else Health("fail", "waiting for the store")

    def ready(self) -> Health:
        """Whether a balancer should send requests here."""
        if self._lifecycle.draining:
            return Health("fail", "draining")
        if not self._lifecycle.started:
            return self.started()
        if self._store_away:
            return Health("fail" if self._critical else "warn", "the store is away")
        return Health("pass")

    async def _watch(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._store.ping()
            except FiveNinesError:
                self._store_away = True
            else:
                self._store_away = False
                self._lifecycle.started = True
            if self._lifecycle.started:
                pause = CHECK_EVERY
            # Jitter: replicas that start together must not knock on Redis together for ever.
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(pause * 2, _LONGEST_PAUSE)
