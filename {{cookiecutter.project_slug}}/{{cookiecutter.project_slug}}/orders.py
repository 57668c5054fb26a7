"""Orders: placing one at most once, and reading back one's own."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal

import msgspec
from fivenines import FiveNinesError, authenticated
from fivenines.errors import FieldError, ValidationFailedError
from fivenines.web.body import read_json
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from . import storage
from .account import user_of
from .idempotency import idempotency_key
from .prices import PRICES

JSON = "application/json"


class NewOrder(msgspec.Struct):
    item: Literal["tea", "coffee", "cake"]
    quantity: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class Order(msgspec.Struct):
    id: str
    item: str
    quantity: int
    total: int
    """In minor units."""


class Page(msgspec.Struct):
    orders: list[msgspec.Raw]
    next: str | None


class OrderNotFoundError(FiveNinesError):
    """The caller has no such order; somebody else's is as good as none."""

    status, title, type = 404, "Order not found", "order-not-found"


@authenticated
async def create_order(request: Request) -> Response:
    user, key = user_of(request), idempotency_key(request)
    new = await read_json(request, NewOrder)
    order = Order(storage.order_id(user, key), new.item, new.quantity, PRICES[new.item] * new.quantity)
    # What is stored is what was answered, byte by byte, so that a repeat gets the same answer.
    answer, replayed = await storage.place(
        user,
        order.id,
        hashlib.sha256(await request.body()).hexdigest(),
        msgspec.json.encode(order),
        {"item": order.item, "quantity": order.quantity, "total": order.total},
    )
    headers = {"Location": f"/orders/{order.id}"}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    return Response(answer, status_code=201, headers=headers, media_type=JSON)


@authenticated
async def read_order(request: Request) -> Response:
    order = await storage.find(user_of(request), request.path_params["id"])
    if order is None:
        raise OrderNotFoundError
    return Response(order, media_type=JSON)


@authenticated
async def list_orders(request: Request) -> Response:
    limit, after = page_asked_for(request.query_params)
    page = await storage.newest(user_of(request), limit + 1, after)
    if page is None:
        raise ValidationFailedError([FieldError("after", "is no order of yours")])
    more = len(page) > limit
    page = page[:limit]
    answer = Page([msgspec.Raw(order) for _, order in page], page[-1][0] if more else None)
    return Response(msgspec.json.encode(answer), media_type=JSON)


def page_asked_for(query: QueryParams) -> tuple[int, str]:
    """`limit` and `after` of the query; `after` is empty for the first page."""
    errors = []
    limits, afters = query.getlist("limit") or ["20"], query.getlist("after") or [""]
    if len(limits) != 1 or not re.fullmatch(r"[1-9][0-9]?|100", limits[0]):
        errors.append(FieldError("limit", "must be one whole number from 1 to 100"))
    if len(afters) != 1 or ("after" in query and not afters[0]):
        errors.append(FieldError("after", "must be the id of one order"))
    if errors:
        raise ValidationFailedError(errors)
    return int(limits[0]), afters[0]
