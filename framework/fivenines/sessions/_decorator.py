"""The face on handlers: marks that the session stage acts on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fivenines._marks import mark

F = TypeVar("F", bound=Callable[..., Any])


def authenticated(handler: F) -> F:
    """Answer 401 instead of calling the handler when nobody is logged in, 503 while the store is away.

    Works on `def`, `async def` and class endpoints, in any order with other decorators.
    """
    return mark(handler, authenticated=True)


def csrf_exempt(handler: F) -> F:
    """Let browsers of other sites call this handler with the session's cookie.

    For handlers that check in another way who is calling, such as a payment provider's form post.
    """
    return mark(handler, csrf_exempt=True)
