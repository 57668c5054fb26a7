"""What the platform asks of any replica."""

from __future__ import annotations

import time

import pytest
from starlette.testclient import TestClient


@pytest.mark.parametrize("probe", ["/livez", "/readyz", "/startupz"])
def test_probes_answer(client: TestClient, probe: str) -> None:
    """Ready and started as soon as Redis has answered once; alive from the beginning."""
    deadline = time.monotonic() + 10
    while client.get(probe).status_code != 200:
        assert probe != "/livez"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_wrong_method_is_told_the_right_ones(client: TestClient) -> None:
    answer = client.delete("/orders")

    assert answer.status_code == 405
    assert {"GET", "POST"} <= set(answer.headers["allow"].split(", "))


def test_errors_are_problem_documents(client: TestClient) -> None:
    answer = client.get("/nowhere")

    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().keys() >= {"type", "title", "status", "detail"}
