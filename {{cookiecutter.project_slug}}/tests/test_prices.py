"""Prices: open to all, kept for a while, and there without Redis too."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from .conftest import StartReplica


def test_a_price_is_public_and_kept(client: TestClient) -> None:
    first, second = client.get("/prices/tea"), client.get("/prices/tea")

    assert first.json().keys() == {"item", "price", "as_of"}
    assert (first.json()["item"], first.json()["price"]) == ("tea", 250)
    assert first.content == second.content


def test_an_unknown_item_is_404(client: TestClient) -> None:
    answer = client.get("/prices/gold")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_without_redis_prices_go_on_and_sessions_say_503(
    environment: pytest.MonkeyPatch, start_replica: StartReplica
) -> None:
    environment.setenv("FIVENINES_REDIS_URL", "redis://127.0.0.1:1/0")  # nobody listens there
    client = start_replica()

    assert client.get("/prices/tea").json()["price"] == 250
    refused = client.post("/login", json={"user": "ada"})
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
