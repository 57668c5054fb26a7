"""The load client repeats what may be repeated, and its books find every broken promise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx2
import pytest

from fivenines.lab import load
from fivenines.lab.load import Ledger, LoadClient
from fivenines.lab.traffic import Books, Traffic
from tests.lab import contract

if TYPE_CHECKING:
    from collections.abc import Callable

URL = "http://service.example"


def _client(*answers: httpx2.Response | Exception) -> tuple[LoadClient, Ledger]:
    """A client whose tries meet these answers in turn, the last one for ever."""
    left = list(answers)

    def answer(request: httpx2.Request) -> httpx2.Response:
        given = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(given, Exception):
            raise given
        return given

    ledger = Ledger()
    return LoadClient(URL, ledger, httpx2.MockTransport(answer)), ledger


def _ok() -> httpx2.Response:
    return httpx2.Response(200, json={})


BROKEN = httpx2.RemoteProtocolError("closed without an answer")


@pytest.mark.parametrize(
    ("method", "key", "failure", "tries"),
    [
        ("GET", None, BROKEN, 2),
        ("GET", None, httpx2.Response(503), 2),
        ("POST", "k", BROKEN, 2),
        ("POST", "k", httpx2.ConnectError("refused"), 2),
        ("POST", "k", httpx2.Response(502), 2),
        ("POST", "k", httpx2.Response(504), 1),
        ("POST", None, BROKEN, 1),
        ("POST", None, httpx2.Response(503), 1),
        ("POST", None, httpx2.ConnectError("refused"), 1),
    ],
)
async def test_only_what_is_safe_is_sent_again(
    method: str, key: str | None, failure: httpx2.Response | Exception, tries: int
) -> None:
    """A POST without a key never is, whatever went wrong."""
    client, ledger = _client(failure, _ok())

    entry = await client.send(method, "/orders", key=key)

    assert entry.tries == tries
    assert ledger.repeats == tries - 1
    assert sum(ledger.first_failures().values()) == 1
    assert ledger.lost == (tries == 1 and isinstance(failure, Exception))


async def test_keyed_post_is_sent_again_once() -> None:
    """With the same key; a second failure is final."""
    client, ledger = _client(BROKEN)

    entry = await client.send("POST", "/orders", key="k")

    assert (entry.tries, entry.lost, ledger.lost) == (2, True, 1)


async def test_a_refusal_is_an_answer() -> None:
    """A 503 that stands is no lost request, but an error that the table shows."""
    client, ledger = _client(httpx2.Response(503))

    await client.send("POST", "/visits")

    assert ledger.lost == 0
    assert ledger.final_errors() == {503: 1}


async def test_no_answer_in_time_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading is repeated until the time is up, not beyond."""
    monkeypatch.setattr(load, "DEADLINE", 0.2)
    client, ledger = _client(BROKEN)

    entry = await client.send("GET", "/me")

    assert entry.lost
    assert entry.tries > 2
    assert ledger.percentile(0.99) < 1.0


async def _run(service: Callable[[httpx2.Request], httpx2.Response], requests: int = 900) -> Books:
    traffic = Traffic(URL, concurrency=4, think=0, wire=httpx2.MockTransport(service))
    traffic.start()
    try:
        async with asyncio.timeout(60):
            await traffic.reached(requests)
            await traffic.finish()
    finally:
        await traffic.aclose()
    return traffic.books


async def test_honest_service_has_clean_books() -> None:
    """Everything that the contract names was asked for, and every order was found once."""
    service = contract.HonestService()

    books = await _run(service)

    assert books.complaints == []
    assert (books.sessions_lost, books.orders_missing, books.orders_doubled) == (0, 0, 0)
    assert books.orders_answered == books.orders_listed == len(service.keys) > 0
    assert books.replays > 0
    asked = {call.rsplit("/", 1)[0] for call in service.calls}
    assert {"GET /orders", "GET /prices", "POST ", "GET ", "POST /logout"} <= asked


@pytest.mark.parametrize(
    ("service", "notices"),
    [
        (contract.DoublesOrders(), lambda books: books.orders_doubled and books.complaints),
        (contract.DropsOrders(), lambda books: books.orders_missing),
        (contract.CountsTwice(), lambda books: any("/visits" in each for each in books.complaints)),
        (contract.LosesSessions(), lambda books: books.sessions_lost),
        (contract.KeepsSessionsAfterLogout(), lambda books: any("logout" in each for each in books.complaints)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, contract.HonestService) else "",
)
async def test_every_lie_is_noticed(service: contract.HonestService, notices: Callable[[Books], object]) -> None:
    """Each broken promise stands in the books."""
    assert notices(await _run(service))


async def test_unknown_outcomes_are_neither_held_against_the_service_nor_forgiven_twice() -> None:
    """An order or a visit whose answer was lost may have happened; no more than that."""
    honest = contract.HonestService()
    countdown = iter(range(10**6))

    def service(request: httpx2.Request) -> httpx2.Response:
        answer = honest(request)
        if request.method == "POST" and request.url.path in {"/orders", "/visits"} and next(countdown) % 9 == 0:
            raise BROKEN  # it was executed, and nobody learns so
        return answer

    books = await _run(service)

    assert books.complaints == []
    assert books.orders_doubled == books.orders_missing == 0
    assert books.ledger.lost > 0
