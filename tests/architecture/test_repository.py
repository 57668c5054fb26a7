"""Nothing in the repository belongs to one machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A home, a work folder, a named file in the shared temporary folder. Paths inside an image are no machine's.
FORBIDDEN = re.compile(r"(?<![\w.{}$])/(?:root|home|work|Users)/[\w.]|(?<![\w.{}$])/tmp/[A-Za-z]")
# Where packages come from is the user's pip configuration, not ours.
REGISTRY = re.compile("|".join(["pypi" + r"\.org", "python" + "hosted", "npmjs" + r"\.(?:org|com)"]))
BINARY = {".whl", ".png", ".zip", ".gz", ".ico"}


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("needs a git clone: it asks git which files belong to the repository")
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return [ROOT / name for name in names if Path(name).suffix not in BINARY and (ROOT / name).is_file()]


def faults_of(name: str, text: str, pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize("pattern", [FORBIDDEN, REGISTRY], ids=["absolute path", "registry"])
def test_no_file_names_a_machine(pattern: re.Pattern[str]) -> None:
    """No absolute path of a developer's machine and no package registry is committed."""
    this = Path(__file__)
    faults = [
        fault
        for path in tracked()
        if path != this
        for fault in faults_of(str(path.relative_to(ROOT)), path.read_text(errors="replace"), pattern)
    ]
    assert faults == []


@pytest.mark.parametrize(
    ("line", "pattern", "found"),
    [
        ('folder = "/home/ada/x"', FORBIDDEN, True),
        ("cd /work/main", FORBIDDEN, True),
        ('Path("/tmp/lane.sock")', FORBIDDEN, True),
        ('dir="/tmp"', FORBIDDEN, False),
        ("COPY --from=build /app/home/x", FORBIDDEN, False),
        ("--index-url https://" + "pypi" + ".org/simple", REGISTRY, True),
    ],
)
def test_such_a_line_is_reported(line: str, pattern: re.Pattern[str], found: bool) -> None:
    """The patterns see what they are for."""
    assert bool(faults_of("x", line, pattern)) is found
