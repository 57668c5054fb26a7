"""`fivenines up`: a small highly available cluster on this machine, live."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fivenines.cli.keys import project_folder, project_secret_keys
from fivenines.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType

    from fivenines.lab.cluster import Cluster, Replica

_REFRESH = 0.5  # seconds
_NOTICES = 6


@click.command(epilog="Example: fivenines up app:service --replicas 3")
@click.argument("target", metavar="MODULE:ATTRIBUTE")
@click.option("--replicas", default=3, show_default=True, type=click.IntRange(1, 32), help="How many copies.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Of the balancer.")
@click.option("--balancer", type=click.Choice(["haproxy", "caddy"]), help="Default: HAProxy where there is one.")
def up(target: str, replicas: int, port: int, balancer: str | None) -> int:
    """Run a balancer, a Redis and some replicas of a service, and watch them.

    Everything listens on loopback. A replica that dies is started again. Redis' data, the logs and a secret
    key stay in ./.fivenines, which git ignores; FIVENINES_REDIS_URL names a Redis to use instead. Ctrl-C
    stops everything, and nothing is left behind.
    """
    try:
        from rich.console import Console
    except ImportError as error:
        raise ConfigurationError("up needs: pip install 'fivenines[cli,lab]'") from error
    try:
        from fivenines.lab.cluster import Cluster
        from fivenines.lab.processes import ProcessFailedError
    except ImportError as error:
        raise ConfigurationError("up needs: pip install 'fivenines[cli,lab]'") from error
    from fivenines.server import target as targets

    targets.put_working_folder_on_path()
    targets.check(target)
    project = Path.cwd()
    with _alone(project_folder(project) / "up") as state:
        cluster = Cluster(
            target,
            project,
            state,
            replicas=replicas,
            env={"FIVENINES_SECRET_KEYS": os.environ.get("FIVENINES_SECRET_KEYS") or project_secret_keys()},
            balancer_kind=balancer,
            port=port,
            # A developer may sit in a debugger, and one replica must not be asked again meanwhile.
            server_timeout=60.0,
            redis_url=os.environ.get("FIVENINES_REDIS_URL"),
        )
        try:
            return asyncio.run(_run(cluster, Console()))
        except ProcessFailedError as error:
            if error.returncode == 2:  # the replica itself found the configuration wrong, and says the cure
                raise ConfigurationError(str(error)) from None
            raise click.ClickException(str(error)) from None


async def _run(cluster: Cluster, console: Console) -> int:
    """Start, show, keep alive, and stop when asked."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    asked = asyncio.create_task(stop.wait())
    board = _Board(cluster, console)
    starting = asyncio.create_task(cluster.start())
    try:
        console.print(f"starting {len(cluster.replicas)} replicas, a balancer and a Redis …")
        await asyncio.wait([starting, asked], return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            return 0
        await starting
        board.notice(f"ready at {cluster.url}")
        keeping = [asyncio.create_task(board.show()), asyncio.create_task(cluster.watch(board.notice))]
        try:
            done, _ = await asyncio.wait([asked, *keeping], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in keeping:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)
        return 0
    finally:
        asked.cancel()
        console.print("stopping …")
        if starting.done():
            await cluster.stop()
        else:
            starting.cancel()  # what it had started, it stops
            await asyncio.gather(starting, return_exceptions=True)
        console.print("stopped")


class _Board:
    """What is seen: a live table on a terminal, else one line for each thing that happens."""

    def __init__(self, cluster: Cluster, console: Console) -> None:
        self._cluster = cluster
        self._console = console
        self._notices: deque[str] = deque(maxlen=_NOTICES)
        self._ready: list[bool] = [False] * len(cluster.replicas)
        self._counted: tuple[float, list[int]] | None = None
        self._rates: list[float] | None = None

    def notice(self, text: str) -> None:
        """Something happened."""
        if self._console.is_terminal:
            self._notices.append(f"{time.strftime('%H:%M:%S')}  {text}")
        else:
            self._console.print(f"{time.strftime('%H:%M:%S')} {text}", soft_wrap=True, highlight=False)

    async def show(self) -> None:
        """Look at every part twice a second until cancelled."""
        if not self._console.is_terminal:
            await asyncio.Event().wait()
        from rich.live import Live

        with Live(console=self._console, auto_refresh=False) as live:
            while True:
                await self._look()
                live.update(self._table(), refresh=True)
                await asyncio.sleep(_REFRESH)

    async def _look(self) -> None:
        self._ready = await asyncio.gather(*(asyncio.to_thread(replica.ready) for replica in self._cluster.replicas))
        counts = await asyncio.to_thread(self._cluster.balancer.requests)
        now = time.monotonic()
        if counts is None:
            self._counted = self._rates = None
            return
        if self._counted is not None:
            before, old = self._counted
            self._rates = [max(new - was, 0) / (now - before) for new, was in zip(counts, old, strict=True)]
        self._counted = (now, counts)

    def _table(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(title=f"{self._cluster.url}    Ctrl-C stops everything", title_justify="left")
        for name in ("part", "pid", "port", "state", "ready", "requests/s", "up"):
            table.add_column(name, justify="right" if name in {"pid", "port", "requests/s", "up"} else "left")
        balancer, redis = self._cluster.balancer, self._cluster.redis
        table.add_row(
            balancer.kind, str(balancer.process.pid), str(balancer.port),
            _alive(balancer.process.alive), "", _rate(sum(self._rates) if self._rates else None), "",
        )  # fmt: skip
        for replica, ready in zip(self._cluster.replicas, self._ready, strict=True):
            rate = self._rates[replica.number - 1] if self._rates else None
            table.add_row(
                replica.name, str(replica.process.pid), str(replica.port), _state(replica, ready),
                "[green]yes[/]" if ready else "[red]no[/]", _rate(rate), _age(replica),
            )  # fmt: skip
        if redis is not None:
            table.add_row("redis", str(redis.process.pid), str(redis.port), _alive(redis.process.alive), "", "", "")
        return Group(table, *(Text(line, overflow="ellipsis", no_wrap=True) for line in self._notices))


def _alive(alive: bool) -> str:
    return "[green]running[/]" if alive else "[red]ended[/]"


def _state(replica: Replica, ready: bool) -> str:
    if not replica.process.alive:
        return "[red]ended[/]"
    return "[green]serving[/]" if ready else "[yellow]starting or draining[/]"


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.0f}"


def _age(replica: Replica) -> str:
    seconds = int(time.monotonic() - replica.started)
    return f"{seconds // 60}:{seconds % 60:02}" if replica.process.alive else ""


@contextlib.contextmanager
def _alone(state: Path) -> Iterator[Path]:
    """Two clusters in one folder would append to one Redis file."""
    state.mkdir(mode=0o700, exist_ok=True)
    with (state / "lock").open("ab") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError(f"another `fivenines up` runs in {state.parent.parent}: stop it first") from None
        yield state
