"""What happened, as frozen values: features emit them, observers subscribe, neither knows the other.

An event that nobody subscribed to costs one look into a dict. Subscriptions belong to one replica's `Events`, never
to the module: two replicas in one process do not hear each other.

>>> events = Events()
>>> unsubscribe = events.subscribe(SessionEnded, print)
>>> events.emit(SessionEnded(principal="ada", everywhere=False))
SessionEnded(principal='ada', everywhere=False)
>>> unsubscribe()
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class RequestFinished:
    """A response went out whole, or was cut off (`status` 499 when the caller left first)."""

    method: str
    path: str
    route: str | None
    status: int
    seconds: float
    request_id: str
    trace_id: str
    client: str
    principal: str | None
    flights: int
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class StoreConnected:
    """The lane has a connection again; `away` is how long it had none, in seconds."""

    away: float


@dataclass(frozen=True, slots=True)
class StoreLost:
    """The lane lost its connection, or could not make one; `lost` commands have an unknown outcome."""

    reason: str
    lost: int


@dataclass(frozen=True, slots=True)
class SessionCreated:
    """A session was written for the first time, or its id was changed at a login (`rotated`)."""

    principal: str | None
    rotated: bool


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """A logout: of this session, or of all the principal has."""

    principal: str | None
    everywhere: bool


class Events:
    """The subscriptions of one replica."""

    def __init__(self) -> None:
        self._listeners: dict[type, tuple[Callable[[Any], object], ...]] = {}

    def subscribe(self, event_type: type[E], listener: Callable[[E], object]) -> Callable[[], None]:
        """Call `listener` with each event of exactly this type; returns the function that ends it."""
        self._listeners[event_type] = (*self._listeners.get(event_type, ()), listener)

        def unsubscribe() -> None:
            left = tuple(known for known in self._listeners.get(event_type, ()) if known is not listener)
            self._listeners[event_type] = left

        return unsubscribe

    def wanted(self, event_type: type) -> bool:
        """Whether building such an event is worth the while."""
        return bool(self._listeners.get(event_type))

    def emit(self, event: object) -> None:
        """Tell every listener; what a listener raises is logged, never passed on to the request."""
        for listener in self._listeners.get(type(event), ()):
            try:
                listener(event)
            except Exception:
                logging.getLogger("fivenines").exception("listener failed for %s", type(event).__name__)
