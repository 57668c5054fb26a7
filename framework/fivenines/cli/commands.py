"""The commands that need click, each imported when it is called."""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import click

from fivenines.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Entry(NamedTuple):
    place: str
    summary: str
    example: str


_COMMANDS = {
    "dev": _Entry(
        "fivenines.cli.dev:dev", "Run a service while you write it: own Redis, reload, logs to read.",
        "fivenines dev app:service",
    ),
    "serve": _Entry(
        "", "Run one replica for production, under gunicorn.",
        "fivenines serve app:service --bind 0.0.0.0:8000",
    ),
    "up": _Entry(
        "fivenines.cli.up:up", "Run a small highly available cluster on this machine, and watch it.",
        "fivenines up app:service --replicas 3",
    ),
    "version": _Entry("fivenines.cli.commands:version", "Print the version.", "fivenines version"),
}  # fmt: skip


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = _COMMANDS.get(cmd_name)
        if entry is None or not entry.place:
            return None
        module, _, attribute = entry.place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS:
            if ":" in name:
                raise ConfigurationError(f"{name!r} is a target, not a command; did you mean: fivenines dev {name}")
            near = difflib.get_close_matches(name, _COMMANDS, 1)
            cure = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(_COMMANDS)}"
            raise ConfigurationError(f"no command {name!r}; {cure}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in _COMMANDS.items()])
        with formatter.section("Examples"):
            for entry in _COMMANDS.values():
                formatter.write_text(entry.example)
        with formatter.section("Exit codes"):
            formatter.write_text("0 all is well; 2 usage or configuration, with the cure in one line; 1 failure")


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def group() -> None:
    """Run Starlette services that stay up. `fivenines COMMAND --help` tells more."""


@click.command()
def version() -> None:
    """Print the version of fivenines and of what it runs on."""
    from importlib.metadata import version as installed

    from fivenines import __version__

    python = ".".join(map(str, sys.version_info[:3]))
    parts = [f"{name} {installed(name)}" for name in ("gunicorn", "starlette", "redis")]
    click.echo(f"fivenines {__version__} ({', '.join([f'Python {python}', *parts])})")


def run(arguments: Sequence[str]) -> NoReturn:
    """Run one command and exit; what is wrong with the usage becomes a ConfigurationError."""
    try:
        result = group.main(args=list(arguments) or ["--help"], prog_name="fivenines", standalone_mode=False)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx is not None else "fivenines"
        raise ConfigurationError(f"{error.format_message().rstrip('.')}; see {command} --help") from None
    except click.Abort:
        raise SystemExit(130) from None
    except click.ClickException as error:
        print(f"fivenines: {error.format_message()}", file=sys.stderr)
        raise SystemExit(1) from None
    raise SystemExit(result if isinstance(result, int) else 0)
