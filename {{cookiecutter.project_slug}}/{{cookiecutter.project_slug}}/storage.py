"""Orders in Redis: three keys a user, on one hash tag, written together by one script.

- `…:orders:{user}`: a hash; `o:<id>` is the order as it was answered, `r:<id>` the fingerprint of its request
- `…:index:{user}`: a sorted set of ids, in the order they were placed
- `…:ledger:{user}`: a stream with one entry an order; what drills add up
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from urllib.parse import quote

from fivenines import current_runtime
from fivenines.store import Script

from .idempotency import IdempotencyKeyReusedError

PLACE = Script(__package__, "orders.lua")
NEWEST = Script(__package__, "newest.lua")


def order_id(user: str, key: str) -> str:
    """The id follows from user and key, so that a repeat finds the first try's order, however late."""
    digest = hashlib.sha256(f"POST /orders\n{user}\n{key}".encode()).digest()
    return base64.b32encode(digest[:20]).decode().lower()


async def place(
    user: str, id: str, fingerprint: str, answer: bytes, entry: Mapping[str, str | int]
) -> tuple[bytes, bool]:
    """Write the order unless it exists; return the answer of it, and whether it is an earlier one.

    Raises IdempotencyKeyReusedError where it exists for a request with another body.
    """
    fields = [text for pair in {"id": id, **entry}.items() for text in pair]
    # Running the script twice does what running it once does, so a lost reply may be asked for again.
    outcome, kept = await current_runtime().store.run(
        PLACE, _keys(user), [id, fingerprint, answer, *fields], repeatable=True
    )
    if outcome == b"reused":
        raise IdempotencyKeyReusedError("This Idempotency-Key came before with another body; use a new one.")
    return kept, outcome == b"kept"


async def find(user: str, id: str) -> bytes | None:
    """The user's order as it was answered, or None."""
    found: bytes | None = await current_runtime().store.read("HGET", _keys(user)[0], f"o:{id}")
    return found


async def newest(user: str, count: int, after: str = "") -> list[tuple[str, bytes]] | None:
    """Up to `count` orders with their ids, newest first, placed before `after`; None if that is no order."""
    found = await current_runtime().store.run(NEWEST, _keys(user)[:2], [count, after], repeatable=True)
    if found is None:
        return None
    ids, orders = found
    return [(id.decode(), order) for id, order in zip(ids, orders, strict=True)]


def _keys(user: str) -> list[str]:
    namespace = current_runtime().settings.key_prefix
    # Redis Cluster puts keys with the same text in braces on one node, where one script can write them all.
    tag = "{" + quote(user, safe="") + "}"
    return [f"{namespace}:{kind}:{tag}" for kind in ("orders", "index", "ledger")]
