"""Marks that handler decorators leave and the request's stages read.

A mark changes nothing about the handler: `def` or `async def`, any order, signature untouched, so FastAPI endpoints
work as well. Marks are configuration, written while a module is imported and only read afterwards.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
_ATTRIBUTE = "__fivenines_marks__"
_NONE: Mapping[str, Any] = MappingProxyType({})


def mark(handler: F, **marks: Any) -> F:
    """Leave marks on a handler and return it."""
    target: Any = getattr(handler, "__func__", handler)
    # A copy: a subclass of a class endpoint must not write into its parent's marks.
    setattr(target, _ATTRIBUTE, {**marks_of(target), **marks})
    return handler


def marks_of(handler: object) -> Mapping[str, Any]:
    """The marks of a handler, found through functools.partial as well."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    found: Mapping[str, Any] = getattr(handler, _ATTRIBUTE, _NONE)
    return found
