"""The generated service keeps its contract over real HTTP: two replicas under gunicorn, one Redis beneath them."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import httpx2
import pytest

from fivenines.lab.ports import free_ports
from fivenines.lab.processes import Guard, Process, http_status
from fivenines.lab.redis import RedisServer

from .conftest import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow
TEA = {"item": "tea", "quantity": 2}
KEY = "Idempotency-Key"


class Service(NamedTuple):
    """What runs: the addresses of the replicas, and the Redis they share."""

    urls: list[str]
    redis: RedisServer


@pytest.fixture(scope="module")
def service(
    project: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory, secret_keys: str
) -> Iterator[Service]:
    state, guard = tmp_path_factory.mktemp("service"), Guard()
    redis = RedisServer(state / "redis", guard)
    ports = free_ports(4)
    variables = environment | {
        "FIVENINES_SECRET_KEYS": secret_keys,
        "FIVENINES_SESSION_COOKIE": "insecure",
        "FIVENINES_REDIS_URL": redis.url,
        "FIVENINES_DRAIN": "1",
        "ORDERS_DEMO_LOGIN": "on",
    }
    replicas = [
        Process(
            f"replica{public}",
            [sys.executable, "-m", "fivenines", "serve", "app:service", f"--bind=127.0.0.1:{public}",
             f"--admin-bind=127.0.0.1:{admin}"],
            cwd=project, env=variables, log=state / f"{public}.log", guard=guard,
        )
        for public, admin in (ports[:2], ports[2:])
    ]  # fmt: skip
    try:
        redis.start()
        for replica in replicas:
            replica.start()
        for replica, port in zip(replicas, ports[::2], strict=True):
            replica.wait_ready(lambda port=port: http_status(port, "/startupz") == 200, deadline=30)  # type: ignore[misc]
        yield Service([f"http://127.0.0.1:{port}" for port in ports[::2]], redis)
        for replica in replicas:
            replica.signal(signal.SIGTERM)
        assert all(replica.wait(20) for replica in replicas)
        assert [replica.returncode for replica in replicas] == [0, 0]
    finally:
        for replica in replicas:
            replica.kill()
        redis.stop()
        guard.close()


@pytest.fixture
def first(service: Service) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=service.urls[0]) as client:
        yield client


@pytest.fixture
def second(service: Service) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=service.urls[1]) as client:
        yield client


@pytest.fixture
def user() -> str:
    """Somebody whom no other test knows."""
    return f"user-{os.urandom(6).hex()}"


def log_in(user: str, *clients: httpx2.Client) -> None:
    answer = clients[0].post("/login", json={"user": user})
    assert (answer.status_code, answer.json()) == (200, {"user": user})
    for client in clients[1:]:
        client.cookies = clients[0].cookies


def problem(answer: httpx2.Response) -> tuple[int, str]:
    """Status and the last part of the type, after a look at the form."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    assert answer.json().keys() >= {"type", "title", "status", "detail"}
    assert not re.search(r"fivenines|starlette|gunicorn|redis|Traceback|Error\b", answer.text)
    return answer.status_code, answer.json()["type"].rpartition("/")[2]


def test_a_session_goes_from_replica_to_replica(first: httpx2.Client, second: httpx2.Client, user: str) -> None:
    log_in(user, first, second)

    assert [client.post("/visits").json()["visits"] for client in (first, second, first)] == [1, 2, 3]
    assert second.get("/me").json() == {"user": user, "visits": 3}
    ended = second.post("/logout")
    assert (ended.status_code, ended.content) == (204, b"")
    assert problem(first.get("/me"))[0] == 401


def test_a_tampered_cookie_is_no_session(first: httpx2.Client, user: str) -> None:
    log_in(user, first)
    value = first.cookies["session"]
    forged = {"Cookie": f"session={value[:-2]}{'AA' if not value.endswith('AA') else 'BB'}"}
    first.cookies.clear()

    assert first.get("/me", headers=forged).status_code == 401
    assert first.post("/login", json={"user": user}, headers=forged).status_code == 200


def test_a_replay_is_the_first_answer(first: httpx2.Client, second: httpx2.Client, user: str) -> None:
    """Same status, bytes, Location and Content-Type; nothing that belongs to the first connection."""
    log_in(user, first, second)

    placed = first.post("/orders", json=TEA, headers={KEY: "k"})
    again = second.post("/orders", json=TEA, headers={KEY: '"k"'})

    assert placed.status_code == 201
    assert len(placed.json()["id"]) <= 40
    assert KEY not in placed.headers
    assert "idempotent-replayed" not in placed.headers
    assert again.headers["idempotent-replayed"] == "true"
    for name in ("location", "content-type"):
        assert placed.headers[name] == again.headers[name]
    assert (placed.status_code, placed.content) == (again.status_code, again.content)
    assert "set-cookie" not in again.headers
    assert second.get(placed.headers["location"]).content == placed.content


def test_the_same_key_after_another_login_is_the_same_order(
    first: httpx2.Client, second: httpx2.Client, user: str
) -> None:
    """A key belongs to the user, not to the session."""
    log_in(user, first)
    log_in(user, second)

    placed, again = (client.post("/orders", json=TEA, headers={KEY: "k"}) for client in (first, second))

    assert placed.content == again.content


def test_checks_come_in_order(first: httpx2.Client, user: str) -> None:
    """Every request has all the later faults too."""
    json, key, huge = {"Content-Type": "application/json"}, {KEY: "k"}, b"[" * 1_100_000

    assert problem(first.post("/nowhere", content=b"{"))[0] == 404
    wrong = first.delete("/orders")
    assert problem(wrong)[0] == 405
    assert {"GET", "POST"} <= set(wrong.headers["allow"].split(", "))
    refused = first.post("/orders", content=b"{")
    assert problem(refused)[0] == 401
    assert refused.headers["www-authenticate"]
    log_in(user, first)
    assert problem(first.post("/orders", content=b"{")) == (400, "idempotency-key-missing")
    assert problem(first.post("/orders", content=b"{", headers={KEY: "a" * 256})) == (400, "idempotency-key-malformed")
    assert problem(first.post("/orders", content=b"{", headers=key))[0] == 415
    assert problem(first.post("/orders", content=huge, headers=key | json))[0] == 413
    assert problem(first.post("/orders", content=b"{", headers=key | json))[0] == 400
    assert problem(first.post("/orders", content=b"{}", headers=key | json)) == (422, "validation-failed")
    assert first.post("/orders", json=TEA, headers=key).status_code == 201
    other = first.post("/orders", json={"item": "cake", "quantity": 1}, headers=key)
    assert problem(other) == (422, "idempotency-key-reused")
    assert first.get("/orders").json()["next"] is None


def test_two_key_fields_are_refused(first: httpx2.Client, user: str) -> None:
    log_in(user, first)

    answer = first.post("/orders", json=TEA, headers=[(KEY, "a"), (KEY, "a")])

    assert problem(answer) == (400, "idempotency-key-malformed")


def test_a_price_is_for_all_and_the_same_on_every_replica(first: httpx2.Client, second: httpx2.Client) -> None:
    price = first.get("/prices/coffee")

    assert price.json().keys() == {"item", "price", "as_of"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", price.json()["as_of"])
    assert second.get("/prices/coffee").content == price.content
    assert problem(first.get("/prices/gold"))[0] == 404


@pytest.mark.parametrize("injury", ["frozen", "killed"])
def test_without_redis_the_rest_goes_on(service: Service, first: httpx2.Client, user: str, injury: str) -> None:
    """503 with Retry-After within a second, prices and probes as before, and all well a second after its return."""
    log_in(user, first)
    if injury == "frozen":
        hurt, heal = service.redis.freeze, service.redis.unfreeze
    else:
        hurt, heal = service.redis.kill, service.redis.start
    hurt()
    try:
        for ask in (
            lambda: first.get("/me"),
            lambda: first.post("/visits"),
            lambda: first.post("/orders", json=TEA, headers={KEY: "k"}),
            lambda: first.post("/login", json={"user": user}),
            lambda: first.post("/logout"),
        ):
            answer, took = _timed(ask)
            assert problem(answer)[0] == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert took < 1
        assert first.get("/prices/cake").json()["price"] == 480
        assert [first.get(probe).status_code for probe in ("/livez", "/readyz")] == [200, 200]
    finally:
        heal()
    deadline = time.monotonic() + 1
    while first.get("/me").status_code != 200:
        assert time.monotonic() < deadline
    placed = first.post("/orders", json=TEA, headers={KEY: "k"})
    assert placed.status_code == 201
    assert [each["id"] for each in first.get("/orders").json()["orders"]] == [placed.json()["id"]]


def test_a_login_without_password_is_not_served_to_others(
    project: Path, environment: dict[str, str], secret_keys: str
) -> None:
    port, admin = free_ports(2)
    variables = environment | {"FIVENINES_SECRET_KEYS": secret_keys, "ORDERS_DEMO_LOGIN": "on"}
    command = [sys.executable, "-m", "fivenines", "serve", "app:service", f"--bind=0.0.0.0:{port}"]

    done = run(variables, project, *command, f"--admin-bind=127.0.0.1:{admin}", check=False)

    assert done.returncode == 2
    assert "ORDERS_DEMO_LOGIN" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def _timed(ask: Callable[[], httpx2.Response]) -> tuple[httpx2.Response, float]:
    began = time.monotonic()
    return ask(), time.monotonic() - began
