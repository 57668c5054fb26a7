"""Imports only look down, and a third party is imported in one place.

The picture below is the one of docs/design.md: a line imports only lines below it, and names on one line do
not import each other. Imports inside functions count, and so do those for types.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

FRAMEWORK = Path(__file__).resolve().parents[2] / "framework"

LAYERS = """
pytest_fivenines · __main__
cli · testing
server · ops · lab
__init__
service
web · admin · observe
client
policy · cache · health
sessions · idempotency · ratelimit · locks · breaker │ retry · timeouts · bulkhead · shedding · hedging · lifecycle · faults · stateless
fleet
_runtime
settings · store · codecs
errors · events · context · _clock · _types · _marks
"""  # noqa: E501 - the picture keeps its lines

# Where a third party may be imported: a folder or a file of the package. For types it may be anywhere.
PLACES = {
    "click": ["cli"],
    "cryptography": ["codecs", "store", "idempotency", "cache"],
    "fastapi": ["service"],
    "gunicorn": ["server"],
    "hiredis": ["store"],
    "httpx2": ["client", "lab", "testing"],
    "jinja2": ["ops"],
    "msgspec": ["."],
    "opentelemetry": ["observe"],
    "prometheus_client": ["observe"],
    "pybreaker": ["breaker"],
    "pytest": ["pytest_fivenines", "testing"],
    "redis": ["store"],
    "rich": ["cli"],
    "ruamel": ["ops"],
    "starlette": ["admin", "observe.tracing", "service", "testing", "web"],
    "tenacity": ["retry"],
    "uvloop": ["server"],
}


class Import(NamedTuple):
    importer: str  # dotted below `fivenines`: "store._lane"; the package itself is "__init__"
    line: int
    imported: str  # as written, absolute: "fivenines.errors"
    for_types: bool


def imports_of(framework: Path) -> list[Import]:
    """Every import statement of the package and of the pytest plugin."""
    found = []
    for file in sorted([*(framework / "fivenines").rglob("*.py"), *framework.glob("*.py")]):
        parts = file.relative_to(framework).with_suffix("").parts
        dotted = parts[1:] if parts[0] == "fivenines" else parts
        importer = ".".join(part for part in dotted if part != "__init__") or "__init__"
        package = list(parts[:-1])
        tree = ast.parse(file.read_text(), str(file))
        for_types = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
            for statement in node.body
            for inner in ast.walk(statement)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                module = ".".join([*base, *([node.module] if node.module else [])])
                names = [f"{module}.{alias.name}" for alias in node.names] if module == "fivenines" else [module]
                if module == "fivenines":
                    names = [name if is_module(framework, name) else "fivenines.__init__" for name in names]
            else:
                continue
            found += [Import(importer, node.lineno, name, node in for_types) for name in names]
    return found


def is_module(framework: Path, dotted: str) -> bool:
    path = framework.joinpath(*dotted.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def layer_faults(framework: Path) -> list[str]:
    height = {
        name: level
        for level, line in enumerate(reversed(LAYERS.strip().splitlines()))
        for name in line.replace("│", "·").replace(" ", "").split("·")
    }
    faults = []
    for importer, line, imported, _ in imports_of(framework):
        above = importer.split(".")[0]
        if above not in height:
            faults.append(f"{importer}: `{above}` stands on no layer of the picture")
            continue
        if imported.split(".")[0] not in ("fivenines", "pytest_fivenines"):
            continue
        below = imported.split(".")[1] if "." in imported else "__init__"
        if above == below:
            continue
        if below not in height:
            faults.append(f"{importer}:{line} imports {imported}, which stands on no layer of the picture")
        elif height[above] <= height[below]:
            faults.append(f"{importer}:{line} imports {imported}, which does not lie below it")
    return faults


def placement_faults(framework: Path) -> list[str]:
    faults = []
    for importer, line, imported, for_types in imports_of(framework):
        top = imported.split(".")[0]
        if for_types or top in sys.stdlib_module_names or top in ("fivenines", "pytest_fivenines"):
            continue
        places = PLACES.get(top)
        if places is None:
            faults.append(f"{importer}:{line} imports {top}, which has no place in PLACES")
        elif not any(place in (".", importer) or importer.startswith(place + ".") for place in places):
            faults.append(f"{importer}:{line} imports {top}, whose place is {', '.join(places)}")
    return faults


def test_imports_only_look_down() -> None:
    """The package has the layers of the picture."""
    assert layer_faults(FRAMEWORK) == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/design.md"])
def test_documents_show_this_picture(page: str) -> None:
    """A reader sees the layers that are held, in their order."""
    path = FRAMEWORK.parent / page
    lines = [line for line in LAYERS.strip().splitlines() if "__" not in line]
    assert not path.exists() or "\n".join(lines) in path.read_text()


def test_third_parties_are_imported_in_one_place() -> None:
    """A library can be replaced, or be missing, without a change elsewhere."""
    assert placement_faults(FRAMEWORK) == []


@pytest.mark.parametrize(
    ("file", "source", "fault"),
    [
        (
            "errors.py",
            "from fivenines.store import connect",
            "errors:1 imports fivenines.store, which",
        ),
        (
            "sessions/_x.py",
            "from fivenines.locks import held",
            "sessions._x:1 imports fivenines.locks, ",
        ),
        (
            "store/_x.py",
            "from ..service import Service",
            "store._x:1 imports fivenines.service, which",
        ),
        ("retry.py", "from . import web", "retry:1 imports fivenines.web, which does not lie"),
        (
            "web/x.py",
            "def f():\n    import fivenines.server.worker",
            "web.x:2 imports fivenines.server.worker",
        ),
        (
            "codecs.py",
            "from fivenines import Settings",
            "codecs:1 imports fivenines.__init__, which",
        ),
        (
            "health.py",
            "from fivenines import novel",
            "health:1 imports fivenines.__init__, which",
        ),
        ("novel.py", "import os", "novel: `novel` stands on no layer"),
    ],
)
def test_an_import_that_looks_up_is_reported(tmp_path: Path, file: str, source: str, fault: str) -> None:
    """Each way to write such an import is seen."""
    plant(tmp_path, file, source)
    faults = layer_faults(tmp_path)
    assert len(faults) == 1
    assert faults[0].startswith(fault)


@pytest.mark.parametrize(
    ("file", "source", "fault"),
    [
        (
            "sessions/_store.py",
            "import redis.asyncio",
            "sessions._store:1 imports redis, whose place is",
        ),
        (
            "sessions/_metrics.py",
            "def f():\n    from prometheus_client import x",
            "sessions._metrics:2 imports prometheus_client",
        ),
        ("store/_x.py", "import requests", "store._x:1 imports requests, which has no place"),
    ],
)
def test_a_misplaced_third_party_is_reported(tmp_path: Path, file: str, source: str, fault: str) -> None:
    """Lazy imports are seen as well; those for types are let be."""
    for_types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import redis\n"
    plant(tmp_path, file, source)
    plant(tmp_path, "events.py", for_types)
    faults = placement_faults(tmp_path)
    assert len(faults) == 1
    assert faults[0].startswith(fault)


def plant(framework: Path, file: str, source: str) -> None:
    for name in ("web/__init__.py", file):
        path = framework / "fivenines" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    path.write_text(source)
