"""The service's own `make test` and `make check` pass with Python and pip alone."""

from __future__ import annotations

import re
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from .conftest import run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture
def alone(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A machine with the system's tools and one Python: nothing of this repository's environment on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (folder / "python3").chmod(0o755)
    # Whoever runs these tests may have chosen a Python with make's variable.
    return {key: value for key, value in environment.items() if key != "PYTHON"} | {"PATH": f"{folder}:/usr/bin:/bin"}


def test_make_test_and_make_check_in_a_fresh_environment(project: Path, alone: dict[str, str], tmp_path: Path) -> None:
    service = shutil.copytree(project, tmp_path / "a folder with spaces")

    tested = run(alone, service, "make", "test", timeout=400)
    run(alone, service, "make", "check", timeout=200)

    assert re.search(r"\d+ passed", tested.stdout)
    assert not re.search(r"failed|error|skipped", tested.stdout)
    # The environment stands: nothing is installed a second time.
    assert "making" not in run(alone, service, "make", "test", timeout=100).stdout


def test_an_environment_is_made_where_ensurepip_is_missing(
    project: Path, alone: dict[str, str], tmp_path: Path
) -> None:
    """As on Debian without python3-venv, and without virtualenv: the outer pip fills it."""
    service = shutil.copytree(project, tmp_path / "orders")
    lock = service / "requirements-dev.lock"
    lock.write_text(re.findall(r"^pip==.*(?:\n    .*)+", lock.read_text(), re.MULTILINE)[0] + "\n")
    python = tmp_path / "bin/python3"
    python.write_text(
        '#!/bin/sh\ncase "$*" in "-m venv .venv" | "-m virtualenv"*) mkdir .venv; exit 1;; esac\n'
        f'exec {sys.executable} "$@"\n'
    )

    run(alone, service, "make", ".venv/.ready", timeout=200)

    run(alone, service, ".venv/bin/python", "-m", "pip", "--version")


def test_an_old_python_is_told_which_to_use(project: Path, alone: dict[str, str], tmp_path: Path) -> None:
    service = shutil.copytree(project, tmp_path / "orders")
    (tmp_path / "bin/python3").write_text("#!/bin/sh\nexit 1\n")

    done = run(alone, service, "make", "test", check=False)

    assert done.returncode == 2
    assert "make test PYTHON=python3.11" in done.stdout
    assert not (service / ".venv").exists()
