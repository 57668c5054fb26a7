"""What one replica owns: its settings, its store, its events, and the local state of its policies.

A decorator is configuration only; the replica is found when the function is called, through `current_runtime()`.
"""

from __future__ import annotations

import contextvars
import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from fivenines.events import Events
from fivenines.store import Store, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from fivenines.settings import Settings

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")


class Runtime:
    """One replica, as long as it runs. Belongs to one event loop.

    Local state of a policy (a semaphore, a window) is made by `local()` and lives here, never in a module: gunicorn
    forks after import, and tests run several replicas in one process.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.events = Events()
        self.store: Store = connect(
            settings.redis_url,
            connect_timeout=settings.redis_connect_timeout,
            timeout=settings.redis_timeout,
            events=self.events,
        )
        self._local: dict[Hashable, object] = {}

    def local(self, factory: Callable[[], T], key: Hashable | None = None) -> T:
        """The replica's one object of this kind, made at the first call; `key` (default: the factory) names it."""
        name = factory if key is None else key
        if name not in self._local:
            self._local[name] = factory()
        return cast("T", self._local[name])

    @contextmanager
    def bind(self) -> Iterator[Runtime]:
        """Make this the runtime that `current_runtime()` finds, in this context."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)

    async def close(self) -> None:
        """Close what the replica has open."""
        await self.store.aclose()


_current: contextvars.ContextVar[Runtime | None] = contextvars.ContextVar("fivenines_runtime", default=None)
runtime_variable = _current


def current_runtime() -> Runtime:
    """The replica that this code runs in. Raises RuntimeError outside of one."""
    runtime = _current.get()
    if runtime is None:
        raise RuntimeError(
            "no replica is running here: in a script use `async with service.runtime():`, "
            "for an executor thread wrap the function with fivenines.propagate(fn)"
        )
    return runtime


def propagate(function: Callable[P, R]) -> Callable[P, R]:
    """Carry the request's context into a thread: `loop.run_in_executor(None, propagate(work))`.

    The context is copied when `propagate` is called, so call it inside the request.
    """
    context = contextvars.copy_context()

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        # A copy for each call: one context cannot be entered by two threads at once.
        return context.copy().run(function, *args, **kwargs)

    return wrapper
