"""Break the code on purpose and see the drills notice: a drill that was never seen to fail proves nothing.

    make sabotage              every drill
    make sabotage NAME=lane    one drill

Beside each drill stands `<drill>.sabotage.toml`: what to change, one change at a time. Each is made in a copy
of the repository; the drill, in its quick form, must then say `FELL SHORT` and exit with 1. It must hold in a
copy that was not changed, and a change whose text is no longer in the source is a failure too.

    [[sabotage]]
    name = "a lost reply is asked for again"
    file = "fivenines/store/_lane.py"     # below framework/, or below the repository
    old = "…"                             # stands in the file exactly once
    new = "…"
    says = "doubled"                      # optional: stands in the drill's last line, which may fall short
                                          # for another reason, such as a port that somebody took
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

DRILLS = Path(__file__).resolve().parent
ROOT = DRILLS.parent
# What the copy does without: made by tools, large, or the history.
LEFT_OUT = (".git", ".venv", "build", "dist", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache")
SECONDS = 120  # longer than any quick drill takes, even on a busy machine


class Sabotage(NamedTuple):
    drill: str
    command: list[str]  # Python's arguments; the drill itself where the file names no other
    name: str
    file: str
    old: str
    new: str
    says: str = ""


class Run(NamedTuple):
    code: int | None  # None: it took too long
    last: str
    seconds: float

    @property
    def held(self) -> bool:
        return self.code == 0 and "FELL SHORT" not in self.last

    def noticed(self, says: str) -> bool:
        return self.code == 1 and "FELL SHORT" in self.last and says in self.last


def load(drill: str, drills: Path = DRILLS) -> list[Sabotage]:
    content = tomllib.loads((drills / f"{drill}.sabotage.toml").read_text())
    command = content.get("command", [f"drills/{drill}.py"])
    return [Sabotage(drill, command, **entry) for entry in content["sabotage"]]


def check(sabotages: list[Sabotage], root: Path = ROOT) -> list[str]:
    """What is wrong with the descriptions themselves; takes no time, so it is told before anything runs."""
    problems = []
    for each in sabotages:
        try:
            sabotaged(each, root)
        except (ValueError, OSError) as error:
            problems.append(f"{each.drill}, {each.name}: {error}")
    return problems


def locate(file: str, root: Path) -> Path:
    below = root / "framework" / file
    return below if below.exists() else root / file


def sabotaged(each: Sabotage, root: Path) -> str:
    """The file's text with the change made."""
    source = locate(each.file, root).read_text()
    if (count := source.count(each.old)) != 1:
        raise ValueError(f"its text stands {count} times in {each.file}, not once")
    changed = source.replace(each.old, each.new)
    if each.file.endswith(".py"):
        try:
            compile(changed, each.file, "exec")
        except SyntaxError as error:
            raise ValueError(f"what it makes of {each.file} is no Python: {error}") from None
    return changed


@contextlib.contextmanager
def copy_of(root: Path):
    with tempfile.TemporaryDirectory(prefix="fivenines-sabotage-") as folder:
        copy = Path(folder) / "repository"
        shutil.copytree(root, copy, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
        yield copy


def run(command: list[str], copy: Path) -> Run:
    """The drill as it would run in that copy: its framework comes first, in children too."""
    path = os.pathsep.join(filter(None, [str(copy / "framework"), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "QUICK": "1", "CI": "true", "PYTHONUNBUFFERED": "1"}
    began = time.monotonic()
    drill = subprocess.Popen(
        [sys.executable, *command],
        cwd=copy, env=environment, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = drill.communicate(timeout=SECONDS)
        code: int | None = drill.returncode
    except subprocess.TimeoutExpired:
        os.killpg(drill.pid, signal.SIGKILL)
        output, _ = drill.communicate()
        code = None
    lines = [line for line in output.splitlines() if line.strip()]
    return Run(code, lines[-1].strip() if lines else "(printed nothing)", time.monotonic() - began)


def main(names: list[str]) -> int:
    known = sorted(path.name.split(".")[0] for path in DRILLS.glob("*.sabotage.toml"))
    if unknown := [name for name in names if name not in known]:
        print(f"no sabotage for {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    sabotages = [each for drill in names or known for each in load(drill)]
    problems = check(sabotages)
    for problem in problems:
        print(problem)
    noticed = 0
    for drill in names or known:
        mine = [each for each in sabotages if each.drill == drill]
        print(f"\n{drill}", flush=True)
        with copy_of(ROOT) as copy:
            untouched = run(mine[0].command, copy)
        report(untouched.held, untouched, "untouched: holds")
        if not untouched.held:
            problems.append(f"{drill} does not hold before anything is broken")
            continue
        for each in mine:
            if any(problem.startswith(f"{drill}, {each.name}:") for problem in problems):
                continue
            with copy_of(ROOT) as copy:
                locate(each.file, copy).write_text(sabotaged(each, copy))
                result = run(each.command, copy)
            report(result.noticed(each.says), result, each.name)
            noticed += result.noticed(each.says)
    print(f"\nsabotage: {noticed} of {len(sabotages)} noticed", flush=True)
    return 0 if noticed == len(sabotages) and not problems else 1


def report(good: bool, result: Run, name: str) -> None:
    print(f"  {'yes' if good else 'NO ':4}{result.seconds:6.1f} s  {name}", flush=True)
    if not good:
        ending = "took too long" if result.code is None else f"exit {result.code}"
        print(f"      {ending}; last line: {result.last[:160]}", flush=True)
    else:
        print(f"      {result.last[:160]}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
