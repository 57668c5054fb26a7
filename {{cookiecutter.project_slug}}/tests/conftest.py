"""Each test gets a Redis of its own, which starts in 50 ms, and as many replicas on it as it asks for."""

from __future__ import annotations

import runpy
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.testclient import TestClient

APP = Path(__file__).parents[1] / "app.py"
StartReplica = Callable[[], TestClient]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The variables that replicas start with; `setenv` on it changes them for those to come."""
    # Not pytest's tmp_path: a unix socket's path may have about 100 characters.
    with tempfile.TemporaryDirectory(prefix="test-") as folder:
        monkeypatch.setenv("FIVENINES_REDIS_URL", f"embedded://{folder}")
        monkeypatch.setenv("FIVENINES_SECRET_KEYS", secrets.token_urlsafe(32))
        monkeypatch.setenv("FIVENINES_SESSION_COOKIE", "insecure")
        monkeypatch.setenv("ORDERS_DEMO_LOGIN", "on")
        yield monkeypatch


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
