"""The service's own settings. The framework's are FIVENINES_… variables; see the README."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Self

import msgspec
from fivenines import ConfigurationError


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    demo_login: bool = False
    """Whether POST /login lets anyone in under any name. `fivenines serve` refuses it off loopback."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        demo_login = environ.get("ORDERS_DEMO_LOGIN", "off")
        if demo_login not in {"on", "off"}:
            raise ConfigurationError(f"ORDERS_DEMO_LOGIN={demo_login!r} is not allowed: one of off, on")
        return cls(demo_login=demo_login == "on")
