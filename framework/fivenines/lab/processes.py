"""A supervised process: its own log file and process group, readiness with a deadline, no children left.

Everything here blocks; call it from a thread where an event loop runs.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from fivenines.errors import FiveNinesError
from fivenines.store._guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["Guard", "Process", "ProcessFailedError", "http_status"]


class ProcessFailedError(FiveNinesError):
    """A process ended, or was not ready in time; the message ends with the last lines of its log.

    `returncode` is None where it runs on.
    """

    def __init__(self, message: str, returncode: int | None = None) -> None:
        super().__init__(message)
        self.returncode = returncode


class Process:
    """One server. Its children share its process group, so signals that end it end them as well."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        guard: Guard,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.log = log
        self._guard = guard
        self._cwd = cwd
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the first process of the group, also after its end."""
        return self._process.pid if self._process else None

    @property
    def returncode(self) -> int | None:
        """How it ended; None while it runs or was never started."""
        return self._process.poll() if self._process else None

    @property
    def alive(self) -> bool:
        """Whether its first process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; the log of earlier runs is kept."""
        if self.alive:
            raise RuntimeError(f"{self.name} runs already")
        self._reap()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                cwd=self._cwd,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A group of its own to signal as one, and Ctrl-C in a terminal does not reach it before us.
                start_new_session=True,
            )
        self._guard.watch(self._process.pid)

    def wait_ready(self, probe: Callable[[], bool], *, deadline: float) -> None:
        """Ask the probe until it says yes; the end of the process is noticed at once."""
        end = time.monotonic() + deadline
        while not probe():
            if not self.alive:
                code = self.returncode
                raise ProcessFailedError(f"{self.name} ended with {code}: {self.tail()}", code)
            if time.monotonic() > end:
                raise ProcessFailedError(f"{self.name} was not ready within {deadline:g} s: {self.tail()}")
            time.sleep(0.02)

    def signal(self, number: int, *, group: bool = False) -> None:
        """Send a signal to the process, or to its whole group; one that has ended is no error."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self._process.pid, number)

    def wait(self, timeout: float) -> bool:
        """Whether it has ended within `timeout` seconds."""
        if self._process is not None:
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                return False
            self._reap()
        return True

    def stop(self, grace: float = 10.0) -> None:
        """SIGTERM, and after `grace` seconds SIGKILL for the whole group."""
        self.signal(signal.SIGCONT, group=True)  # a frozen process would not hear the next one
        self.signal(signal.SIGTERM)
        if not self.wait(grace):
            self.kill()

    def kill(self) -> None:
        """SIGKILL the whole group, as the death of a machine would."""
        self.signal(signal.SIGKILL, group=True)
        self.wait(5.0)

    def tail(self, lines: int = 5) -> str:
        """The end of its log in one line."""
        with contextlib.suppress(OSError):
            found = self.log.read_text(errors="replace").strip().splitlines()[-lines:]
            return " / ".join(line.strip() for line in found) or "its log is empty"
        return "it has no log"

    def _reap(self) -> None:
        """Whatever the first process left in its group ends with it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._guard.forget(self._process.pid)


def http_status(port: int, path: str, *, host: str = "127.0.0.1", timeout: float = 1.0) -> int | None:
    """The status that a GET on a new connection answers; None when there is no answer."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
