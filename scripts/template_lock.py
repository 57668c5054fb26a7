"""Remake the locks of generated services: `python scripts/template_lock.py [--check] [--upgrade]`.

`requirements.lock` is what runs in production, `requirements-dev.lock` adds what `make run`, `up`, `test` and `check`
need. Both are made from the framework's own pyproject.toml, for Linux and macOS and every Python from 3.11 up. They
name no registry, so they install from whichever index pip is set to use; the framework itself comes from vendor/
by path and hash, never by name: the line `@FIVENINES_WHEEL@` is filled in when a service is generated.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"
RUNTIME_EXTRAS = ("speed",)
DEVELOPMENT_EXTRAS = ("cli", "client", "lab")
# pip, because a virtual environment made without ensurepip has none, and `up` fetches its servers with it.
DEVELOPMENT = ("mypy", "pip", "pytest", "pytest-asyncio", "ruff", "httpx2")

HEAD = """\
# {purpose}
# Made by scripts/template_lock.py of the template; to change a version, see "Dependencies" in README.md.
# The framework comes from vendor/, by path and hash: no index can put another package in its place.
@FIVENINES_WHEEL@
"""


def compile_lock(extras: tuple[str, ...], more: tuple[str, ...], purpose: str, target: Path, *, upgrade: bool) -> None:
    """Resolve the framework's dependencies with these extras and write them with their hashes."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        sys.exit("template_lock needs uv: make dev")
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "more.in")
        wanted.write_text("".join(f"{name}\n" for name in more))
        result = Path(folder, "result.lock")
        if target.exists() and not upgrade:  # uv keeps the versions that it finds there
            kept = [line for line in target.read_text().splitlines() if not line.startswith("@")]
            result.write_text("\n".join(kept) + "\n")
        command = [
            uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header", "--no-annotate",
            "--python-version", "3.11", "--output-file", str(result), str(ROOT / "pyproject.toml"), str(wanted),
            *(f"--extra={extra}" for extra in extras),
        ]  # fmt: skip
        if (runtime := TEMPLATE / "requirements.lock") != target:
            # Tests run against the versions that production has.
            constraint = Path(folder, "runtime.txt")
            constraint.write_text(runtime.read_text().replace("@FIVENINES_WHEEL@", ""))
            command += ["--constraint", str(constraint)]
        subprocess.run(command, cwd=ROOT, check=True)
        target.write_text(HEAD.format(purpose=purpose) + result.read_text())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upgrade", action="store_true", help="take newer versions where there are some")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a lock would change")
    options = parser.parse_args()

    locks = [TEMPLATE / "requirements.lock", TEMPLATE / "requirements-dev.lock"]
    before = [lock.read_text() if lock.exists() else "" for lock in locks]
    compile_lock(RUNTIME_EXTRAS, (), "What the service runs with in production.", locks[0], upgrade=options.upgrade)
    compile_lock(
        RUNTIME_EXTRAS + DEVELOPMENT_EXTRAS,
        DEVELOPMENT,
        "What the service runs with, and what developing it needs.",
        locks[1],
        upgrade=options.upgrade,
    )
    changed = [lock for lock, text in zip(locks, before, strict=True) if lock.read_text() != text]
    if options.check:
        for lock, text in zip(locks, before, strict=True):
            lock.write_text(text)
        if changed:
            print(f"{', '.join(lock.name for lock in changed)}: out of date; run: python scripts/template_lock.py")
        return bool(changed)
    print(f"{len(changed)} of {len(locks)} locks changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
