"""Both balancers repeat what may be repeated, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx2
import pytest

from fivenines.errors import ConfigurationError
from fivenines.lab.balancers import KINDS, Caddy, HAProxy, balancer
from fivenines.lab.ports import free_ports
from fivenines.lab.processes import Guard
from fivenines.store import binaries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from fivenines.lab.balancers import Balancer

KEY = {"Idempotency-Key": "k1"}


@dataclass
class Backend:
    """A replica in this process, over bare sockets so that it can break off wherever a test wants."""

    name: str
    port: int
    ready: bool = True
    frozen: bool = False  # reads, and never answers
    breaks: bool = False  # closes without an answer once it has read the request
    seen: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def die(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()
        await asyncio.sleep(0)  # an aborted transport closes its socket in the loop's next turn

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        for line in head.lower().splitlines():
            if line.startswith("content-length:"):
                await reader.readexactly(int(line.split(":")[1]))
        path = head.split()[1]
        if self.frozen:
            return await reader.read(1) != b""  # until the other side has had enough
        if path == "/readyz":
            status = "200 OK" if self.ready else "503 Service Unavailable"
            body = b""
        else:
            self.seen.append(path)
            self.heads.append(head)
            if self.breaks and path != "/livez":
                return False
            status, body = "200 OK", self.name.encode()
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        return True


@dataclass
class Setup:
    balancer: Balancer
    backends: list[Backend]
    client: httpx2.AsyncClient

    def executions(self, path: str) -> int:
        return sum(backend.seen.count(path) for backend in self.backends)


@pytest.fixture(params=KINDS)
async def setup(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Setup]:
    guard = Guard()
    backends = [Backend(f"b{number}", port) for number, port in enumerate(await asyncio.to_thread(free_ports, 2))]
    for backend in backends:
        await backend.start()
    made = await asyncio.to_thread(
        lambda: balancer(request.param)([b.port for b in backends], tmp_path, guard, server_timeout=1.0)
    )
    try:
        await asyncio.to_thread(made.start)
        async with httpx2.AsyncClient(base_url=made.url, trust_env=False, timeout=10) as client:
            # Connections to both are open and used, as they are when a replica dies under traffic.
            for number in range(6):
                assert (await client.get(f"/warm{number}")).status_code == 200
            yield Setup(made, backends, client)
    finally:
        await asyncio.to_thread(made.stop)
        for backend in backends:
            await backend.die()
        await asyncio.to_thread(guard.close)


async def test_both_replicas_get_requests(setup: Setup) -> None:
    """In turn."""
    answers = {(await setup.client.get("/a")).text for _ in range(6)}

    assert answers == {"b0", "b1"}


@pytest.mark.parametrize(("method", "headers"), [("GET", {}), ("POST", KEY)], ids=["GET", "POST with a key"])
async def test_broken_connection_sends_a_repeatable_request_elsewhere(
    setup: Setup, method: str, headers: dict[str, str]
) -> None:
    """The caller does not notice."""
    setup.backends[0].breaks = True

    for number in range(4):
        answer = await setup.client.request(method, f"/r{number}", headers=headers)
        assert (answer.status_code, answer.text) == (200, "b1")

    assert setup.backends[0].seen[-1].startswith("/r")


async def test_post_without_key_is_executed_once_and_its_caller_is_told(setup: Setup) -> None:
    """502 on a fresh connection, also where the replica's connections were in use."""
    for backend in setup.backends:
        backend.breaks = True

    for number in range(4):
        async with httpx2.AsyncClient(base_url=setup.balancer.url, trust_env=False) as fresh:
            assert (await fresh.post(f"/p{number}", json={})).status_code == 502
        assert setup.executions(f"/p{number}") == 1


async def test_post_without_key_on_a_used_connection_is_executed_once_as_well(setup: Setup) -> None:
    """HAProxy may close in silence there; it does not repeat."""
    for backend in setup.backends:
        backend.breaks = True

    for number in range(4):
        with contextlib.suppress(httpx2.RemoteProtocolError):
            assert (await setup.client.post(f"/u{number}", json={})).status_code == 502
        assert setup.executions(f"/u{number}") == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_connection_that_was_never_made_is_repeated_for_everybody(setup: Setup, method: str) -> None:
    """Nothing was sent, so nothing can be done twice."""
    await setup.backends[0].die()

    for number in range(4):
        answer = await setup.client.request(method, f"/n{number}")
        # A POST may have gone out on a kept connection in the moment of the death: at most the first one.
        assert answer.status_code == 200 or (method == "POST" and number == 0 and answer.status_code == 502)
    await setup.backends[0].start()


async def test_replica_that_is_not_ready_gets_nothing_new(setup: Setup) -> None:
    """Within a second of its 503, while the other one serves on."""
    setup.backends[0].ready = False
    async with asyncio.timeout(3):
        answers = ["b0"]
        while "b0" in answers:
            answers = [(await setup.client.get("/d")).text for _ in range(4)]

    assert answers == ["b1"] * 4

    setup.backends[0].ready = True
    async with asyncio.timeout(3):
        while "b0" not in answers:
            answers.append((await setup.client.get("/d")).text)


async def test_all_replicas_answering_503_keep_being_asked(setup: Setup) -> None:
    """Redis away must not empty the balancer: only the wire counts, and readiness."""
    for backend in setup.backends:
        backend.seen.clear()
    for number in range(20):
        assert (await setup.client.get(f"/e{number}")).status_code == 200

    assert all(backend.seen for backend in setup.backends)


async def test_what_a_client_says_of_its_way_is_not_passed_on(setup: Setup) -> None:
    """The service trusts its balancer's word alone."""
    forged = {"X-Forwarded-For": "203.0.113.7", "Forwarded": "for=203.0.113.7", "X-Forwarded-Proto": "https"}

    await setup.client.get("/f", headers=forged)

    head = next(backend.heads[-1] for backend in setup.backends if backend.seen[-1] == "/f").lower()
    assert "203.0.113.7" not in head
    assert "x-forwarded-for: 127.0.0.1\r\n" in head
    assert "x-forwarded-proto: http\r\n" in head


async def test_frozen_replica_costs_a_reader_its_time_limit_at_most(setup: Setup) -> None:
    """The answer comes from the other one, well within the caller's 10 s."""

    setup.backends[0].frozen = True
    for number in range(4):
        answer = await setup.client.get(f"/z{number}")
        assert (answer.status_code, answer.text) == (200, "b1")


async def test_absurd_heads_are_refused_before_the_service(setup: Setup) -> None:
    """A long target, a heavy head."""
    long_target = await setup.client.get("/" + "a" * 9000)
    heavy_head = await setup.client.get("/h", headers={"X-Heavy": "a" * 40_000})

    if setup.balancer.kind == "haproxy":
        assert long_target.status_code == 414
        assert setup.executions("/h") == 0
    # Caddy allows some KiB beyond its limit.
    assert heavy_head.status_code in {400, 431} or setup.balancer.kind == "caddy"


async def test_haproxy_counts_requests(setup: Setup) -> None:
    """Of each replica, over both of its backends; Caddy tells nothing without its admin port."""
    counts = await asyncio.to_thread(setup.balancer.requests)

    if setup.balancer.kind == "caddy":
        assert counts is None
    else:
        assert counts is not None
        assert sum(counts) >= 6


def test_haproxy_comes_first_and_caddy_serves_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine has decides, unless one is named."""
    assert balancer() is HAProxy
    assert balancer("caddy") is Caddy

    def none(name: str) -> binaries.Binary:
        raise ConfigurationError(f"no {name}")

    monkeypatch.setattr(binaries, "find", none)
    assert balancer() is Caddy
    with pytest.raises(ConfigurationError, match="no balancer 'nginx': use haproxy or caddy"):
        balancer("nginx")
