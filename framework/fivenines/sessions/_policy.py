"""Decisions about sessions, without I/O: the cookie, its signature, cross-site requests, what has changed.

The cookie's value is `<id>.<principal>.<signature>`: 32 random bytes, the principal's UTF-8 (empty: nobody)
and half an HMAC-SHA256 over both, each in base64url. So who is calling is known before the session
is read, and what a client made up never becomes a question to Redis. Only the id's hash is stored: a dump of
Redis opens nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from fivenines import codecs

if TYPE_CHECKING:
    from fivenines.settings import SecretKeys, Settings

MAX_COOKIE = 4_096  # bytes; what browsers keep (RFC 6265, section 6.1)
MAX_PRINCIPAL = 1_024  # bytes of UTF-8
SUPERSEDED_FOR = 60.0  # seconds; longer than a request with the old id may still be on its way
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

_LABEL = "session cookie"
_VALUE = re.compile(r"([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{0,1400})\.([A-Za-z0-9_-]{22})")
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]


class Claim(NamedTuple):
    """What a cookie with a good signature says. `resign`: it was signed by an older key."""

    id: str
    principal: str | None
    resign: bool


@dataclass(frozen=True, slots=True)
class CookiePolicy:
    """How the session cookie is named, signed and sent."""

    name: str
    attributes: str
    max_age: int
    keys: SecretKeys

    @classmethod
    def from_settings(cls, settings: Settings) -> CookiePolicy:
        secure = settings.session_cookie == "secure"
        same_site = settings.session_same_site.capitalize()
        return cls(
            # Browsers take a __Host- cookie only with Secure, Path=/, no Domain: no other host can plant one.
            name="__Host-session" if secure else "session",
            attributes=f"Path=/; HttpOnly; SameSite={same_site}{'; Secure' if secure else ''}",
            max_age=math.ceil(settings.session_idle),
            keys=settings.keys,
        )

    def read(self, headers: Headers) -> Claim | None:
        """The first session cookie whose signature is good; everything else is ignored."""
        prefix = f"{self.name}="
        for name, value in headers:
            if name != b"cookie":
                continue
            for part in value.decode("latin-1").split(";"):
                candidate = part.strip(" \t")
                if candidate.startswith(prefix) and (claim := self.verify(candidate[len(prefix) :])):
                    return claim
        return None

    def verify(self, value: str) -> Claim | None:
        """What this value says, or None unless one of the keys has signed it."""
        if len(value) > MAX_COOKIE or (match := _VALUE.fullmatch(value)) is None:
            return None
        id, principal, signature = match.groups()
        for position, key in enumerate(self.keys.verify_keys(_LABEL)):
            # The texts are compared, not the bytes they stand for: one signature has one spelling.
            if hmac.compare_digest(self._signature(key, id, principal), signature):
                return Claim(id, _decode(principal) if principal else None, resign=position > 0)
        return None

    def sign(self, id: str, principal: str | None) -> str:
        """The cookie's value for a session."""
        encoded = _encode((principal or "").encode())
        return f"{id}.{encoded}.{self._signature(self.keys.sign_key(_LABEL), id, encoded)}"

    def set(self, id: str, principal: str | None) -> bytes:
        """The Set-Cookie header that gives a session to the client."""
        value = self.sign(id, principal)
        return f"{self.name}={value}; Max-Age={self.max_age}; {self.attributes}".encode("latin-1")

    def clear(self) -> bytes:
        """The Set-Cookie header that takes it away."""
        return f'{self.name}=""; Max-Age=0; {self.attributes}'.encode("latin-1")

    def _signature(self, key: bytes, id: str, principal: str) -> str:
        signed = f"{_LABEL}\0{self.name}\0{id}.{principal}".encode()
        return _encode(hmac.digest(key, signed, hashlib.sha256)[:16])


def new_id() -> str:
    """A fresh id of 256 random bits."""
    return secrets.token_urlsafe(32)


def stored_id(id: str) -> str:
    """The name under which a session is stored.

    Not keyed: 256 random bits cannot be searched for, and a change of secret keys must lose no session.
    """
    return _encode(hashlib.sha256(b"fivenines session" + id.encode()).digest())


def check_principal(principal: object) -> str:
    """The principal, if a cookie can carry it; else TypeError or ValueError."""
    if not isinstance(principal, str):
        raise TypeError(f"a principal is a str, not {type(principal).__name__}: pass str(user.id)")
    if not principal or len(principal.encode()) > MAX_PRINCIPAL:
        raise ValueError(f"a principal has 1 to {MAX_PRINCIPAL} bytes, this one {len(principal.encode())}")
    return principal


def is_cross_site(method: str, scheme: str, headers: Headers) -> bool:
    """Whether a browser sent this unsafe request, or opens this WebSocket, from another site.

    Browsers send Sec-Fetch-Site or at least Origin with unsafe requests, and pages cannot change either; a
    client that sends neither is no browser, so nobody's cookies were borrowed.
    """
    if method in SAFE_METHODS and scheme not in ("ws", "wss"):
        return False
    sent: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in (b"sec-fetch-site", b"origin", b"host"):
            # A field sent twice is nothing that a browser does: equal to no single value.
            sent[name] = value if name not in sent else b""
    site, origin = sent.get(b"sec-fetch-site"), sent.get(b"origin")
    if site is None and origin is None:
        return False
    if site in (b"same-origin", b"none"):
        return False
    host = sent.get(b"host", b"").decode("latin-1")
    ours = _origin(f"{scheme}://{host}")
    return origin is None or ours is None or _origin(origin.decode("latin-1")) != ours


def _origin(text: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(text)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    if not parts.hostname or parts.path or parts.query or parts.fragment or parts.username is not None:
        return None
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return scheme, parts.hostname, port


class Changes(NamedTuple):
    """What a request changed, field by field."""

    set: dict[str, bytes]
    removed: list[str]

    def __bool__(self) -> bool:
        return bool(self.set or self.removed)


def changes(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> Changes:
    """The fields whose serialized bytes differ: mutation deep inside a value is seen like any other."""
    return Changes(
        {name: value for name, value in after.items() if before.get(name) != value},
        [name for name in before if name not in after],
    )


def encode_field(name: str, value: Any) -> bytes:
    """The field's JSON; a TypeError that names the field where it has none."""
    try:
        return codecs.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise TypeError(f"session field {name!r} cannot be stored as JSON: {error}") from error


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> str:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
