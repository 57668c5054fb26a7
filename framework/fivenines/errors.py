"""Every exception of the framework, with the HTTP answer it becomes.

```text
FiveNinesError
├─ RefusedError 503          never started: safe to repeat this one call
├─ DeadlineExceededError 504 (also a TimeoutError)
├─ NotAuthenticatedError 401, CrossSiteError 403
├─ MalformedBodyError 400, PayloadTooLargeError 413, UnsupportedMediaTypeError 415, ValidationFailedError 422
├─ StoreUnavailableError 503
│  └─ ReplyLostError 503     sent, answer unknown; never repeated blindly
├─ StoreCommandError 500     the store understood the command and refused it
├─ SessionConflictError 409
└─ ConfigurationError        at start-up only, never in a request
```

An error carries what its answer needs; `fivenines.web.problems` is the one place that answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class FiveNinesError(Exception):
    """Base of all errors of the framework; subclass it for a service's own problems.

    `status`, `title` and `type` (the last segment of the problem's type URI) belong to the class, `headers`
    and `retry_after` (seconds) to the instance. The message is shown to the caller as `detail`, but for status 500.

    >>> class OutOfStockError(FiveNinesError):
    ...     status, title, type = 409, "Out of stock", "out-of-stock"
    """

    status: int = 500
    title: str = "Internal server error"
    type: str = "internal-error"

    def __init__(
        self,
        detail: str | None = None,
        *,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail if detail is not None else self.title)
        self.retry_after = retry_after
        self.headers: dict[str, str] = dict(headers or {})

    def members(self) -> dict[str, object]:
        """Further members of the problem document (RFC 9457, section 3.2)."""
        return {}


class RefusedError(FiveNinesError):
    """The call was never started, so repeating this one call is safe.

    This says nothing of the request around it: a handler may have written before its second call was
    refused. From outside only idempotent methods, or requests with an idempotency key, may be repeated.
    """

    status, title, type = 503, "Refused", "refused"


class DeadlineExceededError(FiveNinesError, TimeoutError):
    """The time that the caller gave is used up."""

    status, title, type = 504, "Deadline exceeded", "deadline-exceeded"


class NotAuthenticatedError(FiveNinesError):
    """The route needs a principal and the request has none."""

    status, title, type = 401, "Not authenticated", "not-authenticated"

    def __init__(self, detail: str = "Log in first.", *, challenge: str = 'Session realm="service"') -> None:
        # RFC 9110, section 11.6.1: a 401 carries at least one challenge.
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class CrossSiteError(FiveNinesError):
    """A browser sent an unsafe request with this session's cookie from another site."""

    status, title, type = 403, "Cross-site request refused", "cross-site-request"


class MalformedBodyError(FiveNinesError):
    """The body is not what its content type says."""

    status, title, type = 400, "Malformed body", "malformed-body"


class PayloadTooLargeError(FiveNinesError):
    """The body is larger than the service accepts; the connection is closed after the answer."""

    status, title, type = 413, "Body too large", "body-too-large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body may have at most {limit} bytes.", headers={"Connection": "close"})
        self.limit = limit


class UnsupportedMediaTypeError(FiveNinesError):
    """The body's content type is none that the route reads."""

    status, title, type = 415, "Unsupported media type", "unsupported-media-type"


class FieldError(NamedTuple):
    """What is wrong with one field of a body or query; `field` is a path such as `items[0].quantity`."""

    field: str
    message: str


class ValidationFailedError(FiveNinesError):
    """The body is well-formed, but some of its fields are not acceptable."""

    status, title, type = 422, "Validation failed", "validation-failed"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("Some fields are not acceptable; see errors.")
        self.errors = list(errors)

    def members(self) -> dict[str, object]:
        return {"errors": [error._asdict() for error in self.errors]}


class StoreUnavailableError(FiveNinesError):
    """The store cannot be reached; this command was never sent."""

    status, title, type = 503, "Temporarily unavailable", "temporarily-unavailable"

    def __init__(self, reason: str = "", *, retry_after: float = 1.0) -> None:
        # `reason` may name hosts: it goes to the log, never to a caller.
        super().__init__("A part that this request needs is away; try again.", retry_after=retry_after)
        self.reason = reason

    def __str__(self) -> str:
        return f"{super().__str__()} ({self.reason})" if self.reason else super().__str__()


class ReplyLostError(StoreUnavailableError):
    """The command was sent and its answer is unknown: it may have run. Never repeated blindly.

    `stalled` tells that the store kept the connection open but did not answer within its time limit.
    """

    def __init__(self, reason: str = "", *, stalled: bool = False) -> None:
        super().__init__(reason)
        self.stalled = stalled


class StoreCommandError(FiveNinesError):
    """The store answered a command with an error."""


class SessionConflictError(FiveNinesError):
    """Others changed the same field of the session faster than this request could."""

    status, title, type = 409, "Session changed meanwhile", "session-conflict"


class ConfigurationError(FiveNinesError):
    """The service cannot start as it is configured; the message names the cure in one line."""
