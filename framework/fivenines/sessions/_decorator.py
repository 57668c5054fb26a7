"""The face on handlers: marks that the session stage acts on."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar, cast

from fivenines._marks import mark
from fivenines.context import current_request
from fivenines.errors import NotAuthenticatedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fivenines.context import RequestInfo

F = TypeVar("F", bound="Callable[..., Any]")


def authenticated(handler: F) -> F:
    """Answer 401 instead of calling the handler when nobody is logged in, 503 while the store is away.

    Works on `def`, `async def` and class endpoints, in any order with other decorators; the signature stays. The
    session stage acts on the mark before the body is read; the check in here is for routes that the stage cannot look
    into (FastAPI's included routers are opaque), and costs nothing elsewhere.
    """
    if inspect.isclass(handler):
        return cast("F", mark(_check_when_made(handler), authenticated=True))
    checked: Any
    if inspect.iscoroutinefunction(handler):

        @functools.wraps(handler)
        async def checked(*args: Any, **kwargs: Any) -> Any:
            require_principal(_request_of(args, kwargs))
            return await handler(*args, **kwargs)

    else:

        @functools.wraps(handler)
        def checked(*args: Any, **kwargs: Any) -> Any:
            require_principal(_request_of(args, kwargs))
            return handler(*args, **kwargs)

    return cast("F", mark(checked, authenticated=True))


def _check_when_made(endpoint: Any) -> Any:
    """A class endpoint is made anew for each request, so its making is where it is checked."""
    make = endpoint.__init__

    @functools.wraps(make)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        require_principal(_request_of(args, kwargs))
        make(self, *args, **kwargs)

    endpoint.__init__ = checked
    return endpoint


def _request_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> RequestInfo | None:
    request = current_request()
    if request is None and any(_is_http(value) for value in (*args, *kwargs.values())):
        # An application that nobody attached to would serve what is private to everyone.
        raise RuntimeError("@authenticated needs fivenines around it: make the application a Service, or attach(app)")
    return request


def _is_http(value: Any) -> bool:
    scope = value if isinstance(value, dict) else getattr(value, "scope", None)
    return isinstance(scope, dict) and scope.get("type") in ("http", "websocket")


def require_principal(request: RequestInfo | None) -> None:
    """Raise NotAuthenticatedError where nobody is logged in, and the store's error while that cannot be known."""
    if request is None or request.principal is not None:
        return  # called directly, by a test or another function: no request, nothing to check
    # While the store is away a 401 would log people out.
    raise request.unidentified or NotAuthenticatedError()


def csrf_exempt(handler: F) -> F:
    """Let browsers of other sites call this handler with the session's cookie.

    Has no effect on a FastAPI route behind `include_router`: those are opaque, and stay protected.

    For handlers that check in another way who is calling, such as a payment provider's form post.
    """
    return mark(handler, csrf_exempt=True)
