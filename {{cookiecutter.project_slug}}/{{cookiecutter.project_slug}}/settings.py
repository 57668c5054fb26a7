"""The service's own settings. The framework's are FIVENINES_… variables; see the README."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Self

import msgspec
from fivenines import ConfigurationError


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    demo_login: bool = False
    """Whether POST /login lets anyone in under any name."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        demo_login = environ.get("ORDERS_DEMO_LOGIN", "off")
        if demo_login not in {"on", "off"}:
            raise ConfigurationError(f"ORDERS_DEMO_LOGIN={demo_login!r} is not allowed: one of off, on")
        bind = environ.get("FIVENINES_BIND", "127.0.0.1:8000")
        if demo_login == "on" and not _is_loopback(bind):
            raise ConfigurationError(
                f"ORDERS_DEMO_LOGIN=on lets anyone in, and FIVENINES_BIND={bind} is open to others: "
                "unset ORDERS_DEMO_LOGIN, or bind 127.0.0.1"
            )
        return cls(demo_login=demo_login == "on")


def _is_loopback(bind: str) -> bool:
    host = bind.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return bind.startswith("unix:") or host == "localhost"
