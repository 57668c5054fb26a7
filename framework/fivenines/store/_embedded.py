"""A Redis of one's own, for `embedded://`: development, tests and scripts without a server to install."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fivenines.errors import ConfigurationError
from fivenines.store import binaries
from fivenines.store._guard import Guard

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_SECONDS = 10.0
_SOCKET_PATH_MAX = 100  # sun_path holds 104 bytes on macOS, 108 on Linux


def server_arguments(*, folder: Path, persist: bool) -> list[str]:
    """What every server of ours is started with, wherever it listens."""
    durable = ["--appendonly", "yes", "--appendfsync", "everysec"] if persist else ["--appendonly", "no"]
    return ["--dir", str(folder), "--save", "", *durable, "--daemonize", "no"]


def answers_ping(family: int, address: object, timeout: float = 1.0) -> bool:
    """Whether a server at the address speaks RESP and has loaded its data (a password may be asked for)."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(address)  # type: ignore[arg-type]
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


class EmbeddedServer:
    """One server on a unix socket, only for this user; it ends with this process, however that ends.

    Without a folder its data goes with it. With one, data is appended to a file there and read back at the
    next start; a server that already runs in the folder is shared, and belongs to the process that began it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._scratch: Path | None = None
        self._guard = Guard()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._url = ""

    def start(self) -> str:
        """The server's `unix://` URL; starts it unless it runs. Blocks for some 50 ms."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._url = self._start()
            return self._url

    def stop(self) -> None:
        """End the server if it is ours, and remove what was only for it."""
        with self._lock:
            process, self._process = self._process, None
            if process is not None:
                process.terminate()
                try:
                    process.wait(timeout=5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                self._guard.forget(process.pid)
            if self._scratch is not None:
                shutil.rmtree(self._scratch, ignore_errors=True)
                self._guard.disown(self._scratch)
                self._scratch = None
            self._guard.close()

    def _start(self) -> str:
        folder = self._data_folder()
        with _alone_in(folder):
            return self._start_in(folder)

    def _start_in(self, folder: Path) -> str:
        address = folder / "redis.sock"
        elsewhere = None
        if len(os.fsencode(address)) > _SOCKET_PATH_MAX:
            elsewhere = _short_folder_for(folder)
            address = elsewhere / "redis.sock"
        url = f"unix://{address}"
        if self._folder is not None and answers_ping(socket.AF_UNIX, str(address)):
            return url
        if elsewhere is not None and self._scratch is None:
            self._scratch = elsewhere
            self._guard.own(elsewhere)
        server = binaries.find("redis")
        log = folder / "redis.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    str(server.path),
                    *("--port", "0", "--unixsocket", str(address), "--unixsocketperm", "700"),
                    *server_arguments(folder=folder, persist=self._folder is not None),
                ],
                env=server.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C reaches the terminal's whole group; the service still needs its store to shut down.
                start_new_session=True,
            )
        self._guard.watch(self._process.pid)
        deadline = time.monotonic() + _START_SECONDS
        while not answers_ping(socket.AF_UNIX, str(address)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = " / ".join(log.read_text(errors="replace").splitlines()[-3:])
                raise ConfigurationError(f"the embedded Redis ({server.path}) did not start: {tail}")
            time.sleep(0.005)
        return url

    def _data_folder(self) -> Path:
        if self._folder is None:
            return self._scratch_folder()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._folder.absolute()

    def _scratch_folder(self) -> Path:
        if self._scratch is None:
            # macOS' own temporary folder is too long for a socket's path.
            short = "/tmp" if len(tempfile.gettempdir()) > 60 and os.access("/tmp", os.W_OK) else None
            self._scratch = Path(tempfile.mkdtemp(prefix="fivenines-", dir=short))
            self._guard.own(self._scratch)
        return self._scratch


def _short_folder_for(folder: Path) -> Path:
    """A folder for the socket of a server whose own folder's name is too long: the same for all who share it."""
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    short = Path("/tmp", f"fivenines-{os.getuid()}-{name}")
    short.mkdir(mode=0o700, exist_ok=True)
    found = short.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigurationError(f"{short} belongs to somebody else; use a folder with a shorter name than {folder}")
    return short


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Of two that start at once, the second would take the socket and append to the same file."""
    with (folder / "lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
