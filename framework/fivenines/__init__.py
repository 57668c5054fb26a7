"""Highly available Starlette services: every replica is disposable.

A map, from the top:

    cli · testing            fivenines dev, serve, up; replicas and clients for tests
    server · lab             gunicorn with a drain; real servers for drills and `up`
    service                  Service, attach(): the order of the stages
    web · observe            problems, probes, stages; log lines
    sessions                 state that all replicas share: face, policy, store, Lua
    lifecycle · health       a replica's phase and what its probes say
    _runtime                 what one replica owns
    settings · store · codecs
    errors · events · context
"""

from typing import TYPE_CHECKING, Any

from fivenines.context import current_request, remaining
from fivenines.errors import (
    ConfigurationError,
    DeadlineExceededError,
    FiveNinesError,
    NotAuthenticatedError,
    RefusedError,
    ReplyLostError,
    StoreUnavailableError,
)
from fivenines.settings import Settings

if TYPE_CHECKING:
    from fivenines._runtime import Runtime, current_runtime, propagate
    from fivenines.service import Service, attach
    from fivenines.sessions import Session, authenticated, csrf_exempt

__version__ = "0.1.0"

__all__ = [
    "ConfigurationError",
    "DeadlineExceededError",
    "FiveNinesError",
    "NotAuthenticatedError",
    "RefusedError",
    "ReplyLostError",
    "Runtime",
    "Service",
    "Session",
    "Settings",
    "StoreUnavailableError",
    "attach",
    "authenticated",
    "csrf_exempt",
    "current_request",
    "current_runtime",
    "propagate",
    "remaining",
]


# Starlette and redis are dear to import (0.2 s), and the command line's help needs neither.
_LATE = {
    "Runtime": "fivenines._runtime",
    "current_runtime": "fivenines._runtime",
    "propagate": "fivenines._runtime",
    "Service": "fivenines.service",
    "attach": "fivenines.service",
    "Session": "fivenines.sessions",
    "authenticated": "fivenines.sessions",
    "csrf_exempt": "fivenines.sessions",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        import importlib

        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module 'fivenines' has no attribute {name!r}")
