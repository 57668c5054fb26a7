"""The runtime image, as far as reading can tell: not root, signals arrive, only pinned files go in."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def faults(dockerfile: str) -> list[str]:
    text = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", dockerfile, flags=re.M))
    steps = [(words[0], words[1]) for line in text.splitlines() if len(words := line.split(maxsplit=1)) == 2]
    last = next(n for n, (word, _) in reversed(list(enumerate(steps))) if word == "FROM")
    final = dict(steps[last:])
    found = []
    if not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", final.get("USER", "")):
        found.append("USER is no number above 0, which Kubernetes' runAsNonRoot asks for")
    commands = {word: final.get(word, "") for word in ("ENTRYPOINT", "CMD")}
    commands["HEALTHCHECK"] = final.get("HEALTHCHECK", "").partition("CMD ")[2]
    for word, value in commands.items():
        try:
            json.loads(value)
        except ValueError:
            found.append(f"{word} is not in exec form: a shell would stand between")
    if any("pip install" in value and not re.search(r"--require-hashes|--no-index", command)
           for word, value in steps if word == "RUN"
           for command in value.split("&&") if "pip install" in command):  # fmt: skip
        found.append("a package comes in without its hash")
    if any(word == "FROM" and (":" not in value or ":latest" in value) for word, value in steps):
        found.append("a base image has no version")
    return found


def test_image_is_sound() -> None:
    """The Dockerfile has none of the faults that are known here."""
    assert faults((ROOT / "Dockerfile").read_text()) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("USER 10001:10001", "USER root", "USER"),
        ("USER 10001:10001\n", "", "USER"),
        ('ENTRYPOINT ["fivenines", "serve"]', "ENTRYPOINT fivenines serve", "ENTRYPOINT"),
        ('CMD ["python", "-c"', 'CMD python -c "x" ["', "HEALTHCHECK"),
        ("pip install --require-hashes", "pip install", "a package"),
        (":${PYTHON}-slim", "", "a base image"),
    ],
)
def test_each_fault_is_seen(old: str, new: str, fault: str) -> None:
    """Reading the Dockerfile with the fault in it reports the fault."""
    text = (ROOT / "Dockerfile").read_text()
    assert old in text
    assert any(each.startswith(fault) for each in faults(text.replace(old, new)))


@pytest.mark.parametrize("name", ["runtime.lock", "build.lock"])
def test_image_installs_what_was_tested(name: str) -> None:
    """Each entry of the image's locks stands in requirements.lock, hashes and all: `make lock` makes them."""
    whole = (ROOT / "requirements.lock").read_text()
    entries = re.findall(r"^[A-Za-z0-9].*\n(?:[ #].*\n)*", (ROOT / "docker" / name).read_text(), re.M)
    assert entries
    assert [entry for entry in entries if entry not in whole] == []
