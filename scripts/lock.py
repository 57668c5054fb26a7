"""Remake `requirements.lock`: one lock for Linux and macOS, Python 3.11 and up, every extra, every tool.

Releases younger than a week are left out, since most that have to be withdrawn are gone by then. The hashes
say which files are meant, so the lock names no index and holds with any mirror. What the image needs of it
stands in `docker/`, entry for entry the same.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
HEAD = "# Made by `make lock` from pyproject.toml: {}, Linux and macOS, Python 3.11 up.\n"
PROJECT = ["pyproject.toml"]
EXCERPTS = {
    "docker/runtime.lock": ("what `fivenines serve` needs", [*PROJECT, "--extra", "speed"], ""),
    "docker/build.lock": ("what builds the wheel", ["-"], "hatchling\n"),
}


def main() -> int:
    text = compiled([*PROJECT, "--all-extras", "--group", "dev", "--generate-hashes", "--allow-unsafe"])
    LOCK.write_text(HEAD.format("every extra, every tool") + text)
    entries = entries_of(text)
    print(f"{LOCK.name}: {len(entries)} packages")
    pins = ROOT / "build" / "pins.txt"
    pins.parent.mkdir(exist_ok=True)
    pins.write_text("".join(entry.split(" \\", 1)[0] + "\n" for entry in entries.values()))
    for name, (what, wanted, given) in EXCERPTS.items():
        chosen = entries_of(compiled([*wanted, "--constraint", str(pins)], given))
        path = ROOT / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEAD.format(what) + "".join(entries[package] for package in chosen))
        print(f"{name}: {len(chosen)} packages")
    return 0


def compiled(arguments: list[str], given: str = "") -> str:
    uv = Path(sys.prefix) / "bin" / "uv"
    command = [
        uv, "pip", "compile", *arguments, "--universal", "--python-version", "3.11", "--exclude-newer", "7 days",
        "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--quiet",
    ]  # fmt: skip
    return subprocess.run(command, cwd=ROOT, input=given, stdout=subprocess.PIPE, text=True, check=True).stdout


def entries_of(lock: str) -> dict[str, str]:
    """Each package's lines, by its name."""
    found = re.findall(r"^[A-Za-z0-9].*\n(?:[ #].*\n)*", lock, re.M)
    return {re.split(r"[=\s]", entry, maxsplit=1)[0]: entry for entry in found}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
