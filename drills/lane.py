"""The shared lane beside redis-py used the ordinary way: CPU, reads, cancellations, lost replies.

make prove-lane            about a minute
QUICK=1 make prove-lane    a few seconds; the same checks on fewer requests
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from fivenines.errors import StoreUnavailableError
from fivenines.store import Store, connect
from fivenines.store._embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

QUICK = os.environ.get("QUICK") == "1"
TASKS = 64
REQUESTS = 4_000 if QUICK else 20_000
ROUNDS = 3 if QUICK else 5
CANCELLATIONS = 10_000
LOSSES = 50 if QUICK else 200
CPU_BAR, READS_BAR = 1 / 6, 0.1

LIMIT = """local value = redis.call('INCRBY', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], 60000)
return value"""


async def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder))
        url = server.start()
        try:
            cpu, reads = await against_redis_py(url)
            cancelled, wrong = await cancellations(url)
            lost, doubled, ours_doubled = await lost_replies(url)
        finally:
            server.stop()
    print(f"{'client CPU, ours / redis-py':34} {cpu:8.3f}   bar {CPU_BAR:.3f}")
    print(f"{'Redis reads a request':34} {reads:8.3f}   bar {READS_BAR}")
    print(f"{'cancellations':34} {cancelled:8,}   wrong answers {wrong}")
    print(f"{'replies lost':34} {lost:8,}   run twice: ours {ours_doubled}, redis-py with its ten retries {doubled}")
    failures = []
    if not QUICK and cpu > CPU_BAR:
        failures.append(f"CPU {cpu:.3f} of redis-py's")
    if reads > READS_BAR:
        failures.append(f"{reads:.3f} reads a request")
    if wrong or cancelled < CANCELLATIONS:
        failures.append(f"{wrong} wrong of {cancelled} cancelled")
    if not doubled:
        failures.append("redis-py doubled nothing, so the relay proves nothing")
    if ours_doubled or lost < LOSSES:
        failures.append(f"{ours_doubled} run twice of {lost} lost")
    if failures:
        print(f"lane: FELL SHORT, {'; '.join(failures)}")
        return 1
    print(
        f"lane: held, {TASKS} tasks, {cpu:.3f} of redis-py's CPU, {reads:.3f} reads a request, "
        f"{wrong} wrong, {ours_doubled} doubled"
    )
    return 0


async def against_redis_py(url: str) -> tuple[float, float]:
    """The ratio of client CPU and our reads a request; the two take turns, the median round counts."""
    client = redis.asyncio.Redis.from_url(url, max_connections=TASKS)
    store = connect(url)
    sha = await client.script_load(LIMIT)

    async def theirs(number: int) -> None:
        for command in commands(number, sha):
            await client.execute_command(*command)

    async def ours(number: int) -> None:
        for command in commands(number, sha):
            await store.do(*command)

    ratios, reads = [], []
    await spend(theirs, 500), await spend(ours, 500)  # connections and caches
    for _ in range(ROUNDS):
        their_cpu = await spend(theirs, REQUESTS // 4)
        before = await reads_processed(client)
        our_cpu = await spend(ours, REQUESTS)
        reads.append((await reads_processed(client) - before - 1) / REQUESTS)
        ratios.append((our_cpu / REQUESTS) / (their_cpu / (REQUESTS // 4)))
        print(f"  round: redis-py {their_cpu / (REQUESTS // 4) * 1e6:6.1f} µs a request, "
              f"ours {our_cpu / REQUESTS * 1e6:6.1f} µs, {reads[-1]:.3f} reads", flush=True)  # fmt: skip
    await client.aclose()
    await store.aclose()
    return median(ratios), median(reads)


def commands(number: int, sha: str) -> list[tuple[Any, ...]]:
    """A request's four operations: session, limit, claim, cache."""
    return [
        ("GETEX", f"session:{number % 512}", "PX", 1_800_000),
        ("EVALSHA", sha, 1, f"limit:{number % 512}", 1),
        ("SET", f"claim:{number}", "1", "NX", "PX", 60_000),
        ("GET", f"cache:{number % 64}"),
    ]


async def spend(request: Callable[[int], Awaitable[None]], count: int) -> float:
    """CPU seconds of this process for so many requests, from TASKS tasks at once."""
    numbers = iter(range(count))

    async def task() -> None:
        for number in numbers:
            await request(number)

    started = time.process_time()
    await asyncio.gather(*(task() for _ in range(TASKS)))
    return time.process_time() - started


async def reads_processed(client: Any) -> int:
    return int((await client.info("stats"))["total_reads_processed"])


async def cancellations(url: str) -> tuple[int, int]:
    """Cancel callers at random moments: whoever is left must get the answer to its own question."""
    store = connect(url)
    for number in range(256):
        await store.do("SET", f"value:{number}", number)
    cancelled = wrong = 0

    async def caller(number: int) -> None:
        nonlocal cancelled, wrong
        reply = await store.do("GET", f"value:{number % 256}")
        if reply != str(number % 256).encode():
            wrong += 1

    while cancelled < CANCELLATIONS:
        tasks = [asyncio.create_task(caller(number)) for number in range(2_000)]
        for task in random.sample(tasks, 1_200):
            if random.random() < 0.2:
                await asyncio.sleep(0)
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        cancelled += sum(isinstance(result, asyncio.CancelledError) for result in results)
    await store.aclose()
    return cancelled, wrong


async def lost_replies(url: str) -> tuple[int, int, int]:
    """Put a relay between that loses the answer and the connection; count what ran against what was asked."""
    relay = Relay(url.removeprefix("unix://").partition("?")[0])
    port = await relay.start()
    direct = redis.asyncio.Redis.from_url(url)
    address = f"redis://127.0.0.1:{port}/0"
    ours, theirs = connect(address), redis.asyncio.Redis.from_url(address, retry=Retry(NoBackoff(), 10))
    for _ in range(LOSSES):
        await warmed(ours)
        relay.lose_next = True
        with contextlib.suppress(StoreUnavailableError):
            await ours.do("INCR", "ours")
    ours_ran = int(await direct.get("ours") or 0)
    lost, relay.lose_next = relay.lost, False
    for _ in range(LOSSES):
        await theirs.ping()
        relay.lose_next = True
        await theirs.incr("theirs")
        relay.lose_next = False
    theirs_ran = int(await direct.get("theirs") or 0)
    await ours.aclose()
    await theirs.aclose()
    await direct.aclose()
    await relay.stop()
    return lost, theirs_ran - LOSSES, max(0, ours_ran - LOSSES)


async def warmed(store: Store) -> None:
    """Wait until the store has a connection again: the next thing lost is an INCR, not a handshake."""
    while True:
        try:
            await store.ping()
            return
        except StoreUnavailableError:
            await asyncio.sleep(0.01)


class Relay:
    """Passes bytes between TCP clients and a unix socket; on demand swallows one answer and cuts the connection."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.lose_next = False
        self.lost = 0

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        from_redis, to_redis = await asyncio.open_unix_connection(self._path)
        forth = asyncio.create_task(self._pass_on(reader, to_redis))
        back = asyncio.create_task(self._answers(from_redis, writer))
        try:
            await asyncio.wait((forth, back), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in (forth, back):
                direction.cancel()
            await asyncio.gather(forth, back, return_exceptions=True)
            writer.close()
            to_redis.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if self.lose_next:
                self.lose_next = False
                self.lost += 1
                return
            writer.write(data)
            await writer.drain()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
