"""Each test gets as many replicas as it asks for, in this process, on a real Redis under names of its own."""

from __future__ import annotations

import runpy
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.testclient import TestClient

APP = Path(__file__).parents[1] / "app.py"
StartReplica = Callable[[], TestClient]


@pytest.fixture
def environment(fivenines_redis_url: str, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The variables that replicas start with; `setenv` on it changes them for those to come."""
    monkeypatch.setenv("FIVENINES_REDIS_URL", fivenines_redis_url)
    monkeypatch.setenv("FIVENINES_NAMESPACE", f"test-{secrets.token_hex(8)}")
    monkeypatch.setenv("FIVENINES_SECRET_KEYS", secrets.token_urlsafe(32))
    monkeypatch.setenv("FIVENINES_SESSION_COOKIE", "insecure")
    monkeypatch.setenv("ORDERS_DEMO_LOGIN", "on")
    return monkeypatch


@pytest.fixture
def start_replica(environment: pytest.MonkeyPatch) -> Iterator[StartReplica]:
    """Starts one more replica in this process and returns a client of it."""
    with ExitStack() as running:

        def start() -> TestClient:
            # app.py anew: two replicas share nothing but Redis.
            service = runpy.run_path(str(APP))["service"]
            return running.enter_context(TestClient(service, raise_server_exceptions=False))

        yield start


@pytest.fixture
def client(start_replica: StartReplica) -> TestClient:
    """A client of one replica, logged in as nobody."""
    return start_replica()


@pytest.fixture
def ada(client: TestClient) -> TestClient:
    """The same client, logged in as ada."""
    assert client.post("/login", json={"user": "ada"}).status_code == 200
    return client
