"""Both commands of the README in a fresh clone, as somebody who is not root and has a home with nothing in it.

Started as root it changes to the account `nobody` (or the one that FIVENINES_ORDINARY_USER names); started by
anybody else it stays who it is. The clone, the home folder and every cache lie in one temporary folder.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CANNOT_RUN = 77
COMMANDS = [(["make", "demo"], 300), (["make", "test"], 900)]


def main() -> int:
    if not (ROOT / ".git").exists():
        print("ordinary user: cannot run, this is no git clone")
        return CANNOT_RUN
    account = pwd.getpwuid(os.geteuid())
    if os.geteuid() == 0:
        wanted = os.environ.get("FIVENINES_ORDINARY_USER", "nobody")
        try:
            account = pwd.getpwnam(wanted)
        except KeyError:
            print(f"ordinary user: cannot run, there is no account {wanted}")
            return CANNOT_RUN
    python = python_for(account)
    if python is None:
        print(f"ordinary user: cannot run, {account.pw_name} can start no Python 3.11 or newer with pip")
        return CANNOT_RUN
    with tempfile.TemporaryDirectory(prefix="fivenines-user-", ignore_cleanup_errors=True) as folder:
        clone, home = Path(folder) / "clone", Path(folder) / "home"
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)], check=True)
        home.mkdir()
        (home / "tmp").mkdir()
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{account.pw_uid}:{account.pw_gid}", folder], check=True)
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("FIVENINES_", "XDG_", "VIRTUAL_ENV", "PYTHON", "UV_"))
        }
        environment |= {
            "HOME": str(home), "USER": account.pw_name, "LOGNAME": account.pw_name, "CI": "true",
            "TMPDIR": str(home / "tmp"), "PYTHON": python,
        }  # fmt: skip
        for command, seconds in COMMANDS:
            began = time.monotonic()
            code = run(command, clone, environment, account, seconds)
            print(f"ordinary user: {' '.join(command)}: exit {code}, {time.monotonic() - began:.0f} s", flush=True)
            if code:
                return 1
    print(f"ordinary user: held, as {account.pw_name} with an empty home")
    return 0


def python_for(account: pwd.struct_passwd) -> str | None:
    """A Python the account may start: root's own often lies in a folder that only root may enter."""
    names = [getattr(sys, "_base_executable", sys.executable), "python3", "/usr/local/bin/python3", "/usr/bin/python3"]
    for name in names:
        path = shutil.which(name)
        if not path:
            continue
        probe = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
        try:
            done = subprocess.run(
                [path, "-c", probe], capture_output=True, timeout=30, check=False, cwd="/", **identity(account)
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return path
    return None


def identity(account: pwd.struct_passwd) -> dict[str, object]:
    if os.geteuid() != 0:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def run(
    command: list[str], folder: Path, environment: dict[str, str], account: pwd.struct_passwd, seconds: float
) -> int:
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, start_new_session=True, **identity(account)
    )
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        print(f"ordinary user: ended after {seconds} s", flush=True)
        return 124


if __name__ == "__main__":
    sys.exit(main())
