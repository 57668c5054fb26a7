"""Children that never outlive their parent, even when the parent is killed with SIGKILL.

A child cannot be trusted to notice, and Linux' PR_SET_PDEATHSIG ends a child with the *thread* that started
it. So each guard is one small process that reads a pipe: the parent writes down which process groups it has
started and forgets those that ended; when the pipe closes, for whatever reason, the guard stops the rest.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Runs apart, isolated and without site: it must start quickly and import nothing of ours. Killing a group
# that has ended meanwhile is no error; killing another one is not possible, since the parent takes a group
# off the list before it lets go of its id, and after the parent's death nobody waits long.
_PROGRAM = """
import json, os, shutil, signal, sys, time
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
groups, folders = {}, {}
for line in sys.stdin:
    verb, what = json.loads(line)
    if verb == "group": groups[what] = True
    elif verb == "forget": groups.pop(what, None)
    elif verb == "folder": folders[what] = True
    elif verb == "keep": folders.pop(what, None)
def send(number):
    for group in list(groups):
        try: os.killpg(group, number)
        except ProcessLookupError: groups.pop(group, None)
        except PermissionError: pass
send(signal.SIGCONT); send(signal.SIGTERM)
end = time.monotonic() + 3
while groups and time.monotonic() < end:
    time.sleep(0.02); send(0)
send(signal.SIGKILL)
for folder in folders: shutil.rmtree(folder, ignore_errors=True)
"""


class Guard:
    """Stops the process groups it was told about once this process is gone; removes folders it was given."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def watch(self, group: int) -> None:
        """The process group `group` must not outlive us."""
        self._tell("group", group)

    def forget(self, group: int) -> None:
        """The process group has ended: its id may soon be another's."""
        self._tell("forget", group)

    def own(self, folder: Path) -> None:
        """A scratch folder that is removed at the end."""
        self._tell("folder", str(folder))

    def disown(self, folder: Path) -> None:
        """The folder is gone already, or stays."""
        self._tell("keep", str(folder))

    def close(self) -> None:
        """Let the guard stop what is left, and wait until it has."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.communicate()

    def _tell(self, verb: str, what: object) -> None:
        with self._lock:
            if self._process is None:
                # A session of its own: Ctrl-C in a terminal reaches our group, the guard must outlive us.
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _PROGRAM],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps([verb, what]).encode() + b"\n")
            self._process.stdin.flush()
