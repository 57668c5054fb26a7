"""Ports that nobody else on this machine uses."""

from __future__ import annotations

import random
import socket
from pathlib import Path

from fivenines.errors import ConfigurationError

_LOWEST, _HIGHEST = 15_000, 32_000


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Different free ports below the range that outgoing connections take theirs from.

    A port of that range (what binding port 0 gives) may be the source of somebody's connection by the time a
    replica that was restarted wants it back: a load client opens thousands.
    """
    lowest_outgoing = _lowest_outgoing()
    highest = lowest_outgoing - 1 if _LOWEST + 5_000 < lowest_outgoing < _HIGHEST else _HIGHEST
    chosen: list[int] = []
    for port in random.sample(range(_LOWEST, highest), 400):
        if is_free(port, host):
            chosen.append(port)
        if len(chosen) == count:
            return chosen
    raise ConfigurationError(f"no {count} free ports between {_LOWEST} and {highest} on {host}")


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        # As servers do: connections that ended a moment ago do not keep the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
        return True


def _lowest_outgoing() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        return 49_152  # what other systems use (RFC 6335)
