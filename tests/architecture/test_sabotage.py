"""The sabotages are sound themselves: their text is in the source, and a drill that does not notice is told."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.name.split(".")[0] for path in (ROOT / "drills").glob("*.sabotage.toml"))


@pytest.fixture
def sabotage(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("fivenines_sabotage", ROOT / "drills" / "sabotage.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_sabotages_fit_the_source(sabotage: Any, name: str) -> None:
    """Each changes one place of a file that is there, and what it makes is still Python."""
    assert sabotage.check(sabotage.load(name)) == []


DRILL = """
import guarded
fine = guarded.answer() == 42
print("sample: held" if fine else "sample: FELL SHORT")
raise SystemExit(0 if fine else 1)
"""
ENTRY = '[[sabotage]]\nname = "{}"\nfile = "guarded.py"\nold = "{}"\nnew = "{}"\n'


def prepare(sabotage: Any, monkeypatch: pytest.MonkeyPatch, root: Path, *entries: str, drill: str = DRILL) -> None:
    (root / "framework").mkdir()
    (root / "framework" / "guarded.py").write_text("def answer():\n    return 42\n")
    (root / "drills").mkdir()
    (root / "drills" / "sample.py").write_text(drill)
    (root / "drills" / "sample.sabotage.toml").write_text("".join(entries))
    monkeypatch.setattr(sabotage, "ROOT", root)
    monkeypatch.setattr(sabotage, "DRILLS", root / "drills")
    # Defaults were bound when the functions were made.
    monkeypatch.setattr(sabotage.load, "__defaults__", (root / "drills",))
    monkeypatch.setattr(sabotage.check, "__defaults__", (root,))


@pytest.mark.parametrize(
    ("entry", "code", "said"),
    [
        (ENTRY.format("wrong answer", "42", "43"), 0, "sabotage: 1 of 1 noticed"),
        (ENTRY.format("right reason", "42", "43") + 'says = "SHORT"\n', 0, "sabotage: 1 of 1 noticed"),
        (ENTRY.format("wrong reason", "42", "43") + 'says = "doubled"\n', 1, "sabotage: 0 of 1 noticed"),
        (ENTRY.format("no effect", "    return", "    pass\\n    return"), 1, "sabotage: 0 of 1 noticed"),
        (ENTRY.format("gone", "41", "43"), 1, "its text stands 0 times in guarded.py, not once"),
        (ENTRY.format("no Python", "42", "42)"), 1, "what it makes of guarded.py is no Python"),
        (ENTRY.format("an error is no finding", "42", "1/0"), 1, "exit 1; last line: ZeroDivisionError"),
    ],
)
def test_a_drill_must_fall_short(
    sabotage: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any, entry: str, code: int, said: str
) -> None:
    """Only `FELL SHORT` with exit code 1 counts as noticed, and only for the reason that was named."""
    prepare(sabotage, monkeypatch, tmp_path, entry)
    assert sabotage.main([]) == code
    assert said in capsys.readouterr().out


def test_a_drill_that_never_holds_proves_nothing(
    sabotage: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    """It would notice every sabotage."""
    never = 'print("sample: FELL SHORT")\nraise SystemExit(1)\n'
    prepare(sabotage, monkeypatch, tmp_path, ENTRY.format("wrong", "42", "43"), drill=never)
    assert sabotage.main(["sample"]) == 1
    assert "NO" in capsys.readouterr().out


def test_an_unknown_name_is_told(sabotage: Any, capsys: Any) -> None:
    """With the names there are."""
    assert sabotage.main(["nothing"]) == 2
    assert "lane" in capsys.readouterr().err
