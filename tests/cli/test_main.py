"""The command line: help that teaches, and mistakes that have a cure."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fivenines import __version__
from fivenines.cli import main

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return int(stopped.value.code or 0)


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_names_every_command_with_an_example(arguments, capsys: pytest.CaptureFixture[str]) -> None:
    """Without arguments too; nothing of a command is imported for it."""
    sys.modules.pop("fivenines.cli.up", None)

    assert run(*arguments) == 0
    shown = capsys.readouterr().out
    for line in (
        "fivenines dev app:service",
        "fivenines serve app:service",
        "fivenines up app:service --replicas 3",
    ):
        assert line in shown
    assert "2 usage or configuration" in shown
    assert "fivenines.cli.up" not in sys.modules


@pytest.mark.parametrize("command", ["dev", "serve"])
def test_each_command_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """So that a newcomer can copy it."""
    assert run(command, "--help") == 0
    assert f"fivenines {command} app:service" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("srve", "app:service"), "no command 'srve'; did you mean 'serve'?"),
        (("xyz",), "no command 'xyz'; choose from dev, serve, up, version"),
        (("app:service",), "'app:service' is a target, not a command; "
                           "did you mean: fivenines dev app:service"),
        (("dev",), "Missing argument 'MODULE:ATTRIBUTE'; see fivenines dev --help"),
        (("dev", "--bnd"), "No such option '--bnd'. Did you mean '--bind'?; see fivenines dev --help"),
        (("--nope",), "No such option '--nope'; see fivenines --help"),
        (("serve",), "serve: the following arguments are required: MODULE:ATTRIBUTE; "
                     "for example: fivenines serve app:service"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_and_exit_code_2(arguments, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with what was probably meant."""
    assert run(*arguments) == 2
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", f"fivenines: {line}\n")


def test_version_names_what_it_runs_on(capsys: pytest.CaptureFixture[str]) -> None:
    """What a bug report needs."""
    assert run("version") == 0
    assert capsys.readouterr().out.startswith(f"fivenines {__version__} (Python 3.")


def test_module_is_the_command(tmp_path: Path) -> None:
    """`python -m fivenines` works where no script is on PATH."""
    done = subprocess.run(
        [sys.executable, "-m", "fivenines", "version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.startswith(f"fivenines {__version__}")
