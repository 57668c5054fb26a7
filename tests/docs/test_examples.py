"""The documentation runs: each Python block of the README and of docs/ is executed, in the page's order.

Blocks of a page share their names, as a reader takes them to. A block that begins with `# app.py` is that file
and is imported; later blocks may import from it. What a block awaits runs in an event loop. A block that is
not meant to run is not marked `python`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

# Importing reads files, which a page's blocks would otherwise do for the first time inside the event loop.
import fivenines.service
import fivenines.testing  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<body>.*?)^(?P=indent)```", re.M | re.S)
FILE = re.compile(r"# ([a-z_]+)\.py\s*\n")


class Block(NamedTuple):
    language: str
    line: int
    text: str


def blocks(text: str, *languages: str) -> list[Block]:
    return [
        Block(found["language"], text.count("\n", 0, found.start()) + 2, dedented(found["body"], found["indent"]))
        for found in FENCE.finditer(text)
        if found["language"] in languages
    ]


def dedented(body: str, indent: str) -> str:
    return re.sub(rf"^{indent}", "", body, flags=re.M) if indent else body


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text_of(page: Path) -> str:
    return page.read_text()


async def run(page: Path, text: str, folder: Path) -> None:
    names: dict[str, Any] = {"__name__": "__docs__"}
    for block in blocks(text, "python"):
        if file := FILE.match(block.text):
            (folder / f"{file[1]}.py").write_text(block.text)
            importlib.invalidate_caches()
            names |= {k: v for k, v in vars(importlib.import_module(file[1])).items() if not k.startswith("__")}
            continue
        # Blank lines in front make a traceback name the page's own line.
        source = "\n" * (block.line - 1) + block.text
        code = compile(source, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        if code.co_flags & inspect.CO_COROUTINE:
            await eval(code, names)
        else:
            exec(code, names)


@pytest.fixture
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str, namespace: str) -> Iterator[Path]:
    """What `fivenines dev` gives a service: a Redis, a key, cookies for plain HTTP; a folder to import from."""
    monkeypatch.setenv("FIVENINES_REDIS_URL", redis_url)
    monkeypatch.setenv("FIVENINES_NAMESPACE", namespace)
    monkeypatch.setenv("FIVENINES_SESSION_COOKIE", "insecure")
    monkeypatch.setenv("FIVENINES_SECRET_KEYS", "documentation-only-0123456789abcdef")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
async def test_python_blocks_run(page: Path, surroundings: Path) -> None:
    """A reader who copies a page's code gets no error."""
    await run(page, text_of(page), surroundings)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file of the repository names one that is there."""
    text = FENCE.sub("", page.read_text())
    targets = [target for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


async def test_a_broken_block_is_reported_with_its_line(surroundings: Path) -> None:
    """The page and the line stand in the traceback, as for a module."""
    text = "# Title\n\n```python\nfine = 1\n```\n\n```python\nfine += 1\nassert fine == 3\n```\n"
    with pytest.raises(AssertionError) as failure:
        await run(Path("page.md"), text, surroundings)
    assert failure.traceback[-1].lineno == 8  # counted from 0
    assert str(failure.traceback[-1].path).endswith("page.md")


async def test_a_named_file_is_imported(surroundings: Path) -> None:
    """`# name.py` makes a block that module; others may await what is in it."""
    text = (
        "```python\n# made_up.py\nasync def answer(): return 42\n```\n"
        "```python\nfrom made_up import answer as again\nassert await again() == await answer() == 42\n```\n"
    )
    await run(Path("page.md"), text, surroundings)


async def test_other_languages_do_not_run(surroundings: Path) -> None:
    """Only `python` runs: `text`, `shell` and bare fences are for reading."""
    await run(Path("page.md"), "```text\n1/0\n```\n```\n1/0\n```\n", surroundings)
