"""Logging in and out, and what a session holds."""

from __future__ import annotations

import pytest
from fivenines import ConfigurationError
from starlette.testclient import TestClient

from .conftest import StartReplica


def test_login_starts_a_session_without_visits(ada: TestClient) -> None:
    assert ada.get("/me").json() == {"user": "ada", "visits": 0}


def test_visits_count_by_one_and_me_only_reads(ada: TestClient) -> None:
    assert [ada.post("/visits").json() for _ in range(3)] == [{"visits": 1}, {"visits": 2}, {"visits": 3}]
    assert [ada.get("/me").json()["visits"] for _ in range(2)] == [3, 3]


def test_login_again_starts_visits_again_under_a_new_cookie(ada: TestClient) -> None:
    before = ada.cookies["session"]
    ada.post("/visits")

    ada.post("/login", json={"user": "ada"})

    assert ada.cookies["session"] != before
    assert ada.get("/me").json() == {"user": "ada", "visits": 0}


def test_a_session_is_the_same_on_every_replica(start_replica: StartReplica) -> None:
    """Log in on one replica, count on another, read on the first."""
    first, second = start_replica(), start_replica()
    first.post("/login", json={"user": "ada"})
    second.cookies = first.cookies

    assert second.post("/visits").json() == {"visits": 1}
    assert first.get("/me").json() == {"user": "ada", "visits": 1}


def test_logout_ends_this_session_on_every_replica(start_replica: StartReplica) -> None:
    first, second = start_replica(), start_replica()
    first.post("/login", json={"user": "ada"})
    second.cookies.set("session", first.cookies["session"])

    assert first.post("/logout").status_code == 204

    assert second.get("/me").status_code == 401


def test_logout_everywhere_ends_all_sessions_of_the_user(start_replica: StartReplica) -> None:
    phone, laptop, other = start_replica(), start_replica(), start_replica()
    for client, user in ((phone, "ada"), (laptop, "ada"), (other, "bob")):
        client.post("/login", json={"user": user})

    assert phone.post("/logout/everywhere").status_code == 204

    assert [client.get("/me").status_code for client in (phone, laptop, other)] == [401, 401, 200]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/logout"),
        ("POST", "/logout/everywhere"),
        ("GET", "/me"),
        ("POST", "/visits"),
        ("POST", "/orders"),
        ("GET", "/orders"),
        ("GET", "/orders/any"),
    ],
)
def test_without_a_session_there_is_401(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path)

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"]


@pytest.mark.parametrize("user", ["", "a" * 65, "a b", "ada\n", "ä", 7, None])
def test_login_refuses_what_is_no_user_name(client: TestClient, user: object) -> None:
    answer = client.post("/login", json={"user": user})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "user"


def test_demo_login_exists_only_where_it_is_on(
    environment: pytest.MonkeyPatch, start_replica: StartReplica
) -> None:
    environment.delenv("ORDERS_DEMO_LOGIN")

    assert start_replica().post("/login", json={"user": "ada"}).status_code == 404


def test_a_setting_that_means_nothing_is_refused(
    environment: pytest.MonkeyPatch, start_replica: StartReplica
) -> None:
    environment.setenv("ORDERS_DEMO_LOGIN", "yes")

    with pytest.raises(ConfigurationError, match="one of off, on"):
        start_replica()
