"""`fivenines serve`: one replica for production. Parsed with argparse, which gunicorn has loaded anyway."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, NoReturn

from fivenines.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

_DESCRIPTION = """\
Run one replica under gunicorn, in the foreground.

SIGTERM makes /readyz answer 503, serves on for FIVENINES_DRAIN seconds, finishes what is in flight and exits
0. A second SIGTERM skips the wait, SIGINT stops at once, SIGHUP loads the code anew.
"""

_EXAMPLES = """\
examples:
  export FIVENINES_SECRET_KEYS=$(python -c "import secrets; print(secrets.token_urlsafe(32))")
  fivenines serve app:service
  fivenines serve app:service --bind 0.0.0.0:8000 --workers 4

Each setting is also a variable, FIVENINES_BIND and so on; see docs/reference/settings.md.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"serve: {message}; for example: fivenines serve app:service")


def parser() -> argparse.ArgumentParser:
    """The options of `serve`."""
    made = _Parser(
        prog="fivenines serve",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("target", metavar="MODULE:ATTRIBUTE", help="the application, such as app:service")
    made.add_argument("--bind", metavar="HOST:PORT", help="public address (default 127.0.0.1:8000)")
    made.add_argument("--admin-bind", metavar="HOST:PORT", help="address of the probes (default 127.0.0.1:9000)")
    made.add_argument("--workers", metavar="N", help="worker processes (default 1)")
    made.add_argument("--reload", action="store_true", help="start workers anew when a file changes; for development")
    return made


def serve(arguments: Sequence[str]) -> NoReturn:
    """Run the command; does not return."""
    options = parser().parse_args(arguments)
    for name in ("bind", "admin_bind", "workers"):
        if (value := getattr(options, name)) is not None:
            # Into the environment, where the workers' Settings find it too.
            os.environ[f"FIVENINES_{name.upper()}"] = value
    from fivenines.server.app import serve as run
    from fivenines.settings import Settings

    run(options.target, Settings.from_environment(), reload=options.reload)
