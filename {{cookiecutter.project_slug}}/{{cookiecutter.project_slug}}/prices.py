"""What things cost, as the supplier says: slow to ask, so the answer is kept in Redis for a while."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime

import msgspec
from fivenines import FiveNinesError, StoreUnavailableError, current_runtime
from fivenines.store import key
from starlette.requests import Request
from starlette.responses import Response

# In minor units: 250 is 2.50.
PRICES = {"tea": 250, "coffee": 320, "cake": 480}
SUPPLIER_DELAY = 0.15  # seconds
KEPT_FOR = 30  # seconds


class UnknownItemError(FiveNinesError):
    """The catalogue has no such item."""

    status, title, type = 404, "Unknown item", "unknown-item"


class Price(msgspec.Struct):
    item: str
    price: int
    as_of: str


async def read_price(request: Request) -> Response:
    item = request.path_params["item"]
    if item not in PRICES:
        raise UnknownItemError(f"The items are {', '.join(PRICES)}.")
    return Response(await price_of(item), media_type="application/json")


async def price_of(item: str) -> bytes:
    """The price as JSON, out of Redis if it is there. Without Redis the supplier is asked."""
    runtime = current_runtime()
    name = key(runtime.settings.key_prefix, "price", item)
    try:
        kept: bytes | None = await runtime.store.read("GET", name)
    except StoreUnavailableError:
        return msgspec.json.encode(await ask_supplier(item))
    if kept is not None:
        return kept
    answer = msgspec.json.encode(await ask_supplier(item))
    with contextlib.suppress(StoreUnavailableError):  # Redis went away meanwhile: the answer is as good
        await runtime.store.do("SET", name, answer, "EX", KEPT_FOR)
    return answer


async def ask_supplier(item: str) -> Price:
    """Stands for a call over the network to somebody else's system."""
    await asyncio.sleep(SUPPLIER_DELAY)
    return Price(item, PRICES[item], datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"))
