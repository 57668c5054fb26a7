"""What SIGTERM does to a replica: it says that it is not ready, serves on for a while, and only then stops.

A balancer learns of a stop from the readiness probe, some seconds late. gunicorn stops at once, which loses
whatever the balancer still sends. So the arbiter sets one byte, which every worker's readiness reads, goes on
as before for `Settings.drain` seconds, and then lets gunicorn stop the workers.

    t = 0        SIGTERM: the byte is set, /readyz answers 503, every answer carries Connection: close
    t = drain    the listeners close, workers finish what is in flight, then lifespan shutdown
    a second SIGTERM ends the wait; SIGINT and SIGQUIT stop at once; SIGHUP reloads, as ever

Later, between the two: an end of the wait as soon as the balancer has let go (`Drain._stop_at`), and a fence
that turns new handshakes away before the listeners close, for balancers without health checks (where
`take_over_term` ends the wait).
"""

from __future__ import annotations

import mmap
import time
from typing import Any

from fivenines.server._gunicorn import take_over_term

_DRAINING = 0  # offset of the byte
_REFUSAL = 1024  # offset of the text: one byte kind, two bytes length, UTF-8
_REFUSAL_MAX = 2048


class ReplicaPage:
    """One anonymous page of memory that the arbiter and all its workers share.

    Made before the first fork, so a worker that is started later has it too, whatever killed its predecessor.
    Offsets 64 to 1023 are free for the workers' slots (one writer each, aligned, no locks).
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    def __repr__(self) -> str:
        return f"<ReplicaPage draining={self.draining}>"

    @property
    def draining(self) -> bool:
        """True from the moment SIGTERM arrived, in every process of the replica."""
        return self._memory[_DRAINING] != 0

    def begin_drain(self) -> None:
        """Set the byte: one store, so it may be done in a signal handler."""
        self._memory[_DRAINING] = 1

    def refuse(self, reason: str, *, configuration: bool) -> None:
        """Leave the reason why a worker cannot start, for the arbiter to tell after the worker is gone."""
        text = reason.encode("utf-8", "replace")[:_REFUSAL_MAX]
        head = bytes([2 if configuration else 1]) + len(text).to_bytes(2, "big")
        self._memory[_REFUSAL : _REFUSAL + 3 + len(text)] = head + text

    @property
    def refusal(self) -> tuple[str, bool] | None:
        """The reason that a worker left and whether it is the configuration's fault."""
        kind = self._memory[_REFUSAL]
        if not kind:
            return None
        length = int.from_bytes(self._memory[_REFUSAL + 1 : _REFUSAL + 3], "big")
        text = self._memory[_REFUSAL + 3 : _REFUSAL + 3 + length]
        return text.decode("utf-8", "replace"), kind == 2


def install(arbiter: Any, page: ReplicaPage, seconds: float) -> None:
    """Make this arbiter drain; for the `on_starting` hook, which runs before gunicorn sets its handlers."""
    Drain(arbiter, page, seconds)


class Drain:
    """The arbiter's side: counts SIGTERMs and says when the stop begins."""

    def __init__(self, arbiter: Any, page: ReplicaPage, seconds: float) -> None:
        self._arbiter, self._page, self._seconds = arbiter, page, seconds
        self._asked = False
        take_over_term(arbiter, on_signal=page.begin_drain, on_term=self._stop_at)

    def _stop_at(self) -> float | None:
        """At SIGTERM: the monotonic time of the stop, or None for at once."""
        if self._asked:
            self._arbiter.log.info("drain cut short by a second SIGTERM")
            return None
        self._asked = True
        self._page.begin_drain()
        self._arbiter.log.info("drain: readiness fails, serving on for %g s", self._seconds)
        return time.monotonic() + self._seconds if self._seconds else None
