"""Names of keys: values that come from outside can make neither another key nor another cluster slot."""

from __future__ import annotations

from urllib.parse import quote


def key(namespace: str, kind: str, *parts: str) -> str:
    """`namespace:kind:part:…`, with every part percent-encoded.

    >>> key("orders", "s", "a:{b}")
    'orders:s:a%3A%7Bb%7D'
    """
    return ":".join((namespace, kind, *(quote(part, safe="") for part in parts)))
