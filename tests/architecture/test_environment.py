"""`make` makes the environment once, anew when it is stale or half-made, and says what is wrong in one line."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The script, in a repository of its own; making takes no time there and leaves a mark."""
    spec = importlib.util.spec_from_file_location("fivenines_environment", ROOT / "scripts" / "environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "LOCK", tmp_path / "requirements.lock")
    made: list[str] = []

    def make(folder: Path, where: Path, python: Path) -> bool:
        made.append("made")
        python.parent.mkdir(parents=True)
        python.touch()
        return True

    monkeypatch.setattr(module, "with_uv", make)
    module.made = made
    return module


def test_second_call_does_nothing(environment: Any, capsys: Any) -> None:
    """A finished environment is left alone, silently."""
    assert environment.main() == 0
    capsys.readouterr()
    assert environment.main() == 0
    assert environment.made == ["made"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml", ".venv/fivenines.stamp", ".venv/bin/python"])
def test_stale_or_half_made_is_made_anew(environment: Any, tmp_path: Path, name: str) -> None:
    """A changed lock or project, a missing stamp, a missing Python: each is noticed."""
    environment.main()
    file = tmp_path / name
    if file.suffix in (".lock", ".toml"):
        file.write_text(file.read_text() + "\n# changed\n")
    else:
        file.unlink()
    (tmp_path / ".venv" / "left over").touch()
    assert environment.main() == 0
    assert environment.made == ["made", "made"]
    assert not (tmp_path / ".venv" / "left over").exists()


def test_a_failed_one_is_not_taken_for_finished(
    environment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The reason stands in one line, and the next call tries again."""

    def fail(*_: object) -> bool:
        (tmp_path / ".venv").mkdir()
        raise subprocess.CalledProcessError(1, ["pip", "install"])

    with monkeypatch.context() as broken:
        broken.setattr(environment, "with_uv", fail)
        assert environment.main() == 1
    assert capsys.readouterr().err == "environment: not made. this ended with 1: pip install\n"
    assert environment.main() == 0
    assert environment.made == ["made"]


def test_pip_settings_are_respected(environment: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the user told pip, uv is told in its own words; what the user told uv wins."""
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("PIP_INDEX_URL", "http://mirror.example/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://a.example http://b.example")
    monkeypatch.setenv("PIP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("UV_FIND_LINKS", "mine")
    monkeypatch.setenv("PIP_FIND_LINKS", "theirs")
    settings = environment.uv_settings()
    assert settings["UV_DEFAULT_INDEX"] == "http://mirror.example/simple"
    assert settings["UV_INDEX"] == "http://a.example http://b.example"
    assert settings["ALL_PROXY"] == "http://proxy.example:3128"
    assert settings["UV_FIND_LINKS"] == "mine"


def test_the_lock_names_no_index_and_hashes_everything() -> None:
    """Any mirror will do, and no file is taken on trust."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    entries = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert entries
    assert [line for line in entries if not line.endswith("\\") or "==" not in line] == []
    assert [line for line in lines if "://" in line or line.startswith("-")] == []


def test_an_old_python_is_told_in_one_line(tmp_path: Path) -> None:
    """Whatever `python3` is, the answer is a line and no traceback."""
    source = (ROOT / "scripts" / "environment.py").read_text()
    script = tmp_path / "scripts" / "environment.py"
    script.parent.mkdir()
    script.write_text(source.replace("sys.version_info < (3, 11)", "sys.version_info < (9, 0)"))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "needs Python 3.11 or newer" in done.stderr
