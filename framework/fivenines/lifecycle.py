"""Where a replica is between its start and its end.

The server may hand over the replica's shared state (an object with a live `draining`), so that every worker learns of
a SIGTERM in the same instant; without one the replica drains when its lifespan ends.
"""

from __future__ import annotations

from typing import Protocol

LIFESPAN_STATE_KEY = "fivenines.replica"


class ReplicaState(Protocol):
    """What a server shares with all workers of one replica."""

    @property
    def draining(self) -> bool:
        """Whether SIGTERM has arrived."""
        ...


class Lifecycle:
    """One replica's phase: starting, serving, draining."""

    def __init__(self) -> None:
        self.started = False
        self._ending = False
        self._replica: ReplicaState | None = None

    def watch(self, replica: ReplicaState | None) -> None:
        """Follow the state that the server shares between its workers."""
        self._replica = replica

    @property
    def draining(self) -> bool:
        """Whether this replica is about to stop: readiness fails, everything else still works."""
        return self._ending or (self._replica is not None and self._replica.draining)

    def end(self) -> None:
        """The server has begun to stop."""
        self._ending = True
