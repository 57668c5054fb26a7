"""The example service's contract in one object, and the lies that the traffic must notice."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx2


@dataclass
class HonestService:
    """Answers like the service, from memory; override one method to make it lie."""

    sessions: dict[str, dict[str, Any]] = field(default_factory=dict)
    orders: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    keys: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        self.calls[f"{request.method} {path}"] += 1
        body = json.loads(request.content or b"null")
        cookie = request.headers.get("cookie", "").removeprefix("session=")
        if path == "/login":
            return self.login(body["user"], cookie)
        if path.startswith("/prices/"):
            return httpx2.Response(200, json={"item": path.split("/")[2], "price": 250, "as_of": "now"})
        session = self.session(cookie)
        if session is None:
            return httpx2.Response(401, json={"title": "Not authenticated"})
        if path.startswith("/logout"):
            return self.logout(cookie)
        if path == "/me":
            return httpx2.Response(200, json=session)
        if path == "/visits":
            session["visits"] = self.count(session["visits"])
            return httpx2.Response(200, json={"visits": session["visits"]})
        if request.method == "POST":
            return self.order(session["user"], request.headers["idempotency-key"], body)
        if path == "/orders":
            return self.page(session["user"], request.url.params)
        found = [order for order in self.orders.get(session["user"], []) if path.endswith(order["id"])]
        return httpx2.Response(200, json=found[0]) if found else httpx2.Response(404, json={})

    def login(self, user: str, cookie: str) -> httpx2.Response:
        self.sessions.pop(cookie, None)
        made = uuid.uuid4().hex
        self.sessions[made] = {"user": user, "visits": 0}
        return httpx2.Response(200, json={"user": user}, headers={"set-cookie": f"session={made}; Path=/"})

    def session(self, cookie: str) -> dict[str, Any] | None:
        return self.sessions.get(cookie)

    def logout(self, cookie: str) -> httpx2.Response:
        self.sessions.pop(cookie)
        return httpx2.Response(204)

    def count(self, visits: int) -> int:
        return visits + 1

    def order(self, user: str, key: str, body: dict[str, Any]) -> httpx2.Response:
        if (user, key) not in self.keys:
            made = {"id": uuid.uuid4().hex, **body, "total": 250 * body["quantity"]}
            self.orders.setdefault(user, []).insert(0, made)
            self.keys[user, key] = made
        return httpx2.Response(201, json=self.keys[user, key])

    def page(self, user: str, query: httpx2.QueryParams) -> httpx2.Response:
        ids = [order["id"] for order in self.orders.get(user, [])]
        start = ids.index(query["after"]) + 1 if "after" in query else 0
        page = self.orders.get(user, [])[start : start + int(query["limit"])]
        more = start + len(page) < len(ids)
        return httpx2.Response(200, json={"orders": page, "next": page[-1]["id"] if more else None})


class DoublesOrders(HonestService):
    """Forgets its keys."""

    def order(self, user: str, key: str, body: dict[str, Any]) -> httpx2.Response:
        self.keys.pop((user, key), None)
        return super().order(user, key, body)


class DropsOrders(HonestService):
    """Acknowledges one order in five and does not keep it."""

    def order(self, user: str, key: str, body: dict[str, Any]) -> httpx2.Response:
        answer = super().order(user, key, body)
        if len(self.keys) % 5 == 0:
            self.orders[user] = [order for order in self.orders[user] if order != self.keys[user, key]]
        return answer


class CountsTwice(HonestService):
    """Every tenth visit is two."""

    def count(self, visits: int) -> int:
        return visits + (2 if visits % 10 == 9 else 1)


class LosesSessions(HonestService):
    """One session in ten is not found."""

    def session(self, cookie: str) -> dict[str, Any] | None:
        return None if cookie.startswith("0") else super().session(cookie)


class KeepsSessionsAfterLogout(HonestService):
    """Logout only says so."""

    def logout(self, cookie: str) -> httpx2.Response:
        return httpx2.Response(204)
