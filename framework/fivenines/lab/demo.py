"""`make demo`: generate a service, run three replicas, take replicas away under traffic, add everything up.

    python -m fivenines.lab.demo [--service FOLDER] [--balancer haproxy|caddy] [--requests N]

`QUICK=1` asks for less traffic. On a terminal the service stays up afterwards, until Ctrl-C; with `CI=true`
or without a terminal the command ends with exit code 0 if everything held, else 1. `DEMO_STARTED` (seconds
since the epoch) may say when the command that led here began.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from fivenines.errors import ConfigurationError, FiveNinesError
from fivenines.lab.balancers import KINDS
from fivenines.lab.capacity import CapacityMeter, Drain, watch_drain
from fivenines.lab.cluster import Cluster, Replica
from fivenines.lab.processes import ProcessFailedError
from fivenines.lab.screen import Screen
from fivenines.lab.traffic import Books, Traffic
from fivenines.store import connect

_REPLICAS = 3
_DRAIN = 1.0  # seconds that a replica serves on after SIGTERM, the least that the contract allows
_SETTLE = 0.5  # traffic with a part missing, before it comes back


@dataclass
class Findings:
    """Everything the verdict rests on."""

    books: Books
    drains: list[Drain]
    in_ledger: int
    seconds_reduced: float
    seconds_none: float
    first_answer: float
    requests_wanted: int

    def faults(self) -> list[str]:
        """What did not hold, a phrase each."""
        books, ledger = self.books, self.books.ledger
        repeatable = [e for e in ledger.entries if e.uncertain and (e.method == "GET" or e.keyed) and e.end]
        checks = [
            (ledger.lost, "lost"),
            (len(repeatable) - sum(e.lost for e in repeatable), "repeatable requests ended with an error"),
            (books.sessions_lost, "sessions lost"),
            (books.orders_missing, "acknowledged orders missing"),
            (books.orders_doubled, "orders made twice"),
            (abs(self.in_ledger - books.orders_listed), "orders differ between lists and ledger"),
            (len(books.complaints), "answers against the contract"),
            (max(self.requests_wanted - len(ledger.entries), 0), "requests too few"),
            (round(self.seconds_none, 1), "s without any ready replica"),
            (sum(d.unready_after is None for d in self.drains), "replicas stopped without /readyz 503"),
            # Half of it: on a busy machine the last question may have been asked some time before the end.
            (sum(d.served_for < _DRAIN / 2 for d in self.drains), "replicas stopped serving before their drain"),
            (sum(not d.live for d in self.drains), "replicas failed /livez in their drain"),
            (sum(d.kept_open for d in self.drains), "answers in a drain without Connection: close"),
        ]
        return [f"{count} {what}" for count, what in checks if count]

    def rows(self) -> list[tuple[str, str]]:
        """The table."""
        books, ledger = self.books, self.books.ledger
        failures = ", ".join(f"{count} {kind}" for kind, count in ledger.first_failures().most_common())
        errors = ", ".join(f"{count} x {status}" for status, count in ledger.final_errors().items())
        unready = [f"{1000 * d.unready_after:.0f} ms" for d in self.drains if d.unready_after is not None]
        return [
            ("requests", f"{len(ledger.entries):,}"),
            ("first-try failures", failures or "none"),
            ("repeats by the client", str(ledger.repeats)),
            ("final errors, none repeatable", errors or "none"),
            ("lost", str(ledger.lost)),
            ("orders answered / in the ledger", f"{books.orders_answered} / {self.in_ledger}"),
            ("repeated keys that got their order", str(books.replays)),
            ("sessions lost / logins", f"{books.sessions_lost} / {books.logins}"),
            ("answers against the contract", str(len(books.complaints))),
            (
                "p50 / p99",
                f"{1000 * ledger.percentile(0.5):.0f} ms / {1000 * ledger.percentile(0.99):.0f} ms",
            ),
            ("time without full capacity", f"{self.seconds_reduced:.1f} s"),
            ("/readyz 503 after SIGTERM", ", ".join(unready) or "never"),
            ("answered after that, while draining", ", ".join(str(d.served) for d in self.drains)),
            ("served on after SIGTERM", ", ".join(f"{d.served_for:.1f} s" for d in self.drains)),
            ("command to first answer", f"{self.first_answer:.1f} s"),
        ]

    def verdict(self) -> str:
        """The one line that counts."""
        requests = f"{len(self.books.ledger.entries)} requests"
        if faults := self.faults():
            return f"demo: FELL SHORT, {requests}, {', '.join(faults)}"
        return f"demo: held, {requests}, 0 lost, {self.in_ledger} orders once each"


async def run(cluster: Cluster, screen: Screen, *, requests: int, began: float, users: int = 16) -> Findings:
    """Start the cluster, drive traffic, kill one replica, restart all of them, and count."""
    await cluster.start()
    first_answer = time.time() - began
    screen.say(
        f"{len(cluster.replicas)} replicas behind {cluster.balancer.kind} {cluster.balancer.version} "
        f"at {cluster.url}; from the command to the first answer {first_answer:.1f} s"
    )
    meter = CapacityMeter(cluster.replicas)
    traffic = Traffic(cluster.url, concurrency=users)
    drains: list[Drain] = []
    meter.start()
    traffic.start()
    try:
        painter = asyncio.create_task(_paint(screen, traffic, meter, requests))
        try:
            await _injure(cluster, screen, traffic, drains, requests)
            await traffic.reached(requests)
        finally:
            painter.cancel()
            await asyncio.gather(painter, return_exceptions=True)
        await meter.stop()
        screen.say("adding up every user's orders")
        await traffic.finish()
        url = cluster.redis.url if cluster.redis is not None else ""
        return Findings(
            traffic.books,
            drains,
            await ledger_entries(url),
            meter.seconds_reduced,
            meter.seconds_none,
            first_answer,
            requests,
        )
    finally:
        await meter.stop()
        await traffic.aclose()


async def _injure(cluster: Cluster, screen: Screen, traffic: Traffic, drains: list[Drain], requests: int) -> None:
    """The script of the demo: each step begins when there has been traffic to hurt."""
    await traffic.reached(requests // 8)
    victim = cluster.replica(1)
    screen.say(f"SIGKILL to {victim.name} (pid {victim.process.pid}) at request {traffic.requests}")
    await cluster.kill(victim.number)
    await asyncio.sleep(_SETTLE)
    screen.say(f"{victim.name} is back, ready after {await cluster.revive(victim.number):.1f} s")
    await asyncio.sleep(_SETTLE)

    async def observe(replica: Replica) -> None:
        screen.say(f"SIGTERM to {replica.name} (pid {replica.process.pid}) at request {traffic.requests}")
        drains.append(Drain(replica.name))
        await watch_drain(replica, drains[-1])

    for replica in cluster.replicas:
        took = await cluster.restart(replica.number, while_draining=observe)
        screen.say(f"{replica.name} drained, ended and is back after {took:.1f} s")


async def _paint(screen: Screen, traffic: Traffic, meter: CapacityMeter, requests: int) -> None:
    began, seen = time.monotonic(), 0
    while True:
        await asyncio.sleep(0.5)
        seen = traffic.requests
        rate = seen / (time.monotonic() - began)
        screen.progress(
            seen,
            requests,
            f"{seen:,} requests (at least {requests:,}), {rate:.0f}/s, {traffic.books.ledger.lost} lost, "
            f"{traffic.books.orders_answered} orders, {meter.ready} of {_REPLICAS} replicas ready",
        )


async def ledger_entries(url: str) -> int:
    """All entries of all streams in the demo's own Redis: the service writes one for each order."""
    store = connect(url)
    try:
        total, cursor = 0, b"0"
        while True:
            cursor, keys = await store.do("SCAN", cursor, "COUNT", "1000", "TYPE", "stream")
            for key in keys:
                total += int(await store.do("XLEN", key))
            if int(cursor) == 0:
                return total
    finally:
        await store.aclose()


def generate(folder: Path) -> Path:
    """The service `orders` as cookiecutter makes it from this repository, with every default."""
    root = next((p for p in Path(__file__).resolve().parents if (p / "cookiecutter.json").exists()), None)
    if root is None:
        raise ConfigurationError(
            "the demo generates a service from a clone of the repository; for a service you have: "
            "python -m fivenines.lab.demo --service FOLDER"
        )
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--output-dir", str(folder), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        complaint = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise ConfigurationError(f"cookiecutter could not generate the service: {complaint[-1]}")
    made = [path for path in folder.iterdir() if (path / "app.py").exists()]
    if len(made) != 1:
        raise ConfigurationError(f"cookiecutter made {len(made)} services in {folder}, one was expected")
    return made[0]


def _service(given: Path | None, state: Path) -> Path:
    if given is None:
        return generate(state)
    if not given.is_dir():
        raise ConfigurationError(f"--service {given} is no folder: name the one that app.py is in")
    return given.absolute()


def _own_folder() -> Path:
    """Below `build/`, where the service that was generated can be looked at while it is up."""
    build = Path("build").absolute()
    build.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="demo-", dir=build))


def _hints(cluster: Cluster) -> list[str]:
    victim = cluster.replica(2).process.pid
    return [
        f"The service is up at {cluster.url}. Try, in another terminal:",
        f"  curl -si -c jar -H 'content-type: application/json' -d '{{\"user\": \"ada\"}}' {cluster.url}/login",
        f"  curl -s -b jar -X POST {cluster.url}/visits",
        "  curl -s -b jar -H 'content-type: application/json' -H 'idempotency-key: my-first' "
        f'-d \'{{"item": "tea", "quantity": 2}}\' {cluster.url}/orders',
        f"  curl -s -b jar {cluster.url}/orders",
        f"  kill -9 {victim}    (a replica; it is started again, and the commands above go on working)",
        "Ctrl-C stops everything.",
    ]


async def _main(options: argparse.Namespace, screen: Screen, stay: bool) -> int:
    began = float(os.environ.get("DEMO_STARTED") or time.time())
    quick = os.environ.get("QUICK") == "1"
    state = await asyncio.to_thread(_own_folder)
    keep = False
    cluster: Cluster | None = None
    try:
        service = await asyncio.to_thread(_service, options.service, state)
        screen.say(f"the service: {service}")
        cluster = await asyncio.to_thread(
            lambda: Cluster(
                options.target,
                service,
                state / "lab",
                replicas=_REPLICAS,
                drain=_DRAIN,
                balancer_kind=options.balancer,
                env={"FIVENINES_RATE_LIMITS": "off"},
            )
        )
        wanted = options.requests or (2_000 if quick else 5_000)
        # Fewer users leave the replicas more of a small machine to start on.
        findings = await run(cluster, screen, requests=wanted, began=began, users=6 if quick else 16)
        screen.table(findings.rows())
        for entry in [entry for entry in findings.books.ledger.entries if entry.lost][:10]:
            screen.say(f"  lost: {entry.method} {entry.path}, {entry.tries} tries, {entry.first_failure}")
        for complaint in findings.books.complaints[:10]:
            screen.say(f"  {complaint}")
        keep = bool(findings.faults())
        if keep:
            screen.say(f"logs: {state / 'lab'}")
        screen.say(findings.verdict())
        if stay and not keep:
            screen.say()
            for line in _hints(cluster):
                screen.say(line)
            await cluster.watch(screen.say)
        return int(keep)
    except ProcessFailedError:
        keep = True  # its log tells more than the error does
        raise
    finally:
        if cluster is not None:
            await cluster.stop()
        if not keep:
            await asyncio.to_thread(shutil.rmtree, state, ignore_errors=True)
            with contextlib.suppress(OSError):
                state.parent.rmdir()  # only when nothing else is in it


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fivenines.lab.demo", description="See the module.")
    parser.add_argument("--service", type=Path, metavar="FOLDER", help="a service that exists already")
    parser.add_argument("--target", default="app:service", metavar="MODULE:ATTRIBUTE")
    parser.add_argument("--balancer", choices=KINDS, help="default: haproxy where there is one")
    parser.add_argument("--requests", type=int, metavar="N", help="default 5000, with QUICK=1 2000")
    options = parser.parse_args(arguments)
    screen = Screen()
    stay = screen.interactive and os.environ.get("CI", "").lower() != "true"
    # A request to end is an end like Ctrl-C: everything is stopped before we go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return asyncio.run(_main(options, screen, stay))
    except KeyboardInterrupt:
        screen.say("stopped")
        return 0 if stay else 130
    except ConfigurationError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except FiveNinesError as error:
        screen.say(f"demo: FELL SHORT, {error}")
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
