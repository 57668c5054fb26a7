"""`fivenines dev`: the service as one writes it, with nothing to install or start beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import click

from fivenines.cli.keys import project_secret_keys

if TYPE_CHECKING:
    from types import FrameType


@click.command(epilog="Example: fivenines dev app:service")
@click.argument("target", metavar="MODULE:ATTRIBUTE")
@click.option("--bind", metavar="HOST:PORT", help="Public address, on loopback (default 127.0.0.1:8000).")
@click.option("--admin-bind", metavar="HOST:PORT", help="Address of the probes (default 127.0.0.1:9000).")
def dev(target: str, bind: str | None, admin_bind: str | None) -> int:
    """Run a service while you write it.

    Starts a Redis of its own (unless FIVENINES_REDIS_URL names one), reloads when a file changes, logs for
    people, and keeps a secret key in ./.fivenines, which git ignores. Ctrl-C stops it.
    """
    environ = _environment(bind, admin_bind)
    redis = None
    try:
        if "FIVENINES_REDIS_URL" not in environ:
            from fivenines.store._embedded import EmbeddedServer

            redis = EmbeddedServer(None)
            environ["FIVENINES_REDIS_URL"] = redis.start()
        click.echo(f"{target} on http://{environ['FIVENINES_BIND']}; reloads on change; Ctrl-C stops", err=True)
        # A process of its own: workers are forked from the arbiter, and must inherit neither click nor the
        # Redis.
        return _run([sys.executable, "-m", "fivenines", "serve", "--reload", target], environ)
    finally:
        if redis is not None:
            redis.stop()


def _environment(bind: str | None, admin_bind: str | None) -> dict[str, str]:
    environ = dict(os.environ)
    if bind is not None:
        environ["FIVENINES_BIND"] = bind
    if admin_bind is not None:
        environ["FIVENINES_ADMIN_BIND"] = admin_bind
    if not environ.get("FIVENINES_SECRET_KEYS"):
        environ["FIVENINES_SECRET_KEYS"] = project_secret_keys()
    defaults = {
        "FIVENINES_BIND": "127.0.0.1:8000",
        "FIVENINES_SESSION_COOKIE": "insecure",
        "FIVENINES_LOG_FORMAT": "text",
        "FIVENINES_DEBUG": "on",
        # Nobody waits for a balancer here, and a reload shall not wait for a stream.
        "FIVENINES_DRAIN": "0",
        "FIVENINES_GRACEFUL_TIMEOUT": "2",
        "ORDERS_DEMO_LOGIN": "on",
    }
    return {**defaults, **environ, "FIVENINES_WORKERS": "1"}


def _run(command: list[str], environ: dict[str, str]) -> int:
    """Run until it ends; signals for us are for it."""
    child = subprocess.Popen(command, env=environ)

    def forward(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)

    previous = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = child.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code
