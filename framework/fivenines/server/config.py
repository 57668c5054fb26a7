"""gunicorn's settings, made from ours: the values that a highly available replica cannot do without.

Everything gunicorn reads from its own files, arguments and environment is left aside: one source, `Settings`.
"""

from __future__ import annotations

import ipaddress
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fivenines.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fivenines.settings import Settings

TARGET_LIMIT = 8_192
HEAD_LIMIT = 32_768
HEAD_FIELDS = 100
# Longest method and version beside the target in the request line.
_LINE_REST = len("OPTIONS  HTTP/1.1")


class Address(NamedTuple):
    """One address to listen on, and the variable that names it."""

    variable: str
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """True where nobody but this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False  # a name: it may mean anything

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def addresses(settings: Settings) -> list[Address]:
    """The addresses this replica listens on, the public one first."""
    found = [_address("FIVENINES_BIND", settings.bind)]
    if settings.admin_bind:
        found.append(_address("FIVENINES_ADMIN_BIND", settings.admin_bind))
        if found[0][1:] == found[1][1:] and found[0].port:
            raise ConfigurationError(
                f"FIVENINES_BIND and FIVENINES_ADMIN_BIND are both {found[0]}; give each its own port"
            )
    return found


def _address(variable: str, text: str) -> Address:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]").lower()
    if not host or not port.isdigit() or int(port) > 65_535:
        raise ConfigurationError(f"{variable}={text} is no address; write host:port, such as 127.0.0.1:8000")
    return Address(variable, host, int(port))


def gunicorn_settings(
    settings: Settings, *, on_starting: Callable[[Any], None], reload: bool = False
) -> dict[str, Any]:
    """The whole configuration of gunicorn for this replica."""
    return {
        "bind": [str(address) for address in addresses(settings)],
        "workers": settings.workers,
        "worker_class": "fivenines.server.worker.Worker",
        "proc_name": settings.name,
        # Without "on", an application whose lifespan fails or is late is served all the same.
        "asgi_lifespan": "on",
        # Longer than any balancer in front keeps an idle connection (60 s with ALB and nginx): who closes
        # first loses the request that is on its way.
        "keepalive": _whole(settings.keepalive),
        "graceful_timeout": _whole(settings.graceful_timeout),
        "timeout": _whole(settings.worker_timeout),
        # The heartbeat is a file's timestamp; on a disk, a stalled disk would kill healthy workers.
        "worker_tmp_dir": _memory_folder(),
        # gunicorn puts one socket per user in the home folder: the second replica of a machine would take it
        # from the first. It also starts a thread in the arbiter. We do not need it.
        "control_socket_disable": True,
        # The arbiter must not hold the application's modules, or SIGHUP would not load new ones.
        "preload_app": False,
        "reload": reload,
        "limit_request_line": TARGET_LIMIT + _LINE_REST,
        "limit_request_fields": HEAD_FIELDS,
        "limit_request_field_size": HEAD_LIMIT,
        # Whom to believe about client and scheme is decided in one place, RequestContext: gunicorn rewrites
        # nothing.
        "forwarded_allow_ips": "",
        "proxy_protocol": "off",
        # The access line is the framework's.
        "accesslog": None,
        "errorlog": None,
        "loglevel": settings.log_level,
        "logger_class": "fivenines.server.logs.Log",
        "on_starting": on_starting,
    }


def _whole(seconds: float) -> int:
    """gunicorn counts whole seconds, and takes 0 for no limit."""
    return math.ceil(seconds)


def _memory_folder() -> str | None:
    folder = Path("/dev/shm")
    return str(folder) if folder.is_dir() and os.access(folder, os.W_OK) else None
