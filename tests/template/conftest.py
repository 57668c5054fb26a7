"""Generating services: from a snapshot of this checkout, with a home folder that knows nothing of the developer's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(sys.executable).parent
# What a generated service comes from; the snapshot holds this and nothing else.
PARTS = (
    "LICENSE",
    "README.md",
    "cookiecutter.json",
    "cookiecutter_fivenines.py",
    "framework",
    "hooks",
    "pyproject.toml",
    "{{cookiecutter.project_slug}}",
)
_JUNK = shutil.ignore_patterns("__pycache__", ".*_cache", ".venv", "*.pyc")

Bake = Callable[..., Path]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where cookiecutter keeps clones and replays, and git finds who commits."""
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text("[user]\nname = Test\nemail = test@localhost\n[init]\ndefaultBranch = main\n")
    return home


@pytest.fixture(scope="session")
def environment(home: Path) -> dict[str, str]:
    """The variables of every command that a test of the template runs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FIVENINES_", "ORDERS_"))}
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        kept.pop(name, None)
    return kept | {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout's template as a folder, with the changes that are not committed."""
    folder = tmp_path_factory.mktemp("template") / "fivenines"
    folder.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=_JUNK)
        else:
            shutil.copy2(source, folder / part)
    return folder


@pytest.fixture(scope="session")
def repository(template: Path, tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """The same as a git repository with one commit."""
    folder = tmp_path_factory.mktemp("repository") / "fivenines"
    shutil.copytree(template, folder)
    run(environment, folder, "git", "init", "--quiet")
    commit(environment, folder)
    return folder


@pytest.fixture(scope="session")
def bake(environment: dict[str, str]) -> Bake:
    """Generates a service: `bake(template, into, project_name="Tea Shop")` returns the project's folder."""

    def bake(template: str | Path, into: Path, cwd: Path | None = None, **answers: str) -> Path:
        into.mkdir(parents=True, exist_ok=True)
        extra = [f"{name}={value}" for name, value in answers.items()]
        command = [SCRIPTS / "cookiecutter", "--no-input", "--output-dir", into, str(template), *extra]
        run(environment, cwd or into, *command)
        (project,) = into.iterdir()
        return project

    return bake


@pytest.fixture(scope="session")
def project(template: Path, bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The service that no answers make. Only to be read."""
    return bake(template, tmp_path_factory.mktemp("project"))


def run(
    environment: dict[str, str], cwd: Path, *command: object, timeout: float = 60, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command; where it fails, the test shows what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        text=True,
        capture_output=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )
    if check and done.returncode:
        pytest.fail(f"{command[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def commit(environment: dict[str, str], folder: Path, message: str = "State") -> None:
    """Commit all there is."""
    run(environment, folder, "git", "add", "--all")
    run(environment, folder, "git", "commit", "--quiet", "--message", message)


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its mode and bytes, to compare two projects by."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mode, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        # What a tool or another test leaves there was not generated.
        and not {".git", "__pycache__"} & set(path.relative_to(folder).parts)
        and path.name != ".cruft.json"
    }
