"""What every test has: a real Redis, a namespace of its own, and alarms for what must not happen.

The alarms are autouse: a blocking call inside the event loop, made by the framework or by a handler beneath
it, fails the test; warnings are errors (pyproject.toml); `FIVENINES_…` of the developer's shell is unseen.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# The machine may be busy: how long an example takes says nothing about the code. CI repeats itself exactly.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


# Only its folder is asked for: a stand-in spares tests that need no framework the import of it.
_FRAMEWORK = ModuleType("fivenines")
_FRAMEWORK.__path__ = [str(Path(__file__).resolve().parents[1] / "framework" / "fivenines")]


@pytest.fixture(autouse=True)
def blocking_calls_fail() -> Iterator[BlockBuster]:
    """A call that blocks the event loop raises BlockingError where it is made."""
    with blockbuster_ctx(_FRAMEWORK) as detector:
        yield detector


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings come from the test alone."""
    for name in list(os.environ):
        if name.startswith(("FIVENINES_", "ORDERS_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def redis_url(fivenines_redis_url: str) -> str:
    """A real Redis on a unix socket, started once and shared: stay inside `namespace`, never flush."""
    return fivenines_redis_url


@pytest.fixture
def namespace() -> str:
    """A prefix no other test has used."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def secret_keys() -> str:
    """A value for FIVENINES_SECRET_KEYS."""
    return "tests-only-" + "0123456789abcdef" * 2
