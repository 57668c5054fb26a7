"""A name that could not be imported is refused before anything is made, in one line with the cure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .conftest import SCRIPTS, Bake, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("slug", "said"),
    [
        ("my-service", "such as 'my_service'"),
        ("2fast", "such as 'fast'"),
        ("Größe", "lower-case letters"),
        ("a b", "such as 'a_b'"),
        ("it's", "such as 'it_s'"),
        ("class", "is a word of the Python language"),
        ("match", "is a word of the Python language"),
        ("json", "would hide a module of Python's standard library"),
        ("starlette", "the service itself uses"),
        ("tests", "the service itself uses"),
        ("x" * 41, "use at most 40"),
    ],
)
def test_a_bad_slug_is_refused(
    template: Path, tmp_path: Path, environment: dict[str, str], slug: str, said: str
) -> None:
    done = run(
        environment, tmp_path, SCRIPTS / "cookiecutter", "--no-input", template, f"project_slug={slug}", check=False
    )

    (line,) = [line for line in done.stderr.splitlines() if line.startswith("project_slug=")]
    assert said in line
    assert done.returncode != 0
    assert list(tmp_path.iterdir()) == []


def test_a_long_slug_that_is_allowed_works(template: Path, tmp_path: Path, bake: Bake) -> None:
    assert (bake(template, tmp_path, project_slug="x" * 40) / ("x" * 40)).is_dir()
