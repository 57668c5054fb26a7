"""Routes: matched once for a request, before its state is fetched, and every method of a path is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Router

from fivenines._marks import marks_of
from fivenines.web.exchange import KEY, Exchange

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fivenines._types import Receive, Scope, Send


class Found(NamedTuple):
    """The route that will answer, what matching it told, and the endpoint at the end of it (None: opaque)."""

    route: BaseRoute
    child_scope: Scope
    template: str
    endpoint: object


def find(routes: Iterable[BaseRoute], scope: Scope, prefix: str = "") -> Found | None:
    """The first route that matches path and method, looked for inside mounts too. None: 404 or 405."""
    for route in routes:
        match, child_scope = route.matches(scope)
        if match is not Match.FULL:
            continue
        template = prefix + getattr(route, "path", "")
        inner = getattr(route, "routes", None)
        if inner and not hasattr(route, "methods"):
            deeper = find(inner, {**scope, **child_scope}, template)
            endpoint = deeper.endpoint if deeper else None
            return Found(route, child_scope, deeper.template if deeper else template, endpoint)
        return Found(route, child_scope, template, getattr(route, "endpoint", None))
    return None


def allowed_methods(routes: Iterable[BaseRoute], scope: Scope) -> set[str]:
    """Every method that some route answers on this path."""
    allowed: set[str] = set()
    for route in routes:
        match, child_scope = route.matches(scope)
        if match is Match.NONE:
            continue
        allowed |= set(getattr(route, "methods", None) or ())
        if inner := getattr(route, "routes", None):
            allowed |= allowed_methods(inner, {**scope, **child_scope})
    return allowed


def look_up(exchange: Exchange, routes: Iterable[BaseRoute], scope: Scope) -> None:
    """Find the route now, and leave what it declares in the exchange."""
    found = find(routes, scope)
    exchange.matched_path = scope["path"]
    exchange.match = found
    if found is not None:
        exchange.info.route = found.template or None
        exchange.marks = marks_of(found.endpoint)


class ServiceRouter(Router):
    """Starlette's router, which uses the match that the Plan stage has made already."""

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange | None = scope.get(KEY)
        # A middleware in between may have rewritten the path: then the early match is worth nothing.
        if exchange is not None and exchange.matched_path == scope["path"]:
            found: Found | None = exchange.match
            if found is not None:
                scope.setdefault("router", self)
                scope["route"] = found.route
                scope.update(found.child_scope)
                return await found.route.handle(scope, receive, send)
            if scope["type"] == "http" and (allowed := allowed_methods(self.routes, scope)):
                raise HTTPException(405, headers={"Allow": ", ".join(sorted(allowed))})
            if scope["type"] == "http" and (location := self._with_other_slash(scope)):
                return await Response(status_code=307, headers={"Location": location})(scope, receive, send)
        await super().app(scope, receive, send)

    def _with_other_slash(self, scope: Scope) -> str | None:
        """The path with or without its last slash, if that one is answered. Relative: Host is the caller's word."""
        path = scope["path"]
        other = path.rstrip("/") if path.endswith("/") else f"{path}/"
        # `//name` would be read as another host.
        if not self.redirect_slashes or not other.strip("/") or other.startswith("//"):
            return None
        if not any(route.matches({**scope, "path": other})[0] is not Match.NONE for route in self.routes):
            return None
        query = scope["query_string"].decode("latin-1")
        return quote(other, safe="/:@!$&'()*+,;=~-._") + (f"?{query}" if query else "")


def mounted_applications(routes: Iterable[BaseRoute]) -> Iterator[Starlette]:
    """Starlette applications beneath these routes: each answers errors itself, before our stages see them."""
    for route in routes:
        app = getattr(route, "app", None)
        if isinstance(app, Starlette) and app.middleware_stack is None:
            yield app
        yield from mounted_applications(getattr(route, "routes", None) or ())


def routes_of(app: Any) -> Sequence[BaseRoute] | None:
    """The public route objects of an application, or None where it has no such thing."""
    routes: Sequence[BaseRoute] | None = getattr(app, "routes", None)
    return routes
