"""Remake the locks of generated services: `python scripts/template_lock.py [--check] [--upgrade]`.

A generated service makes its own with `make lock`; this does the same to the template: for Linux and macOS and every
Python from 3.11 up. The locks name no registry, so they install from whichever index pip is set to use; the framework
comes from vendor/ by path and hash, never by name: the hook writes that line where `@FIVENINES_WHEEL@` stands.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"
MARK = "@FIVENINES_WHEEL@"

sys.path.insert(0, str(ROOT))
from cookiecutter_fivenines import build_wheel  # noqa: E402


def remake(upgrade: bool) -> dict[str, str]:
    """The text of each lock, by its name."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        sys.exit("template_lock needs uv: make dev")
    name, wheel = build_wheel(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "vendor").mkdir()
        (project / "vendor" / name).write_bytes(wheel)
        for source in TEMPLATE.glob("requirements*"):
            # A lock that is there keeps its versions; its mark is no requirement that uv could read.
            text = source.read_text().replace(MARK, f"./vendor/{name}" if source.suffix == ".in" else "")
            if source.suffix == ".in" or not upgrade:
                (project / source.name).write_text(text)
        for lock in ("requirements", "requirements-dev"):
            command = [
                uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-annotate",
                "--python-version", "3.11", "--exclude-newer", "7 days", "--custom-compile-command", "make lock",
                f"{lock}.in", "--output-file", f"{lock}.lock",
            ]  # fmt: skip
            if lock != "requirements":
                # Tests run against the versions that production has.
                pins = re.findall(r"^[\w.-]+==.*(?= \\$)", (project / "requirements.lock").read_text(), re.MULTILINE)
                (project / "pins.txt").write_text("\n".join(pins) + "\n")
                command += ["--constraint", "pins.txt"]
            subprocess.run(command, cwd=project, check=True)
        ours = re.compile(rf"^\./vendor/{re.escape(name)} \\\n +--hash=\S+", re.MULTILINE)
        return {lock.name: ours.sub(MARK, lock.read_text()) for lock in sorted(project.glob("requirements*.lock"))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upgrade", action="store_true", help="take newer versions where there are some")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a lock would change")
    options = parser.parse_args()

    changed = []
    for name, text in remake(options.upgrade).items():
        path = TEMPLATE / name
        if not path.exists() or path.read_text() != text:
            changed.append(name)
            if not options.check:
                path.write_text(text)
    if options.check and changed:
        print(f"{', '.join(changed)}: out of date; run: python scripts/template_lock.py")
        return 1
    print(f"{len(changed)} locks changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
