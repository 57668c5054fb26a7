"""`Service` and `attach()`: THE order of stages, and what starts and ends a replica."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware

from fivenines.errors import ConfigurationError, FiveNinesError
from fivenines.lifecycle import LIFESPAN_STATE_KEY, ReplicaState
from fivenines.observe import logging as observe_logging
from fivenines.settings import Settings
from fivenines.web import problems
from fivenines.web.replica import Replica
from fivenines.web.router import ServiceRouter, mounted_applications, routes_of
from fivenines.web.stages.body_limit import BodyLimit
from fivenines.web.stages.context import RequestContext
from fivenines.web.stages.drain import Drain
from fivenines.web.stages.observed import Observed
from fivenines.web.stages.plan import Plan
from fivenines.web.stages.problems import Problems
from fivenines.web.stages.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from starlette.middleware import Middleware
    from starlette.routing import BaseRoute

    from fivenines._runtime import Runtime
    from fivenines._types import ASGIApp, Receive, Scope, Send
    from fivenines.events import E

A = TypeVar("A")


def stages(inner: ASGIApp, holder: _Holder, routes: Callable[[], Sequence[BaseRoute] | None]) -> ASGIApp:
    """THE order, innermost first; each line says why it stands where it stands."""
    settings = holder.settings
    app: ASGIApp = inner  # the service's own middleware and routes
    app = Sessions(app)  # awaits the session; the service's middleware may read it
    app = Plan(app, routes)  # one flight for all that the route declares; only for requests nobody refused locally
    app = BodyLimit(app, settings.max_body)  # local: whoever is refused here never reached Redis
    app = Drain(app)  # every answer, refusals included, tells the connection to go elsewhere
    app = Problems(app)  # beneath Observed, so that refusals are seen with their status
    app = Observed(app, debug=settings.debug == "on")
    return RequestContext(app, holder)  # outermost: everything below reads the request and the replica here


class _Holder:
    """The settings, read as late as possible, and the replica while it runs."""

    def __init__(self, settings: Settings | None, name: str | None) -> None:
        self._settings = settings
        self._name = name
        self._replica: Replica | None = None
        self._replica_state: ReplicaState | None = None
        self.listeners: list[tuple[type, Callable[[Any], object]]] = []

    @property
    def settings(self) -> Settings:
        if self._settings is None:
            # At start-up, not at import: tests and `fivenines dev` set variables after the import.
            self._settings = Settings.from_environment()
        if self._name is not None and self._settings.name == "service":
            self._settings = msgspec.structs.replace(self._settings, name=self._name)
        return self._settings

    def current(self) -> Replica:
        if self._replica is None:
            raise RuntimeError(
                "the service has not started: its server must run ASGI lifespan (in tests: `with TestClient(service):`)"
            )
        return self._replica

    def starting(self, scope: Scope) -> None:
        """The server has opened the lifespan; its scope may carry the state that its workers share."""
        self._replica_state = scope.get("state", {}).get(LIFESPAN_STATE_KEY)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Replica]:
        self.settings.require_secret_keys()
        replica = Replica(self.settings)
        replica.lifecycle.watch(self._replica_state)
        observe_logging.observe(replica.runtime.events)
        for event_type, listener in self.listeners:
            replica.runtime.events.subscribe(event_type, listener)
        before, self._replica = self._replica, replica
        try:
            await replica.start()
            with replica.runtime.bind():
                yield replica
        finally:
            await replica.close()
            self._replica = before


class Service(Starlette):
    """A Starlette application whose state lives outside of it.

    Takes what Starlette takes but `debug`, for which there is `FIVENINES_DEBUG`. `name` is the default for
    `FIVENINES_NAME`; `settings` default to the environment, read at start-up. `edge_middleware` runs outside everything
    of ours (CORS, compression), `middleware` inside, with the session at hand. Raises ConfigurationError for a bad
    `name`, and at start-up for settings that cannot work.

    >>> from starlette.responses import PlainTextResponse
    >>> from starlette.routing import Route
    >>> service = Service(routes=[Route("/", lambda request: PlainTextResponse("hello"))], name="greeter")
    """

    def __init__(
        self,
        routes: Sequence[BaseRoute] | None = None,
        *,
        name: str | None = None,
        settings: Settings | None = None,
        middleware: Sequence[Middleware] | None = None,
        edge_middleware: Sequence[Middleware] | None = None,
        exception_handlers: Mapping[Any, Any] | None = None,
        lifespan: Any = None,
    ) -> None:
        super().__init__(
            routes=routes,
            middleware=middleware,
            exception_handlers=exception_handlers,
            lifespan=lifespan,
        )
        _check_name(name)
        self._holder = _Holder(settings, name)
        self._edge_middleware = list(edge_middleware or ())
        router = ServiceRouter(routes)
        router.lifespan_context = self.router.lifespan_context
        self.router = router
        _own_lifespan(self, self._holder)

    def subscribe(self, event_type: type[E], listener: Callable[[E], object]) -> None:
        """Call `listener` with each event of this type, in every replica that starts from now on."""
        self._holder.listeners.append((event_type, listener))

    @asynccontextmanager
    async def runtime(self) -> AsyncIterator[Runtime]:
        """A replica without a server, for scripts and workers: `async with service.runtime(): …`."""
        async with self._holder.running() as replica:
            yield replica.runtime

    def build_middleware_stack(self) -> ASGIApp:
        handlers: dict[Any, Any] = {
            FiveNinesError: problems.on_framework_error,
            HTTPException: problems.on_http_exception,
            **self.exception_handlers,
        }
        last_resort = handlers.pop(500, None) or handlers.pop(Exception, None)
        for mounted in mounted_applications(self.routes):
            _register_problems(mounted)
        app: ASGIApp = ExceptionMiddleware(self.router, handlers=handlers)
        for middleware, args, kwargs in reversed(self.user_middleware):
            app = middleware(app, *args, **kwargs)
        if last_resort is not None:
            app = ServerErrorMiddleware(app, handler=problems.final(last_resort))
        app = stages(app, self._holder, lambda: self.router.routes)
        for middleware, args, kwargs in reversed(self._edge_middleware):
            app = middleware(app, *args, **kwargs)
        return app


def attach(app: A, settings: Settings | None = None, *, name: str | None = None) -> A:
    """Give a Starlette or FastAPI application what `Service` has, in place, before its first request; returns it.

    Any other ASGI callable is returned wrapped. Raises RuntimeError where the application has served already.

    >>> from starlette.applications import Starlette
    >>> app = attach(Starlette())
    """
    _check_name(name)
    holder = _Holder(settings, name)
    if not isinstance(app, Starlette):
        wrapped: Any = _Wrapped(app, holder)
        return wrapped  # type: ignore[no-any-return]
    if app.middleware_stack is not None:
        raise RuntimeError("attach() comes too late: the application has served a request already")
    _register_problems(app)
    host_stack = app.build_middleware_stack

    def build() -> ASGIApp:
        for mounted in mounted_applications(app.routes):
            _register_problems(mounted)
        return stages(host_stack(), holder, lambda: routes_of(app))

    app.build_middleware_stack = build  # type: ignore[method-assign]
    _own_lifespan(app, holder)
    return app


def _own_lifespan(app: Starlette, holder: _Holder) -> None:
    """Start the replica around the application's own lifespan."""
    theirs = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(application: Any) -> AsyncIterator[Any]:
        async with holder.running(), theirs(application) as state:
            yield state

    app.router.lifespan_context = lifespan


def _register_problems(app: Starlette) -> None:
    """Our handlers, except where the user registered one. FastAPI's defaults are no user's."""
    defaults: set[Any] = set()
    ours: dict[Any, Any] = {
        FiveNinesError: problems.on_framework_error,
        HTTPException: problems.on_http_exception,
    }
    # Not imported for its own sake: an application of FastAPI's has done so already.
    if "fastapi" in sys.modules:
        import fastapi.exception_handlers as theirs
        from fastapi.exceptions import RequestValidationError

        defaults = {theirs.http_exception_handler, theirs.request_validation_exception_handler}
        ours[RequestValidationError] = problems.on_request_validation_error
    for error, handler in ours.items():
        if app.exception_handlers.get(error) in {None, *defaults}:
            app.exception_handlers[error] = handler
    last_resort = 500 if 500 in app.exception_handlers else Exception
    theirs_or_ours = app.exception_handlers.get(last_resort, problems.on_unexpected_error)
    app.exception_handlers[last_resort] = problems.final(theirs_or_ours)


class _Wrapped:
    """Any ASGI application behind our stages. Its own lifespan runs inside ours where it has one."""

    def __init__(self, app: Any, holder: _Holder) -> None:
        self._app = app
        self._holder = holder
        self._stack: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._holder.starting(scope)
            async with self._holder.running():
                return await self._lifespan(scope, receive, send)
        if self._stack is None:
            self._stack = stages(self._app, self._holder, lambda: routes_of(self._app))
        await self._stack(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered = False

        async def noting(message: Any) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            if answered:
                raise
            # ASGI: an application that knows no lifespan raises at once. It is served all the same.
            await send({"type": "lifespan.startup.complete"})
            while (await receive())["type"] != "lifespan.shutdown":
                continue
            await send({"type": "lifespan.shutdown.complete"})


def _check_name(name: str | None) -> None:
    if name is not None:
        try:
            Settings.from_environment({"FIVENINES_NAME": name})
        except ConfigurationError:
            raise ConfigurationError(f"name={name!r} must match [A-Za-z0-9._-]{{1,64}}") from None


__all__ = ["Service", "attach"]
