"""What generation leaves behind is clean: no braces, no findings, no finding that depends on a name."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from .conftest import ROOT, SCRIPTS, Bake, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module", params=["orders", "a", "x" * 40])
def named(request: pytest.FixtureRequest, template: Path, bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service under a usual, a very short and a very long name."""
    return bake(template, tmp_path_factory.mktemp("named"), project_slug=request.param)


def test_nothing_of_the_template_is_left(named: Path) -> None:
    for path in named.rglob("*"):
        assert not re.search(r"cookiecutter|[{}]", path.relative_to(named).as_posix())
        if path.is_file() and path.suffix != ".whl":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"cookiecutter\.|\{\{|\}\}|\{%|@FIVENINES", text), path
            assert "\r" not in text, path
            assert text.endswith("\n") or not text, path


def test_ruff_finds_nothing(named: Path, environment: dict[str, str]) -> None:
    run(environment, named, SCRIPTS / "ruff", "format", "--no-cache", "--check", ".")
    run(environment, named, SCRIPTS / "ruff", "check", "--no-cache", ".")


@pytest.mark.slow
def test_mypy_finds_nothing(project: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    found = environment | {"MYPYPATH": str(ROOT / "framework")}
    run(found, project, SCRIPTS / "mypy", "--cache-dir", tmp_path, timeout=120)


def test_app_can_be_read_at_one_glance(project: Path) -> None:
    assert len((project / "app.py").read_text().splitlines()) <= 40


def test_the_image_runs_as_nobody_in_particular(project: Path) -> None:
    """Several stages, an unprivileged user, commands without a shell, a health check; secrets stay outside."""
    text = (project / "Dockerfile").read_text()
    lines = text.splitlines()

    assert len([line for line in lines if line.startswith("FROM ")]) >= 2
    assert "USER 10001:10001" in lines
    assert 'CMD ["fivenines", "serve", "app:service"]' in lines
    assert re.search(r"^HEALTHCHECK .*\\\n +CMD \[", text, re.MULTILINE)
    assert "--require-hashes" in text
    assert ".fivenines/" in (project / ".gitignore").read_text().splitlines()
    allowed = [line for line in (project / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert allowed == ["!app.py", "!requirements.lock", "!vendor", "!orders"]


def test_makefile_and_locks_need_what_the_readme_says(project: Path) -> None:
    """Python 3.11 and make 3.81: none of what came to make later."""
    makefile = (project / "Makefile").read_text()

    assert not re.search(r"\.ONESHELL|&:|!=|::=|\$\(file|\$\(guile", makefile)
    assert tomllib.loads((project / "pyproject.toml").read_text())["project"]["requires-python"] == ">=3.11"
