"""The wheel that generation writes is the one that hatchling builds, and nothing can take its place."""

from __future__ import annotations

import configparser
import email
import hashlib
import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from .conftest import SCRIPTS, Bake, run

if TYPE_CHECKING:
    from email.message import Message

METADATA = "fivenines-0.1.0.dist-info/METADATA"


@pytest.fixture(scope="module")
def ours(project: Path) -> zipfile.ZipFile:
    (wheel,) = (project / "vendor").iterdir()
    return zipfile.ZipFile(wheel)


@pytest.fixture(scope="module")
def theirs(template: Path, tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> zipfile.ZipFile:
    """The wheel of the proper build backend, from the same sources."""
    folder = tmp_path_factory.mktemp("hatchling")
    source = shutil.copytree(template, folder / "source")
    run(environment, source, SCRIPTS / "hatchling", "build", "--target", "wheel", "--directory", folder / "dist")
    (wheel,) = (folder / "dist").iterdir()
    return zipfile.ZipFile(wheel)


def test_it_has_the_files_that_hatchling_packs(ours: zipfile.ZipFile, theirs: zipfile.ZipFile) -> None:
    assert ours.filename is not None
    assert theirs.filename is not None
    assert Path(ours.filename).name == Path(theirs.filename).name
    assert sorted(ours.namelist()) == sorted(theirs.namelist())
    for name in ours.namelist():
        if ".dist-info/" not in name:
            assert ours.read(name) == theirs.read(name), name


def test_its_metadata_say_what_hatchling_says(ours: zipfile.ZipFile, theirs: zipfile.ZipFile) -> None:
    mine, right = (email.message_from_bytes(wheel.read(METADATA)) for wheel in (ours, theirs))

    for name in ("Name", "Version", "Summary", "Requires-Python", "License-Expression", "Provides-Extra"):
        assert sorted(mine.get_all(name, [])) == sorted(right.get_all(name, [])), name
    assert _requirements(mine) == _requirements(right)
    assert _entry_points(ours) == _entry_points(theirs)


def test_its_record_holds_every_file(ours: zipfile.ZipFile) -> None:
    record = ours.read("fivenines-0.1.0.dist-info/RECORD").decode().splitlines()

    assert [line.split(",")[0] for line in record] == ours.namelist()


def test_its_bytes_depend_on_nothing_but_the_sources(template: Path, project: Path, tmp_path: Path, bake: Bake) -> None:
    """Other times, modes and junk beside the sources change nothing."""
    copy = shutil.copytree(template, tmp_path / "copy", copy_function=shutil.copyfile)
    (copy / "framework/fivenines/__pycache__").mkdir()
    (copy / "framework/fivenines/__pycache__/errors.cpython-311.pyc").write_bytes(b"old")

    (first,), (second,) = ((made / "vendor").iterdir() for made in (project, bake(copy, tmp_path / "out")))

    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_the_locks_hold_a_hash_for_everything_and_no_registry(project: Path, lock: str) -> None:
    text = (project / lock).read_text()
    (wheel,) = (project / "vendor").iterdir()
    entries = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip())

    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    line = f"./vendor/{wheel.name} \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"
    assert entries.count(line) == 1
    assert not re.search(r"^fivenines\b", text, re.MULTILINE)


def test_tests_run_against_the_versions_of_production(project: Path) -> None:
    runtime, development = (
        set(re.findall(r"^[\w.-]+==[^ ]+", (project / name).read_text(), re.MULTILINE))
        for name in ("requirements.lock", "requirements-dev.lock")
    )

    assert runtime <= development


def test_the_locks_have_all_that_the_wheel_asks_for(project: Path, ours: zipfile.ZipFile) -> None:
    """Installing with hashes fails on a dependency that is not in the lock: found here without a network."""
    metadata = email.message_from_bytes(ours.read(METADATA))
    for lock, extras in (("requirements.lock", [""]), ("requirements-dev.lock", ["", "cli", "client", "lab"])):
        pins = dict(re.findall(r"^([\w.-]+)==([^ ;]+)", (project / lock).read_text(), re.MULTILINE))
        for requirement in map(Requirement, metadata.get_all("Requires-Dist", [])):
            if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
                continue
            name = re.sub(r"[-_.]+", "-", requirement.name).lower()
            assert name in pins, f"{lock} lacks {name}: python scripts/template_lock.py"
            assert requirement.specifier.contains(pins[name]), f"{lock}: {name} {pins[name]} is not {requirement}"


@pytest.mark.slow
def test_a_higher_version_on_an_index_is_not_taken(project: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """Version 99 lies where pip looks. Asked by name pip takes it; asked by our lock it takes ours."""
    planted = tmp_path / "planted"
    planted.mkdir()
    with zipfile.ZipFile(planted / "fivenines-99-py3-none-any.whl", "w") as wheel:
        wheel.writestr("fivenines/__init__.py", "raise SystemExit('planted')")
        wheel.writestr("fivenines-99.dist-info/METADATA", "Metadata-Version: 2.1\nName: fivenines\nVersion: 99\n")
        wheel.writestr("fivenines-99.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("fivenines-99.dist-info/RECORD", "")
    environment = environment | {"PIP_FIND_LINKS": str(planted)}

    def resolved(*arguments: str) -> dict[str, str]:
        report = tmp_path / "report.json"
        pip = [SCRIPTS / "python", "-m", "pip", "--quiet", "install", "--dry-run", "--ignore-installed"]
        run(environment, project, *pip, "--report", report, *arguments, timeout=120)
        chosen = json.loads(report.read_text())["install"]
        return {item["metadata"]["name"]: item["metadata"]["version"] for item in chosen}

    assert resolved("--no-deps", "--no-index", "fivenines") == {"fivenines": "99"}
    assert resolved("--require-hashes", "-r", "requirements.lock")["fivenines"] == "0.1.0"


def test_a_changed_wheel_is_refused(project: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    copy = shutil.copytree(project, tmp_path / "orders")
    (wheel,) = (copy / "vendor").iterdir()
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    lock = (copy / "requirements.lock").read_text()
    (copy / "only.lock").write_text(re.findall(r"^\./vendor/.*\n.*", lock, re.MULTILINE)[0])
    pip = [SCRIPTS / "python", "-m", "pip", "install", "--dry-run", "--no-deps", "--no-index", "--require-hashes"]

    done = run(environment, copy, *pip, "-r", "only.lock", check=False)

    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr


def _requirements(metadata: Message) -> set[tuple[str, str, str, str]]:
    found = set()
    for requirement in map(Requirement, metadata.get_all("Requires-Dist", [])):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        marker = str(requirement.marker or "").replace("(", "").replace(")", "")
        found.add((name, ",".join(sorted(requirement.extras)), str(requirement.specifier), marker))
    return found


def _entry_points(wheel: zipfile.ZipFile) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser()
    parser.read_string(wheel.read("fivenines-0.1.0.dist-info/entry_points.txt").decode())
    return {section: dict(parser[section]) for section in parser.sections()}
