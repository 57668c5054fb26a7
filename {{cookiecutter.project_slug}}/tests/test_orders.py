"""Orders: at most one for each key, and nobody else's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

from .conftest import StartReplica

TEA = {"item": "tea", "quantity": 2}


def order(client: TestClient, key: str, body: object = TEA) -> Any:
    return client.post("/orders", json=body, headers={"Idempotency-Key": key})


def test_an_order_is_answered_and_can_be_read_back(ada: TestClient) -> None:
    placed = order(ada, "first")

    assert placed.status_code == 201
    assert placed.json() == {"id": placed.json()["id"], "item": "tea", "quantity": 2, "total": 500}
    assert placed.headers["location"] == f"/orders/{placed.json()['id']}"
    assert "idempotent-replayed" not in placed.headers
    assert ada.get(placed.headers["location"]).json() == placed.json()


def test_a_repeat_gets_the_first_answer_from_any_replica(start_replica: StartReplica) -> None:
    first, second = start_replica(), start_replica()
    for client in (first, second):
        client.post("/login", json={"user": "ada"})

    placed, repeated = order(first, "key"), order(second, '"key"')

    assert repeated.headers["idempotent-replayed"] == "true"
    for part in ("location", "content-type"):
        assert repeated.headers[part] == placed.headers[part]
    assert (repeated.status_code, repeated.content) == (placed.status_code, placed.content)
    assert first.get("/orders").json() == {"orders": [placed.json()], "next": None}


def test_many_at_once_with_one_key_make_one_order(start_replica: StartReplica) -> None:
    clients = [start_replica(), start_replica()]
    for client in clients:
        client.post("/login", json={"user": "ada"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: order(clients[n % 2], "one"), range(16)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert len(clients[0].get("/orders").json()["orders"]) == 1


def test_a_key_with_another_body_is_refused(ada: TestClient) -> None:
    order(ada, "key")

    refused = order(ada, "key", {"item": "tea", "quantity": 3})

    assert refused.status_code == 422
    assert refused.json()["type"].endswith("/idempotency-key-reused")


def test_a_key_belongs_to_its_user(start_replica: StartReplica) -> None:
    ada, bob = start_replica(), start_replica()
    ada.post("/login", json={"user": "ada"})
    bob.post("/login", json={"user": "bob"})
    placed = order(ada, "key")

    assert order(bob, "key").json()["id"] != placed.json()["id"]
    assert bob.get(placed.headers["location"]).status_code == 404


@pytest.mark.parametrize("key", ["", '""', "a" * 256, "a b", "caf\u00e9"])
def test_a_malformed_key_is_refused(ada: TestClient, key: str) -> None:
    answer = ada.post("/orders", json=TEA, headers=[(b"Idempotency-Key", key.encode("latin-1"))])

    assert answer.status_code == 400
    assert answer.json()["type"].endswith("/idempotency-key-malformed")


def test_two_keys_and_no_key_are_refused(ada: TestClient) -> None:
    two = ada.post("/orders", json=TEA, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "a")])
    none = ada.post("/orders", json=TEA)

    assert (two.status_code, none.status_code) == (400, 400)
    assert two.json()["type"].endswith("/idempotency-key-malformed")
    assert none.json()["type"].endswith("/idempotency-key-missing")


@pytest.mark.parametrize(
    "body",
    [
        {"item": "tea", "quantity": True},
        {"item": "tea", "quantity": 2.0},
        {"item": "tea", "quantity": "2"},
        {"item": "tea", "quantity": 0},
        {"item": "tea", "quantity": 1_000_001},
        {"item": "gold", "quantity": 1},
        {"item": "tea"},
        {},
        [],
    ],
)
def test_a_refused_body_leaves_its_key_free(ada: TestClient, body: object) -> None:
    refused = order(ada, "key", body)

    assert refused.status_code == 422
    assert refused.json()["type"].endswith("/validation-failed")
    assert set(refused.json()["errors"][0]) == {"field", "message"}
    assert order(ada, "key").status_code == 201


def test_checks_come_in_the_contract_s_order(client: TestClient) -> None:
    """Each request has every later fault as well: 401, 400 key, 415, 413, 400 JSON, 422."""
    key, json = {"Idempotency-Key": "k"}, {"Content-Type": "application/json"}
    huge = b'{"item"' * 200_000

    assert client.put("/orders", content=huge).status_code == 405
    assert client.post("/orders", content=huge).status_code == 401
    assert client.post("/orders", content=b"{").status_code == 401
    client.post("/login", json={"user": "ada"})
    assert client.post("/orders", content=b"{").json()["type"].endswith("/idempotency-key-missing")
    assert client.post("/orders", content=b"{", headers=key).status_code == 415
    assert client.post("/orders", content=huge, headers=key | json).status_code == 413
    assert client.post("/orders", content=b"{", headers=key | json).status_code == 400
    assert client.post("/orders", content=b"{}", headers=key | json).status_code == 422


def test_pages_go_from_the_newest_to_the_oldest(ada: TestClient) -> None:
    ids = [order(ada, f"k{n}").json()["id"] for n in range(5)][::-1]

    first = ada.get("/orders?limit=2").json()
    second = ada.get(f"/orders?limit=2&after={first['next']}").json()
    last = ada.get(f"/orders?limit=2&after={second['next']}").json()

    assert [each["id"] for page in (first, second, last) for each in page["orders"]] == ids
    assert (first["next"], second["next"], last["next"]) == (ids[1], ids[3], None)
    assert [each["id"] for each in ada.get("/orders").json()["orders"]] == ids


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "limit=", "limit=2.0", "limit=1&limit=2", "after=", "after=unknown"],
)
def test_a_query_that_means_nothing_is_refused(ada: TestClient, query: str) -> None:
    answer = ada.get(f"/orders?{query}")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


def test_no_orders_are_an_empty_page(ada: TestClient) -> None:
    assert ada.get("/orders").json() == {"orders": [], "next": None}
    assert ada.get("/orders/unknown").status_code == 404
