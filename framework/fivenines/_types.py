"""Types that several layers share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from datetime import timedelta
from typing import Any, TypeAlias

Seconds: TypeAlias = float | int | timedelta
"""A duration: a number of seconds or a timedelta, everywhere."""

# ASGI's own shapes (asgiref), spelled out so that layers below the web need no web library.
Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def seconds(duration: Seconds) -> float:
    """The duration in seconds.

    >>> seconds(timedelta(minutes=1))
    60.0
    """
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
