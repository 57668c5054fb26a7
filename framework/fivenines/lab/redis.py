"""A Redis that can be frozen, killed and brought back."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

from fivenines.lab.ports import free_ports
from fivenines.lab.processes import Guard, Process
from fivenines.store import binaries
from fivenines.store._embedded import answers_ping, server_arguments

if TYPE_CHECKING:
    from pathlib import Path


class RedisServer:
    """One server on a port of loopback, without TLS; persists in its folder, so that a kill loses little."""

    def __init__(
        self, folder: Path, guard: Guard, *, port: int | None = None, password: str = "", persist: bool = True
    ) -> None:
        self.port = port or free_ports(1)[0]
        self._password = password
        folder.mkdir(parents=True, exist_ok=True)
        binary = binaries.find("redis")
        command: list[str | Path] = [
            *(binary.path, "--bind", "127.0.0.1", "--port", str(self.port)),
            *server_arguments(folder=folder, persist=persist),
        ]
        if password:
            # Not on the command line, which every user of the machine can read.
            secret = folder / "password.conf"
            secret.touch(mode=0o600)
            secret.write_text(f"requirepass {password}\n")
            command.insert(1, secret)
        self.process = Process("redis", command, log=folder / "redis.log", guard=guard, env=binary.environment())

    @property
    def url(self) -> str:
        """What to give to a service."""
        secret = f":{self._password}@" if self._password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process.start()
        self.process.wait_ready(self.answers, deadline=10.0)

    def answers(self) -> bool:
        """Whether it answers a PING now."""
        return answers_ping(socket.AF_INET, ("127.0.0.1", self.port), timeout=0.5)

    def freeze(self) -> None:
        """Stop its clock: connections stay open and nothing answers."""
        self.process.signal(signal.SIGSTOP, group=True)

    def unfreeze(self) -> None:
        """Let it go on where it was."""
        self.process.signal(signal.SIGCONT, group=True)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def restart(self) -> None:
        """Stop it, start it again on the same port with what it had written."""
        self.process.stop()
        self.start()

    def stop(self) -> None:
        """End it."""
        self.process.stop()
