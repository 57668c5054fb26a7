"""Each change of what users may import, and of a setting, is seen in review."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reference() -> Any:
    spec = importlib.util.spec_from_file_location("fivenines_reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["api.txt", "settings.md"])
def test_reference_says_what_the_code_says(reference: Any, name: str) -> None:
    """docs/reference is what `make docs-reference` writes: run it, and look at what it changed."""
    path = ROOT / "docs" / "reference" / name
    wanted = reference.files()[path]
    assert path.read_text().splitlines() == wanted.splitlines()


def test_every_public_name_is_there() -> None:
    """`__all__` names nothing that an import would not find."""
    import fivenines

    assert [name for name in fivenines.__all__ if not hasattr(fivenines, name)] == []
    assert list(fivenines.__all__) == sorted(fivenines.__all__)


def test_a_changed_signature_changes_the_reference(reference: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new parameter, a new default and a new method each show."""
    shown = []
    for source in (
        "def call(a: int) -> None: ...",
        "def call(a: int, b: str = 'x') -> None: ...",
        "def call(a: int, b: str = 'y') -> None: ...",
        "class call:\n    def run(self): ...",
        "class call:\n    def run(self): ...\n    async def stop(self): ...",
    ):
        module = types.ModuleType("made_up")
        exec(source, vars(module))
        monkeypatch.setitem(sys.modules, "made_up", module)
        shown.append(reference.api(["made_up"]))
    assert len(set(shown)) == len(shown)
    assert "def call(a: int, b: str = 'x') -> None" in shown[1]
    assert "    async def stop(self)" in shown[4]
