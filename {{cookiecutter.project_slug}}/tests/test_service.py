"""What the platform asks of any replica."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient


@pytest.mark.parametrize("probe", ["/livez", "/readyz", "/startupz"])
def test_probes_answer(client: TestClient, probe: str) -> None:
    assert client.get(probe).status_code == 200


def test_a_wrong_method_is_told_the_right_ones(client: TestClient) -> None:
    answer = client.delete("/orders")

    assert answer.status_code == 405
    assert {"GET", "POST"} <= set(answer.headers["allow"].split(", "))


def test_errors_are_problem_documents(client: TestClient) -> None:
    answer = client.get("/nowhere")

    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().keys() >= {"type", "title", "status", "detail"}
