"""Make `.venv`, or leave it alone when it already is what `requirements.lock` says.

Needs a Python and its pip, nothing else. Every package is checked against the lock's hashes. uv, itself
taken from the lock, does the work in seconds; where it cannot (no wheel for this platform, an index that
only pip can reach), pip does the same in half a minute. A stamp, written last, tells a finished environment
from one that was interrupted: without it the folder is made anew.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - any Python may be the one that `python3` names
    found = "%s is %d.%d" % (sys.executable, *sys.version_info[:2])  # noqa: UP031
    sys.exit("fivenines needs Python 3.11 or newer and " + found + ": name another, as in `make PYTHON=python3.12 …`")

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
# Builds what has no wheel, so it goes in first: `--no-build-isolation` below keeps an unpinned one out.
BUILD = ["setuptools"]


def main() -> int:
    environment = ROOT / ".venv"
    with one_at_a_time():
        return make(environment, environment / "bin" / "python")


def make(environment: Path, python: Path) -> int:
    stamp, wanted = environment / "fivenines.stamp", fingerprint()
    with contextlib.suppress(OSError):
        if stamp.read_text() == wanted and python.exists():
            return 0
    began = time.monotonic()
    say(f"making {environment.name} for Python {sys.version.split()[0]} from {LOCK.name}")
    try:
        if environment.is_symlink() or environment.is_file():
            environment.unlink()
        elif environment.exists():
            say("an unfinished or outdated one is removed first")
            shutil.rmtree(environment)
        with tempfile.TemporaryDirectory(prefix="fivenines-") as folder:
            if not with_uv(Path(folder), environment, python):
                with_pip(Path(folder), environment, python)
        stamp.write_text(wanted)
    except OSError as error:
        return failed(str(error))
    except subprocess.CalledProcessError as error:
        return failed(f"this ended with {error.returncode}: {shlex.join(map(str, error.cmd))}")
    say(f"ready in {time.monotonic() - began:.0f} s")
    return 0


def with_uv(folder: Path, environment: Path, python: Path) -> bool:
    """False where uv could not do it; what it left behind is gone then."""
    settings = uv_settings()
    tools = folder / "uv"
    say("fetching uv")
    # pip's `--target` is allowed in a system Python too, and touches nothing of it.
    fetched = run_pip("install", "--target", tools, *pinned(folder, ["uv"]), check=False)
    if fetched.returncode:
        say("no uv here: pip does it instead")
        return False
    uv = [tools / "bin" / "uv", "--no-progress", "--quiet"]
    install = [*uv, "pip", "install", "--python", python, "--no-deps"]
    # Without isolation a build runs in the environment itself, whose setuptools is the lock's.
    locked = ["--require-hashes", "--no-build-isolation"]
    try:
        # `uv venv` needs neither ensurepip nor the venv module, which some distributions split off.
        run(*uv, "venv", "--no-project", "--python", sys.executable, environment, env=settings)
        say("installing the build tool")
        run(*install, *pinned(folder, BUILD), env=settings)
        say("installing the packages")
        run(*install, *locked, "-r", LOCK, env=settings)
        say("installing fivenines itself, editable")
        run(*install, "--no-build-isolation", "--editable", ROOT, env=settings)
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"uv could not ({error.__class__.__name__}): pip does it instead")
        shutil.rmtree(environment, ignore_errors=True)
        return False
    return True


def with_pip(folder: Path, environment: Path, python: Path) -> None:
    # `--without-pip` works where ensurepip is missing; this Python's pip installs into the other one.
    if importlib.util.find_spec("venv"):
        run(sys.executable, "-m", "venv", "--without-pip", environment)
    else:
        tools = folder / "virtualenv"
        run_pip("install", "--target", tools, *pinned(folder, VIRTUALENV))
        extended = {**os.environ, "PYTHONPATH": str(tools)}
        run(sys.executable, "-m", "virtualenv", "--no-download", "--without-pip", environment, env=extended)
    say("installing the build tool")
    run_pip("install", *pinned(folder, BUILD), python=python)
    say("installing the packages (this takes half a minute)")
    run_pip("install", "--require-hashes", "--no-build-isolation", "-r", LOCK, python=python)
    say("installing fivenines itself, editable")
    run_pip("install", "--no-build-isolation", "--editable", ROOT, python=python)


VIRTUALENV = ["virtualenv", "distlib", "filelock", "platformdirs", "python-discovery"]


def pinned(folder: Path, names: list[str]) -> list[str]:
    """pip's arguments to install just these packages of the lock, hashes and all."""
    blocks = re.split(r"\n(?=[A-Za-z0-9])", LOCK.read_text())
    chosen = [block for block in blocks if re.split(r"[=\s]", block, maxsplit=1)[0] in names]
    missing = set(names) - {re.split(r"[=\s]", block, maxsplit=1)[0] for block in chosen}
    if missing:
        raise OSError(f"{LOCK.name} lacks {', '.join(sorted(missing))}: `make lock` remakes it")
    file = folder / f"{names[0]}.lock"
    file.write_text("\n".join(chosen) + "\n")
    return ["--require-hashes", "-r", str(file)]


def run_pip(*arguments: object, python: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    into = ["--python", python] if python else []
    quiet = ["--quiet", "--quiet", "--no-input", "--disable-pip-version-check"]
    return run(sys.executable, "-m", "pip", *into, *quiet, *arguments, "--no-deps", check=check)


def run(*command: object, env: dict[str, str] | None = None, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(part) for part in command], env=env, check=check, cwd=ROOT)


def uv_settings() -> dict[str, str]:
    """The environment, with what the user told pip (variables and files) said in uv's words."""
    settings = dict(os.environ)
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    told = {}
    # A variable is listed as `:env:.name`, and wins over a file's `global.name` and `install.name`.
    for line in sorted(listed.stdout.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        option = name.rpartition(".")[2]
        if option in PIP_TO_UV:
            words = value.strip("'\"").replace("\\n", " ").split()
            told[PIP_TO_UV[option]] = PIP_SEPARATOR.get(option, " ").join(words)
    settings = told | settings
    # Every file is checked against a hash, so which index it came from makes no difference.
    settings.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    settings["UV_PYTHON_DOWNLOADS"] = "never"
    settings.pop("VIRTUAL_ENV", None)
    return settings


PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "trusted-host": "UV_INSECURE_HOST",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
}
PIP_SEPARATOR = {"find-links": ","}


def fingerprint() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for file in (LOCK, ROOT / "pyproject.toml"):
        digest.update(file.read_bytes())
    # An environment names its own folder in its scripts: one that was moved is not usable.
    return digest.hexdigest() + f" {ROOT}\n"


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two `make` at once in one clone: the second waits, and then finds the work done."""
    with LOCK.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    print(f"environment: {text}", flush=True)


def failed(reason: str) -> int:
    print(f"environment: not made. {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
