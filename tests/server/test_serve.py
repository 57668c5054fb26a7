"""What keeps a replica from starting: one line that names the cure, and exit code 2."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

MODULES = """
import sys

async def service(scope, receive, send):
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    body = " ".join(sys.modules).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""

FAILS = """
from fivenines.errors import ConfigurationError

async def service(scope, receive, send):
    await receive()
    raise {error}
"""


def told(replica) -> str:
    """The last line, without its prefix."""
    *_, last = replica.log.read_text().strip().splitlines()
    assert "Traceback" not in replica.log.read_text()
    return last.removeprefix("fivenines: ")


def test_missing_key_comes_with_the_command_that_makes_one(launch: Callable) -> None:
    """There is no default key, and none is made up."""
    refused = launch(FIVENINES_SECRET_KEYS="")

    assert refused.wait() == 2
    assert told(refused) == (
        "FIVENINES_SECRET_KEYS is not set; make a key with: "
        'python -c "import secrets; print(secrets.token_urlsafe(32))"'
    )


@pytest.mark.parametrize(
    ("arguments", "environ", "line"),
    [
        (
            ("serve",),
            {},
            "the following arguments are required: MODULE:ATTRIBUTE; for example: fivenines serve app:service",
        ),
        (("serve", "app:service", "--bnd", "x"), {}, "unrecognized arguments: --bnd x"),
        (("serve", "app"), {}, "such as app:service"),
        (("serve", "ap:service"), {}, "did you mean 'app'?"),
        (("serve", "app:servic"), {}, "did you mean 'service'?"),
        (
            ("serve", "app:service", "--workers", "0"),
            {},
            "FIVENINES_WORKERS='0' is not allowed: a whole number at least 1",
        ),
        (
            ("serve", "app:service", "--bind", "0.0.0.0:0"),
            {"FIVENINES_SESSION_COOKIE": "insecure"},
            "loopback only",
        ),
        (("serve", "app:service", "--bind", "0.0.0.0:0"), {"ORDERS_DEMO_LOGIN": "on"}, "lets anyone log in"),
        (
            ("serve", "app:service", "--bind", "203.0.113.7:8000"),
            {},
            "set FIVENINES_BIND to an address of this machine",
        ),
        (("serve", "app:service"), {"FIVENINES_REDIS_URL": "http://x"}, "FIVENINES_REDIS_URL"),
        (("serve", "app:service"), {"FIVENINES_SECRET_KEYS": "short"}, "at least 32 are needed"),
        (("serve", "app:service"), {"FIVENINES_DRIAN": "1"}, "did you mean FIVENINES_DRAIN?"),
    ],
)
def test_mistakes_are_told_in_one_line(
    launch: Callable, arguments: tuple[str, ...], environ: dict[str, str], line: str
) -> None:
    """Usage and configuration: exit code 2, the cure, no traceback."""
    refused = launch(*arguments, **environ)

    assert refused.wait() == 2
    assert line in told(refused)
    assert len(refused.log.read_text().splitlines()) == 1


@pytest.mark.parametrize("variable", ["FIVENINES_BIND", "FIVENINES_ADMIN_BIND"])
def test_taken_port_is_named_with_the_variable_to_change(launch: Callable, variable: str) -> None:
    """At once: gunicorn alone tries for 5 s and exits 1."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = launch(**{variable: f"127.0.0.1:{port}"})

        assert refused.wait() == 2
    assert told(refused).startswith(
        f"port {port} is taken (127.0.0.1:{port}): stop what listens there or set {variable}="
    )


def test_serving_process_has_no_tools_in_memory(replica: Callable) -> None:
    """What serve does not need is in no worker: click, rich, the lab, the command line's other parts."""
    loaded = set(replica(app=MODULES, FIVENINES_DRAIN="0").get("/").body.split())

    assert {"fivenines", "gunicorn", "fivenines.server.worker"} <= loaded
    unwanted = (
        "click",
        "rich",
        "fivenines.lab",
        "fivenines.ops",
        "fivenines.testing",
        "fivenines.cli.commands",
    )
    assert not loaded & set(unwanted)


def test_configuration_that_lifespan_refuses_is_told_like_any_other(launch: Callable) -> None:
    """The worker's ConfigurationError reaches the terminal as one line, and exit code 2."""
    refused = launch(app=FAILS.format(error="ConfigurationError('set X to 1')"))

    assert refused.wait() == 2
    assert told(refused) == "set X to 1"


def test_failing_lifespan_is_a_failure_with_its_reason(launch: Callable) -> None:
    """Anything else is exit code 1: the traceback is in the log, the reason in the last line."""
    failed = launch(app=FAILS.format(error="OSError('no disk')"))

    assert failed.wait() == 1
    assert failed.log.read_text().splitlines()[-1] == "fivenines: app:service did not start: OSError: no disk"
    assert "Traceback" in failed.log.read_text()


def test_logs_are_one_json_object_a_line(replica: Callable) -> None:
    """gunicorn's lines too."""
    running = replica(FIVENINES_DRAIN="0")
    running.send(signal.SIGTERM)
    running.wait()

    lines = [json.loads(line) for line in running.log.read_text().splitlines()]
    assert {"time", "level", "event", "logger"} <= set.intersection(*map(set, lines))
    assert any("drain" in line["event"] for line in lines)


def test_reload_survives_a_file_that_does_not_load(replica: Callable, eventually: Callable) -> None:
    """Half a thought saved: the error is the answer, and the next save repairs it."""
    running = replica("serve", "app:service", "--reload", FIVENINES_DRAIN="0")
    path = running.folder / "app.py"
    good = path.read_text()

    def save_until(source: str, holds: Callable[[str], bool]) -> None:
        # gunicorn's reloader takes its first look at the files in a thread, while the worker serves already: a save
        # in those first milliseconds is part of what it compares with. So save again where nothing came of it.
        for _ in range(3):
            path.write_text(source)
            with contextlib.suppress(AssertionError):
                return eventually(lambda: holds(_body(running)), 4)
        pytest.fail(f"not reloaded; {running.log.read_text()}")

    save_until("service = nonsense\n", lambda body: "NameError: name 'nonsense'" in body)
    save_until(good + "\n", str.isdigit)


def _body(running) -> str:
    try:
        return running.get("/").body
    except OSError:
        return ""
