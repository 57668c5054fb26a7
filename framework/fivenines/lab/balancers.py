"""Balancers that know what may be repeated: HAProxy where there is one, else Caddy."""

from __future__ import annotations

import csv
import http.client
import string
from importlib import resources
from typing import TYPE_CHECKING

from fivenines.errors import ConfigurationError
from fivenines.lab.ports import free_ports
from fivenines.lab.processes import Guard, Process, http_status
from fivenines.store import binaries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

KINDS = ("haproxy", "caddy")


class Balancer:
    """One balancer before replicas on loopback; checks `/readyz` of each four or five times a second.

    GET, HEAD, OPTIONS and a POST with an Idempotency-Key go to another replica when the connection breaks or
    no answer comes within `server_timeout` seconds; anything else only if its connection was never made.
    """

    kind: str

    def __init__(
        self,
        replicas: Sequence[int],
        folder: Path,
        guard: Guard,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        server_timeout: float = 5.0,
        binary: binaries.Binary | None = None,
    ) -> None:
        self.host = host
        self.port, self._status_port = (port, free_ports(1)[0]) if port else free_ports(2)
        self.replicas = list(replicas)
        self._folder = folder
        binary = binary or binaries.find(self.kind)
        self.version = binary.version
        folder.mkdir(parents=True, exist_ok=True)
        configuration = folder / self.template
        configuration.write_text(
            string.Template(resources.files(__package__).joinpath(self.template).read_text()).substitute(
                host=host,
                port=self.port,
                status_port=self._status_port,
                **self._lists(),
                server_timeout=f"{int(server_timeout * 1000)}ms",
            )
        )
        # Caddy keeps locks and certificates in the user's folders unless told otherwise.
        home = {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        self.process = Process(
            self.kind,
            self._command(binary.path, configuration),
            log=folder / f"{self.kind}.log",
            guard=guard,
            env={**binary.environment(), **home},
        )

    template: str

    @property
    def url(self) -> str:
        """Where the service is."""
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Start it and wait until it serves."""
        self.process.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait for a first answer of a replica through it."""
        self.process.wait_ready(lambda: http_status(self.port, "/livez", host=self.host) == 200, deadline=15.0)

    def stop(self) -> None:
        """End it."""
        self.process.stop(grace=3.0)

    def requests(self) -> list[int] | None:
        """Requests that each replica has been given so far, where the balancer counts them."""
        return None

    def _lists(self) -> dict[str, str]:
        raise NotImplementedError

    def _command(self, executable: Path, configuration: Path) -> list[str | Path]:
        raise NotImplementedError


class HAProxy(Balancer):
    """HAProxy 2.4 or newer."""

    kind = "haproxy"
    template = "haproxy.cfg"

    def requests(self) -> list[int] | None:
        """From HAProxy's own statistics."""
        connection = http.client.HTTPConnection("127.0.0.1", self._status_port, timeout=1.0)
        try:
            connection.request("GET", "/;csv")
            table = connection.getresponse().read().decode().removeprefix("# ").splitlines()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        counts = dict.fromkeys((name for name, _ in self._named()), 0)
        for row in csv.DictReader(table):
            if row["svname"] in counts:  # once in each backend
                counts[row["svname"]] += int(row["stot"] or 0)
        return list(counts.values())

    def _lists(self) -> dict[str, str]:
        servers = [f"  server {name} {address}" for name, address in self._named()]
        tracking = [f"  server {name} {address} track replicas/{name}" for name, address in self._named()]
        return {"servers": "\n".join(servers), "tracking": "\n".join(tracking)}

    def _named(self) -> list[tuple[str, str]]:
        return [(f"replica{number}", f"127.0.0.1:{port}") for number, port in enumerate(self.replicas, 1)]

    def _command(self, executable: Path, configuration: Path) -> list[str | Path]:
        return [executable, "-db", "-f", configuration]


class Caddy(Balancer):
    """Caddy 2.6 or newer."""

    kind = "caddy"
    template = "Caddyfile"

    def _lists(self) -> dict[str, str]:
        return {"servers": " ".join(f"127.0.0.1:{port}" for port in self.replicas)}

    def _command(self, executable: Path, configuration: Path) -> list[str | Path]:
        return [executable, "run", "--adapter", "caddyfile", "--config", configuration]


def balancer(kind: str | None = None) -> Callable[..., Balancer]:
    """The class for `kind`; without one, what this machine has or can fetch: HAProxy first.

    Raises ConfigurationError with the cure.
    """
    known: dict[str, type[Balancer]] = {"haproxy": HAProxy, "caddy": Caddy}
    if kind is not None:
        if kind not in known:
            raise ConfigurationError(f"no balancer {kind!r}: use {' or '.join(KINDS)}")
        return known[kind]
    try:
        binaries.find("haproxy")
    except ConfigurationError:
        return Caddy
    return HAProxy
