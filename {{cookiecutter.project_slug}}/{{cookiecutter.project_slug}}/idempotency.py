"""The Idempotency-Key header: by it a client may repeat an order whose answer it never saw."""

from __future__ import annotations

import re

from fivenines import FiveNinesError
from starlette.requests import Request

_KEY = re.compile(r"[!-~]{1,255}")


class IdempotencyKeyMissingError(FiveNinesError):
    """The route needs an Idempotency-Key and the request has none."""

    status, title, type = 400, "Idempotency-Key missing", "idempotency-key-missing"


class IdempotencyKeyMalformedError(FiveNinesError):
    """The Idempotency-Key is empty, too long, sent twice, or has characters that it may not have."""

    status, title, type = 400, "Idempotency-Key malformed", "idempotency-key-malformed"


class IdempotencyKeyReusedError(FiveNinesError):
    """The key came before, with another body."""

    status, title, type = 422, "Idempotency-Key reused", "idempotency-key-reused"


def idempotency_key(request: Request) -> str:
    """The request's key: one field of 1 to 255 visible ASCII characters, bare or in double quotes."""
    fields = request.headers.getlist("idempotency-key")
    if not fields:
        raise IdempotencyKeyMissingError("Send an Idempotency-Key header, a new one for each order.")
    key = fields[0].strip(" \t")
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]  # a string as in the draft standard; the bare form names the same key
    if len(fields) > 1 or not _KEY.fullmatch(key):
        raise IdempotencyKeyMalformedError("Send one Idempotency-Key of 1 to 255 visible ASCII characters.")
    return key
