"""Lua scripts that live in `.lua` files beside the code that runs them."""

from __future__ import annotations

import hashlib
from importlib import resources


class Script:
    """One Lua script: its text and its SHA-1, by which Redis knows it. A constant, made at import.

    >>> LOAD = Script("fivenines.sessions", "load.lua")  # doctest: +SKIP
    """

    __slots__ = ("name", "sha", "text")

    def __init__(self, package: str, name: str) -> None:
        self.name = name
        self.text = resources.files(package).joinpath(name).read_text(encoding="utf-8")
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def __repr__(self) -> str:
        return f"<Script {self.name}>"
