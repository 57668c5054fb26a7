"""A worker's memory holds what serves requests, and nothing of the tools around it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

UNWANTED = ["click", "rich", "fivenines.lab", "fivenines.ops", "fivenines.testing", "fivenines.cli.commands"]

APP = """
import sys
from starlette.responses import JSONResponse
from starlette.routing import Route
from fivenines import Service
{extra}

async def modules(request):
    return JSONResponse(sorted(sys.modules))

service = Service(routes=[Route("/modules", modules)])
"""


@pytest.mark.slow
@pytest.mark.parametrize("extra", ["", "import click, fivenines.lab"], ids=["clean", "planted"])
def test_a_worker_has_no_tools_in_memory(tmp_path: Path, redis_url: str, secret_keys: str, extra: str) -> None:
    """`fivenines serve` brings neither lab, ops, testing nor click and rich; planted ones are noticed."""
    (tmp_path / "app.py").write_text(APP.format(extra=extra))
    loaded = set(modules_of_a_worker(tmp_path, redis_url, secret_keys))
    assert "fivenines.server.worker" in loaded
    assert [name for name in UNWANTED if name in loaded] == (["click", "fivenines.lab"] if extra else [])


def modules_of_a_worker(folder: Path, redis_url: str, secret_keys: str) -> list[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "FIVENINES_REDIS_URL": redis_url,
        "FIVENINES_SECRET_KEYS": secret_keys,
        "FIVENINES_BIND": f"127.0.0.1:{port}",
        "FIVENINES_ADMIN_BIND": "",
        "FIVENINES_DRAIN": "0",
    }
    with (folder / "log").open("wb") as log:
        served = subprocess.Popen(
            [sys.executable, "-m", "fivenines", "serve", "app:service"],
            cwd=folder, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        return json.loads(first_answer(served, f"http://127.0.0.1:{port}/modules", folder / "log"))
    finally:
        served.send_signal(signal.SIGTERM)
        try:
            served.wait(timeout=10)
        except subprocess.TimeoutExpired:
            served.kill()
            served.wait()


def first_answer(served: subprocess.Popen[bytes], url: str, log: Path) -> bytes:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read()
        except OSError as error:
            if served.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"no answer ({error}):\n{log.read_text()}")
            time.sleep(0.05)
