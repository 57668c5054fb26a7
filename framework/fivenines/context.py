"""What is known of the request being served, in one context variable.

One variable, because setting four costs four times as much, and because executor threads copy them all anyway.
"""

from __future__ import annotations

import time
from contextvars import ContextVar


class RequestInfo:
    """One request: who asks, what for, how long it may take, and what it has cost so far.

    `deadline` is a point on the monotonic clock, in seconds. `flights` counts the times that this request waited for
    the store: commands that leave in one write are one flight. `unidentified` is why nobody can say who is calling
    (the store is away); while it is set, no principal does not mean that nobody is logged in.
    """

    __slots__ = (
        "client",
        "deadline",
        "flight",
        "flights",
        "method",
        "parent_id",
        "path",
        "principal",
        "request_id",
        "route",
        "scheme",
        "span_id",
        "started",
        "trace_flags",
        "trace_id",
        "trusted",
        "unidentified",
    )

    def __init__(self, method: str, path: str) -> None:
        self.method = method
        self.path = path
        self.route: str | None = None
        self.scheme = "http"
        self.client = ""
        self.trusted = False
        self.request_id = ""
        self.trace_id = ""
        self.span_id = ""
        self.parent_id = ""
        self.trace_flags = "01"
        self.principal: str | None = None
        self.unidentified: Exception | None = None
        self.deadline: float | None = None
        self.started = time.perf_counter()
        self.flights = 0
        self.flight: object = None

    @property
    def traceparent(self) -> str:
        """The W3C trace context header for calls that this request makes."""
        return f"00-{self.trace_id}-{self.span_id}-{self.trace_flags}"


request_variable: ContextVar[RequestInfo | None] = ContextVar("fivenines_request", default=None)


def current_request() -> RequestInfo | None:
    """The request that this code runs for, or None outside of one."""
    return request_variable.get()


def remaining() -> float | None:
    """Seconds left until the request's deadline (never below 0), or None where there is none.

    As yet nothing of the framework sets a deadline; a middleware of the service's own may.
    """
    request = request_variable.get()
    if request is None or request.deadline is None:
        return None
    return max(0.0, request.deadline - time.monotonic())
