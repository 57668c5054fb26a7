"""Every setting once: its variable, default, unit and meaning.

`Settings.from_environment()` reads `FIVENINES_…` variables. A wrong value raises ConfigurationError that names the
variable, the value and what is allowed; secrets are never shown. `docs/reference/settings.md` is made from this class.

>>> Settings.from_environment({"FIVENINES_NAME": "orders"}).key_prefix
'orders'
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import ipaddress
import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from fivenines.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "FIVENINES_"
MAKE_A_KEY = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'
_SECRET = frozenset({"secret_keys", "redis_url"})

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Duration = Annotated[float, Meta(gt=0, le=31_536_000)]
Delay = Annotated[float, Meta(ge=0, le=86_400)]
Count = Annotated[int, Meta(ge=1, le=1_000)]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SecretKeys:
    """The service's keys: the first signs, all verify, so that keys can be changed without a logout.

    Each use has a label, and its key is derived from the secret by HKDF-SHA256 (RFC 5869), so that a signature made
    for one purpose is worth nothing for another. The secrets themselves show in no repr.
    """

    __slots__ = ("_derived", "_secrets")

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        self._secrets = secrets
        self._derived = functools.lru_cache(maxsize=64)(self._derive)

    def __bool__(self) -> bool:
        return bool(self._secrets)

    def __repr__(self) -> str:
        return f"<{len(self._secrets)} secret key(s)>"

    def sign_key(self, label: str) -> bytes:
        """The 32-byte key that signs for this purpose."""
        return self.verify_keys(label)[0]

    def verify_keys(self, label: str) -> tuple[bytes, ...]:
        """The keys that may have signed for this purpose, the newest first."""
        if not self._secrets:
            raise ConfigurationError(f"FIVENINES_SECRET_KEYS is not set; make a key with: {MAKE_A_KEY}")
        return self._derived(label)

    def _derive(self, label: str) -> tuple[bytes, ...]:
        return tuple(_hkdf(secret, label.encode()) for secret in self._secrets)


def _hkdf(secret: bytes, info: bytes) -> bytes:
    extracted = hmac.digest(b"fivenines", secret, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of one replica."""

    name: Annotated[Name, Meta(description="The service's name, in logs and as the default namespace.")] = "service"
    namespace: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{0,64}$")],
        Meta(description="Prefix of every key in Redis; empty: the service's name."),
    ] = ""
    redis_url: Annotated[
        Annotated[str, Meta(pattern=r"^(rediss?|unix|embedded)://")],
        Meta(description="Where the state lives: redis://, rediss://, unix:// or, for development, embedded://."),
    ] = "redis://127.0.0.1:6379/0"
    redis_connect_timeout: Annotated[
        Duration,
        Meta(description="Longest time to connect to Redis, log in included.", extra={"unit": "seconds"}),
    ] = 0.25
    redis_timeout: Annotated[
        Duration, Meta(description="Longest time one Redis command may take.", extra={"unit": "seconds"})
    ] = 0.5
    redis_readiness: Annotated[
        Literal["degraded", "critical"],
        Meta(description="What /readyz says while Redis is away: 200 and degraded, or 503."),
    ] = "degraded"
    secret_keys: Annotated[
        str,
        Meta(
            description="Keys that sign, separated by commas, each of at least 32 bytes; the first signs, "
            "all verify. Required by serve."
        ),
    ] = ""
    session_cookie: Annotated[
        Literal["secure", "insecure"],
        Meta(description="secure: __Host-session with Secure; insecure: session, for plain HTTP on loopback only."),
    ] = "secure"
    session_idle: Annotated[
        Duration,
        Meta(description="A session ends after this time without a request.", extra={"unit": "seconds"}),
    ] = 1_800.0
    session_absolute: Annotated[
        Duration, Meta(description="A session ends after this time in any case.", extra={"unit": "seconds"})
    ] = 43_200.0
    session_same_site: Annotated[
        Literal["lax", "strict"], Meta(description="The session cookie's SameSite attribute.")
    ] = "lax"
    trusted_proxies: Annotated[
        str,
        Meta(description="Addresses or networks, separated by commas, whose forwarding headers are believed."),
    ] = "127.0.0.1,::1"
    max_body: Annotated[
        Annotated[int, Meta(ge=0, le=2**40)],
        Meta(description="Largest request body; beyond it 413.", extra={"unit": "bytes"}),
    ] = 1_048_576
    bind: Annotated[Annotated[str, Meta(pattern=r"^\S+:\d{1,5}$")], Meta(description="Public address, host:port.")] = (
        "127.0.0.1:8000"
    )
    admin_bind: Annotated[
        Annotated[str, Meta(pattern=r"^(\S+:\d{1,5})?$")],
        Meta(description="Address of the admin port, which answers the probes; empty: none."),
    ] = "127.0.0.1:9000"
    workers: Annotated[Count, Meta(description="Worker processes of this replica.")] = 1
    drain: Annotated[
        Delay,
        Meta(
            description="After SIGTERM readiness fails and the replica serves on for this long before it closes.",
            extra={"unit": "seconds"},
        ),
    ] = 5.0
    graceful_timeout: Annotated[
        Duration,
        Meta(
            description="Time to finish requests in flight after the drain, then they are cut.",
            extra={"unit": "seconds"},
        ),
    ] = 30.0
    keepalive: Annotated[
        Duration,
        Meta(
            description="An idle connection is kept this long; longer than the balancer keeps its own.",
            extra={"unit": "seconds"},
        ),
    ] = 75.0
    worker_timeout: Annotated[
        Duration,
        Meta(
            description="A worker whose event loop is silent this long is replaced.",
            extra={"unit": "seconds"},
        ),
    ] = 30.0
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least severe level that is logged.")
    ] = "info"
    log_format: Annotated[Literal["json", "text"], Meta(description="json: one object a line; text: for people.")] = (
        "json"
    )
    rate_limits: Annotated[
        Literal["on", "off"], Meta(description="off lifts every rate limit; there are none yet.")
    ] = "on"
    debug: Annotated[Literal["on", "off"], Meta(description="on: Server-Timing on every answer.")] = "off"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Read the variables that `environ` (default: the process's environment) has; `overrides` win over it.

        Raises ConfigurationError for a value that is not allowed and for a FIVENINES_ variable that does not exist.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for variable, text in environ.items():
            if not variable.startswith(PREFIX):
                continue
            field = variable[len(PREFIX) :].lower()
            if field not in cls.__struct_fields__:
                raise ConfigurationError(f"{variable} is no setting; see docs/reference/settings.md{_nearest(field)}")
            values[field] = text.strip()
        values |= {field: value for field, value in overrides.items() if value is not None}
        for field, value in values.items():
            _check(field, value)
        settings = msgspec.convert(values, cls, strict=False)
        settings.keys, settings.trusted_networks  # noqa: B018  (parsed once here, so that a bad one is told at start)
        if settings.admin_bind.rpartition(":")[2] == settings.bind.rpartition(":")[2] != "0":
            # A request is told apart by the port it came to.
            raise ConfigurationError(
                f"FIVENINES_ADMIN_BIND={settings.admin_bind} has the port of FIVENINES_BIND={settings.bind}; "
                "give it another, or set it empty for none"
            )
        if settings.session_absolute < settings.session_idle:
            raise ConfigurationError(
                f"FIVENINES_SESSION_ABSOLUTE={settings.session_absolute:g} is shorter than "
                f"FIVENINES_SESSION_IDLE={settings.session_idle:g}; make it at least as long"
            )
        return settings

    @property
    def key_prefix(self) -> str:
        """What every key in Redis begins with."""
        return self.namespace or self.name

    @property
    def keys(self) -> SecretKeys:
        """The secret keys, checked for their length."""
        return _secret_keys(self.secret_keys)

    @property
    def trusted_networks(self) -> tuple[Network, ...]:
        """The networks whose forwarding headers are believed."""
        return _networks(self.trusted_proxies)

    def require_secret_keys(self) -> None:
        """Raise ConfigurationError, with the command that makes a key, where there is none."""
        self.keys.verify_keys("")

    def __repr__(self) -> str:
        shown = (
            f"{field}={'***' if field in _SECRET and getattr(self, field) else repr(getattr(self, field))}"
            for field in self.__struct_fields__
        )
        return f"Settings({', '.join(shown)})"


def _check(field: str, value: Any) -> None:
    """Convert one field alone, so that the error can name its variable."""
    for info in msgspec.structs.fields(Settings):
        if info.name != field:
            continue
        try:
            msgspec.convert(value, info.type, strict=False)
        except msgspec.ValidationError as error:
            shown = "***" if field in _SECRET else repr(value)
            raise ConfigurationError(f"{PREFIX}{field.upper()}={shown} is not allowed: {allowed(info.type)}") from error


def allowed(annotation: Any) -> str:
    """What a setting of this type may be, in words."""
    info = msgspec.inspect.type_info(annotation)
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    match info:
        case msgspec.inspect.LiteralType(values=values):
            return "one of " + ", ".join(sorted(map(str, values)))
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            kind = "a whole number" if isinstance(info, msgspec.inspect.IntType) else "a number"
            bounds = [
                f"above {info.gt:g}" if info.gt is not None else "",
                f"at least {info.ge:g}" if info.ge is not None else "",
            ]
            bounds.append(f"at most {info.le:g}" if info.le is not None else "")
            return " ".join([kind, " and ".join(filter(None, bounds))]).strip()
        case msgspec.inspect.StrType(pattern=pattern) if pattern:
            return f"text that matches {pattern}"
        case _:
            return "text"


@functools.lru_cache(maxsize=8)
def _secret_keys(text: str) -> SecretKeys:
    secrets = tuple(part.strip().encode() for part in text.split(",") if part.strip())
    for number, secret in enumerate(secrets, 1):
        if len(secret) < 32:
            raise ConfigurationError(
                f"FIVENINES_SECRET_KEYS: key {number} has {len(secret)} bytes, at least 32 are needed; "
                f"make one with: {MAKE_A_KEY}"
            )
    return SecretKeys(secrets)


@functools.lru_cache(maxsize=8)
def _networks(text: str) -> tuple[Network, ...]:
    networks = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            networks.append(ipaddress.ip_network(part, strict=False))
        except ValueError:
            raise ConfigurationError(
                f"FIVENINES_TRUSTED_PROXIES={text!r}: {part!r} is no address or network such as 10.0.0.0/8"
            ) from None
    return tuple(networks)


def _nearest(field: str) -> str:
    import difflib

    near = difflib.get_close_matches(field, Settings.__struct_fields__, 1)
    return f" (did you mean {PREFIX}{near[0].upper()}?)" if near else ""
