"""What the README tells a reader to type is what CI runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def in_readme(text: str) -> list[str]:
    """The commands of the shell blocks, in order; a comment is none, and neither is what follows one."""
    found = re.findall(r"^```(?:shell|sh|bash)\n(.*?)^```", text, re.M | re.S)
    lines = [re.sub(r"\s+#.*", "", line).strip() for block in found for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def in_ci(text: str) -> list[str]:
    array = re.search(r"^README=\(\n(.*?)^\)", text, re.M | re.S)
    return re.findall(r'^\s*"(.*)"$', array[1], re.M) if array else []


def test_ci_runs_the_readme() -> None:
    """Each shell line of the README, in its order, and nothing else in its name."""
    readme = in_readme((ROOT / "README.md").read_text())
    assert readme == in_ci((ROOT / ".ci" / "run").read_text())
    assert {"make demo", "make test"} <= set(readme)


@pytest.mark.parametrize(
    ("readme", "commands"),
    [
        ("```shell\nmake demo   # a minute\n\nmake test\n```\n", ["make demo", "make test"]),
        ("```shell\nmake demo\n```\nthen\n```bash\n# all\nmake test\n```\n", ["make demo", "make test"]),
        ("```text\nmake demo\n```\n", []),
    ],
)
def test_shell_lines_are_found(readme: str, commands: list[str]) -> None:
    """Comments and other fences are passed over."""
    assert in_readme(readme) == commands


def test_make_knows_the_commands() -> None:
    """Every `make` target that README, CONTRIBUTING or docs/ name stands in the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.M))
    drills = {path.stem.replace("_", "-") for path in (ROOT / "drills").glob("*.py")}
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    unknown = {
        f"{page.name}: make {name}"
        for page in pages
        if page.exists()
        for name in re.findall(r"(?:`|^\s*)(?:[A-Z]+=\S+ )?make ([a-z][a-z-]*)(?=[\s`])", page.read_text(), re.M)
        if name not in targets and not (name.startswith("prove-") and name[6:] in drills | {""})
    }
    # A generated service has targets of its own.
    generated = re.findall(r"^([a-z][a-z-]*):", (ROOT / "{{cookiecutter.project_slug}}" / "Makefile").read_text(), re.M)
    assert {each for each in unknown if each.rpartition(" ")[2] not in generated} == set()
