"""A service can be generated from wherever the template lies, and the same answers make the same bytes."""

from __future__ import annotations

import json
import os
import resource
import shutil
import zipfile
from pathlib import Path

import pytest

from .conftest import SCRIPTS, Bake, commit, run, tree

FILES = {
    ".dockerignore",
    ".gitignore",
    "Dockerfile",
    "Makefile",
    "README.md",
    "app.py",
    "pyproject.toml",
    "requirements-dev.in",
    "requirements-dev.lock",
    "requirements.in",
    "requirements.lock",
}


def test_generation_from_a_folder_needs_few_seconds_and_no_other_tool(
    template: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """cookiecutter alone on PATH: no git, pip or uv; at most three seconds of processor time."""
    alone = tmp_path / "bin"
    alone.mkdir()
    (alone / "cookiecutter").symlink_to(SCRIPTS / "cookiecutter")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)

    run(environment | {"PATH": str(alone)}, tmp_path, "cookiecutter", "--no-input", "--output-dir", "out", template)

    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 3
    assert {path.name for path in (tmp_path / "out/orders").iterdir()} >= FILES


def test_a_relative_path_makes_the_same_service(template: Path, project: Path, tmp_path: Path, bake: Bake) -> None:
    relative = os.path.relpath(template, template.parent)

    assert tree(bake(relative, tmp_path, cwd=template.parent)) == tree(project)


def test_a_clone_makes_the_same_service(repository: Path, project: Path, tmp_path: Path, bake: Bake) -> None:
    assert tree(bake(f"git+file://{repository}", tmp_path)) == tree(project)


def test_a_zip_makes_the_same_service(template: Path, project: Path, tmp_path: Path, bake: Bake) -> None:
    """Zipped as a code host does it: everything below one folder."""
    archive = tmp_path / "main.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.mkdir("fivenines-main")
        for path in sorted(template.rglob("*")):
            zipped.write(path, Path("fivenines-main", path.relative_to(template)))

    assert tree(bake(archive, tmp_path / "out")) == tree(project)


def test_generating_over_a_project_changes_nothing(
    template: Path, project: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    copy = shutil.copytree(project, tmp_path / "orders")
    (copy / "vendor/fivenines-0.0.1-py3-none-any.whl").touch()

    run(environment, tmp_path, SCRIPTS / "cookiecutter", "--no-input", "--overwrite-if-exists", template)

    assert tree(copy) == tree(project)


@pytest.mark.slow
def test_cruft_creates_checks_and_updates(
    repository: Path, project: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """An update brings a change of the template and one of the framework, and keeps what the user wrote."""
    cruft = SCRIPTS / "cruft"
    template = shutil.copytree(repository, tmp_path / "template")
    run(environment, tmp_path, cruft, "create", "--no-input", "--output-dir", "out", template)
    service = tmp_path / "out/orders"
    assert tree(service) == tree(project)
    mine = "\n# mine\n"
    with (service / "Makefile").open("a") as makefile:
        makefile.write(mine)
    run(environment, service, "git", "init", "--quiet")
    commit(environment, service)

    run(environment, service, cruft, "check")
    (template / "{{cookiecutter.project_slug}}" / "NEWS.md").write_text("# {{ cookiecutter.project_name }}\n")
    (template / "framework/fivenines/added.py").write_text('"""New."""\n')
    commit(environment, template, "Change both")
    assert run(environment, service, cruft, "check", check=False).returncode == 1
    run(environment, service, cruft, "update", "--skip-apply-ask")

    assert (service / "NEWS.md").read_text() == "# Orders\n"
    assert (service / "Makefile").read_text().endswith(mine)
    assert not list(service.rglob("*.rej"))
    (wheel,) = (service / "vendor").iterdir()
    assert "fivenines/added.py" in zipfile.ZipFile(wheel).namelist()
    run(environment, service, "git", "add", "--all")
    run(environment, service, "git", "commit", "--quiet", "--message", "Update")
    run(environment, service, cruft, "check")
    update = run(environment, service, cruft, "update", "--skip-apply-ask")
    assert "up to date" in update.stdout
    assert json.loads((service / ".cruft.json").read_text())["context"]["cookiecutter"]["project_slug"] == "orders"


def test_at_most_six_questions_are_asked_and_each_has_words(template: Path) -> None:
    questions = json.loads((template / "cookiecutter.json").read_text())

    asked = [name for name in questions if not name.startswith("_")]
    assert len(asked) <= 6
    assert set(questions["__prompts__"]) == set(asked)


def test_answers_with_quotes_and_umlauts_are_kept(template: Path, tmp_path: Path, bake: Bake) -> None:
    import tomllib

    described = """It's "quick" & <safe>: { 50 % } für alle \\o/"""
    made = bake(template, tmp_path, project_name="Tea Shop", description=described, author='Ada "A" Lovelace')

    told = tomllib.loads((made / "pyproject.toml").read_text())["project"]
    assert made.name == "tea_shop"
    assert (told["name"], told["description"]) == ("tea-shop", described)
    assert told["authors"] == [{"name": 'Ada "A" Lovelace'}]
    assert (made / "tea_shop/orders.lua").is_file()
