"""Who sent a request, when proxies stand between: what is believed of the forwarding headers, and from whom.

Only peers in `trusted_proxies` are believed. The client is the rightmost hop that is not trusted: everything left of
it was written by somebody we do not know. From anyone else the headers are dropped, so that no handler can read them.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fivenines.settings import Network

Headers = list[tuple[bytes, bytes]]
_FORWARDED_PAIR = re.compile(r'\s*([A-Za-z]+)\s*=\s*(?:"([^"]*)"|([^\s;,"]*))\s*')
_SCHEMES = frozenset({"http", "https", "ws", "wss"})


def is_forwarding(name: bytes) -> bool:
    """Whether a header (lower case) is one that only a proxy may write."""
    return name == b"forwarded" or name.startswith(b"x-forwarded-") or name == b"x-real-ip"


class Proxies:
    """The peers that are believed."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = tuple(networks)
        # The same few peers come again and again, and parsing an address takes longer than all the rest.
        self._known = functools.lru_cache(maxsize=1_024)(self._trusts)

    def trusts(self, host: str | None) -> bool:
        """Whether this peer is believed. No address at all is a unix socket: only this machine can reach it."""
        return self._known(host)

    def _trusts(self, host: str | None) -> bool:
        if host is None or host == "":
            return True
        address = parse_address(host)
        return address is not None and any(
            address.version == network.version and address in network for network in self._networks
        )

    def client_and_scheme(self, headers: Headers) -> tuple[str | None, str | None]:
        """The client's address and scheme as a trusted peer tells them; None where it does not."""
        hops: list[str] = []
        schemes: list[str] = []
        for name, value in headers:
            text = value.decode("latin-1")
            if name == b"x-forwarded-for":
                hops += text.split(",")
            elif name == b"x-forwarded-proto":
                schemes += text.split(",")
        if not hops:
            forwarded_hops, forwarded_schemes = _forwarded(headers)
            hops = forwarded_hops
            schemes = schemes or forwarded_schemes
        scheme = schemes[-1].strip().lower() if schemes else None
        return self._rightmost_untrusted(hops), scheme if scheme in _SCHEMES else None

    def _rightmost_untrusted(self, hops: Sequence[str]) -> str | None:
        client = None
        for hop in reversed(hops):
            address = parse_address(hop)
            if address is None:
                break  # a hop that is no address: what stands left of it cannot be placed
            client = str(address)
            if not self.trusts(client):
                break
        return client


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address out of a hop: `1.2.3.4`, `1.2.3.4:567`, `2001:db8::1`, `[2001:db8::1]:567`."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _forwarded(headers: Headers) -> tuple[list[str], list[str]]:
    """The `for` and `proto` values of Forwarded (RFC 7239), in order."""
    hops: list[str] = []
    schemes: list[str] = []
    for name, value in headers:
        if name != b"forwarded":
            continue
        for element in value.decode("latin-1").split(","):
            for key, quoted, bare in _FORWARDED_PAIR.findall(element):
                if key.lower() == "for":
                    hops.append(quoted or bare)
                elif key.lower() == "proto":
                    schemes.append(quoted or bare)
    return hops, schemes
