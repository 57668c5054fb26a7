"""A load client that writes down every request, and repeats only what a client may repeat.

A request has 10 s for its final answer. GET is repeated as often as fits; a POST once, and only with an
Idempotency-Key, when its connection broke or a balancer answered 502 or 503 for it. What has no final answer
by then is lost.

A POST without a key goes out on a connection of its own. On one that was used before, a balancer may close
without a word when the replica dies (HAProxy does: the client "is required to retry"), and who must not
repeat would never learn that it failed; on a fresh one the balancer answers 502.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx2

from fivenines.codecs import decode

DEADLINE = 10.0
_PASSING = frozenset({502, 503, 504})


@dataclass(slots=True)
class Entry:
    """One request as its caller saw it; `status` is None when it got no final answer."""

    number: int
    method: str
    path: str
    keyed: bool
    start: float
    end: float = 0.0
    tries: int = 0
    first_failure: str = ""
    status: int | None = None
    body: Any = field(default=None, repr=False)

    @property
    def lost(self) -> bool:
        """No final answer within its time."""
        return self.status is None

    @property
    def uncertain(self) -> bool:
        """It may have had its effect or not."""
        return self.status is None or self.status >= 500


class Ledger:
    """Every request of a run, and what went wrong on the way."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._milestones: list[tuple[int, asyncio.Event]] = []

    def open(self, method: str, path: str, *, keyed: bool) -> Entry:
        """Write a request down before it is sent."""
        entry = Entry(len(self.entries) + 1, method, path, keyed, time.monotonic())
        self.entries.append(entry)
        for requests, reached in self._milestones:
            if entry.number >= requests:
                reached.set()
        return entry

    def milestone(self, requests: int) -> asyncio.Event:
        """Set once so many requests were written down."""
        reached = asyncio.Event()
        self._milestones.append((requests, reached))
        if len(self.entries) >= requests:
            reached.set()
        return reached

    @property
    def lost(self) -> int:
        """Requests that are over without a final answer."""
        return sum(entry.lost for entry in self.entries if entry.end)

    @property
    def repeats(self) -> int:
        """How often a request was sent once more."""
        return sum(max(entry.tries - 1, 0) for entry in self.entries)

    def first_failures(self) -> Counter[str]:
        """How the first try failed, where it did."""
        return Counter(entry.first_failure for entry in self.entries if entry.first_failure)

    def final_errors(self) -> Counter[int]:
        """Final answers of 500 and above."""
        return Counter(entry.status for entry in self.entries if entry.status and entry.status >= 500)

    def percentile(self, share: float) -> float:
        """Seconds from the first try to the final answer, repeats and all; a lost one counts its time."""
        times = sorted(entry.end - entry.start for entry in self.entries if entry.end)
        return times[min(int(len(times) * share), len(times) - 1)] if times else 0.0


class LoadClient:
    """One user's browser or program: its own cookies, connections shared with the other clients."""

    def __init__(self, url: str, ledger: Ledger, wire: httpx2.AsyncBaseTransport) -> None:
        self._ledger = ledger
        # A shared transport and no look at proxies: making a client costs microseconds.
        self._http = httpx2.AsyncClient(base_url=url, transport=wire, trust_env=False, timeout=DEADLINE)

    async def send(self, method: str, path: str, *, json: object = None, key: str | None = None) -> Entry:
        """Send until there is a final answer or no further try is allowed; never raises for the network."""
        entry = self._ledger.open(method, path, keyed=key is not None)
        headers = {"Idempotency-Key": key} if key is not None else {}
        pause = 0.02
        while True:
            entry.tries += 1
            failure = await self._try(entry, json, headers)
            if failure and entry.tries == 1:
                entry.first_failure = failure
            if not failure or not self._may_repeat(entry, failure):
                entry.end = time.monotonic()
                return entry
            # Full jitter, so that those whom one death interrupted do not come back together.
            await asyncio.sleep(min(random.uniform(0, pause), self._left(entry)))
            pause = min(pause * 2, 0.5)

    async def _try(self, entry: Entry, json: object, headers: dict[str, str]) -> str:
        """Send once; the kind of failure, or nothing for an answer that stands."""
        entry.status = entry.body = None
        try:
            async with asyncio.timeout(self._left(entry)):
                answer = await self._http.request(entry.method, entry.path, json=json, headers=headers)
        except (TimeoutError, httpx2.TimeoutException):
            return "no answer in time"
        except httpx2.ConnectError:
            return "connection refused"
        except httpx2.TransportError:
            return "connection broken"
        entry.status = answer.status_code
        entry.body = _content(answer)
        return str(answer.status_code) if answer.status_code in _PASSING else ""

    def _may_repeat(self, entry: Entry, failure: str) -> bool:
        if self._left(entry) <= 0:
            return False
        if entry.method == "GET":
            return True
        return entry.keyed and entry.tries == 1 and failure not in {"no answer in time", "504"}

    def _left(self, entry: Entry) -> float:
        return entry.start + DEADLINE - time.monotonic()


class Wire(httpx2.AsyncBaseTransport):
    """The connections that the clients of one run share, and fresh ones for what must not be repeated.

    The balancer is on loopback, where TLS would prove nothing.
    """

    def __init__(self, connections: int = 100) -> None:
        self._kept = _connections(connections, keep=connections)
        self._fresh = _connections(connections, keep=0)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request."""
        repeatable = request.method == "GET" or "idempotency-key" in request.headers
        return await (self._kept if repeatable else self._fresh).handle_async_request(request)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._kept.aclose()
        await self._fresh.aclose()


def _connections(most: int, *, keep: int) -> httpx2.AsyncHTTPTransport:
    limits = httpx2.Limits(max_connections=most, max_keepalive_connections=keep)
    return httpx2.AsyncHTTPTransport(verify=False, limits=limits)


def _content(answer: httpx2.Response) -> Any:
    if "json" not in answer.headers.get("content-type", ""):
        return None
    try:
        return decode(answer.content)
    except ValueError:
        return None
