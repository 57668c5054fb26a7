"""Remake `requirements.lock`: one lock for Linux and macOS, Python 3.11 and up, every extra, every tool.

Releases younger than a week are left out, since most that have to be withdrawn are gone by then. The hashes
say which files are meant, so the lock names no index and holds with any mirror.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = "# Made by `make lock` from pyproject.toml: every extra, every tool, Linux and macOS, Python 3.11 up.\n"


def main() -> int:
    compiled = subprocess.run(
        [
            Path(sys.prefix) / "bin" / "uv", "pip", "compile", "pyproject.toml",
            "--universal", "--python-version", "3.11", "--generate-hashes",
            "--all-extras", "--group", "dev", "--exclude-newer", "7 days",
            "--no-header", "--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "--quiet",
            "--allow-unsafe", *sys.argv[1:],
        ],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if compiled.returncode:
        return 1
    lock = ROOT / "requirements.lock"
    lock.write_text(HEAD + compiled.stdout)
    packages = sum("==" in line for line in compiled.stdout.splitlines())
    print(f"{lock.name}: {packages} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
