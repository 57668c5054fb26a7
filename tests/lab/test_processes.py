"""A supervised process is ready in time or says why, and never stays behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fivenines.lab.ports import free_ports, is_free
from fivenines.lab.processes import Guard, Process, ProcessFailedError, http_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
)
_PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def guard() -> Iterator[Guard]:
    made = Guard()
    yield made
    made.close()


def _python(tmp_path: Path, guard: Guard, program: str) -> Process:
    return Process("it", [sys.executable, "-c", program], log=tmp_path / "it.log", guard=guard)


def _has_ended(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"  # dead; whoever adopted it has not asked yet


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_process_that_ends_instead_of_starting_shows_its_last_words(tmp_path: Path, guard: Guard) -> None:
    """The error comes at once, with the exit code and the log's end."""
    process = _python(tmp_path, guard, "raise SystemExit('no such table')")
    process.start()

    with pytest.raises(ProcessFailedError, match="it ended with 1: no such table") as caught:
        process.wait_ready(lambda: False, deadline=20)

    assert caught.value.returncode == 1


def test_process_that_is_never_ready_is_given_up(tmp_path: Path, guard: Guard) -> None:
    """The deadline is kept, and the log's end is shown."""
    process = _python(tmp_path, guard, _STUBBORN)
    process.start()
    process.wait_ready(lambda: "up" in process.tail(), deadline=10)

    with pytest.raises(ProcessFailedError, match=r"was not ready within 0\.1 s: up"):
        process.wait_ready(lambda: False, deadline=0.1)
    process.kill()


def test_stop_ends_even_who_ignores_it(tmp_path: Path, guard: Guard) -> None:
    """After the grace comes SIGKILL."""
    process = _python(tmp_path, guard, _STUBBORN)
    process.start()
    process.wait_ready(lambda: "up" in process.tail(), deadline=10)

    process.stop(grace=0.1)

    assert process.returncode == -signal.SIGKILL


def test_frozen_process_can_be_stopped(tmp_path: Path, guard: Guard) -> None:
    """SIGTERM alone would wait behind SIGSTOP for ever."""
    process = _python(tmp_path, guard, "import time; print('up', flush=True); time.sleep(60)")
    process.start()
    process.wait_ready(lambda: "up" in process.tail(), deadline=10)
    process.signal(signal.SIGSTOP, group=True)

    process.stop(grace=5)

    assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_children_end_with_the_process(tmp_path: Path, guard: Guard, end: str) -> None:
    """A server's workers do not outlive it, and do not keep its port."""
    process = _python(tmp_path, guard, _PARENT)
    process.start()
    process.wait_ready(lambda: process.log.read_text().strip().isdigit(), deadline=10)
    child = int(process.log.read_text())

    getattr(process, end)()

    assert _within(5, lambda: _has_ended(child))


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks at Linux' process table")
def test_nothing_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    """SIGKILL gives the parent no chance to clean up; the guard does."""
    program = f"""
import sys, time
from pathlib import Path
from fivenines.lab.processes import Guard, Process
process = Process("it", [sys.executable, "-c", {_PARENT!r}], log=Path({str(tmp_path / "it.log")!r}), guard=Guard())
process.start()
process.wait_ready(lambda: process.log.read_text().strip().isdigit(), deadline=10)
print(process.pid, process.log.read_text().strip(), flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()

    assert len(pids) == 2
    assert _within(6, lambda: all(map(_has_ended, pids)))


def test_process_can_be_started_again(tmp_path: Path, guard: Guard) -> None:
    """Its log goes on where it was."""
    process = _python(tmp_path, guard, "print('once more')")
    for _ in range(2):
        process.start()
        assert process.wait(10)

    assert process.log.read_text() == "once more\n" * 2


def test_ports_are_free_different_and_not_for_outgoing_connections() -> None:
    """What a client's connection may take as its source is never handed out."""
    ports = free_ports(20)

    assert len(set(ports)) == 20
    assert all(is_free(port) for port in ports)
    ranges = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if ranges.exists():
        assert max(ports) < int(ranges.read_text().split()[0])


def test_port_in_use_is_not_free() -> None:
    """And nobody answers HTTP there."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        assert not is_free(port)
        assert http_status(port, "/", timeout=0.1) is None


def test_guard_lets_go_of_what_has_ended(tmp_path: Path) -> None:
    """A group that was forgotten is not signalled: its id may be another's by now."""
    guard = Guard()
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    guard.watch(bystander.pid)
    guard.forget(bystander.pid)
    guard.own(tmp_path / "scratch")
    (tmp_path / "scratch").mkdir()

    guard.close()

    assert bystander.poll() is None
    assert not (tmp_path / "scratch").exists()
    os.killpg(bystander.pid, signal.SIGKILL)
    bystander.wait()
