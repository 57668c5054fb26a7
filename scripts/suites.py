"""What `make test` and `make test-all` run: each step with its time, and what could not run by name and reason.

    python scripts/suites.py quick    every test, every drill in its quick form
    python scripts/suites.py full     the checks, every drill at full length, the sabotages, a clone as an ordinary user

Exit code 0 if all held. What cannot run on this machine is listed at the end; that is no failure on a
developer's machine, and one with CI=true. A drill says so with exit code 77, its reason in its last line.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CANNOT_RUN = 77  # the exit code that automake gave this meaning


class Step(NamedTuple):
    name: str
    command: list[str]
    seconds: float  # it is ended after this time
    quick: str = "0"  # QUICK of its environment


class Result(NamedTuple):
    name: str
    outcome: str  # held · failed · cannot run
    detail: str
    seconds: float


def drills() -> list[str]:
    return sorted(path.stem for path in (ROOT / "drills").glob("*.py") if path.stem != "sabotage")


def quick(report: Path) -> list[Step]:
    python = sys.executable
    tests = Step("tests", [python, "-m", "pytest", "-q", "--durations=10", f"--junit-xml={report}"], 480)
    return [tests] + [Step(f"drill {name}, quick", [python, f"drills/{name}.py"], 120, "1") for name in drills()]


def full(_: Path) -> list[Step]:
    python = sys.executable
    return [
        Step("check", ["make", "--no-print-directory", "check"], 300),
        *(Step(f"drill {name}", [python, f"drills/{name}.py"], 600) for name in drills()),
        Step("sabotage", [python, "drills/sabotage.py"], 1_500),
        Step("fresh clone, ordinary user", [python, "scripts/ordinary_user.py"], 1_260),
    ]


def run(step: Step) -> Result:
    print(f"\n── {step.name}: {shlex.join(step.command)}", flush=True)
    began = time.monotonic()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "QUICK": step.quick}
    # A group of its own, so that what takes too long ends with everything it started.
    process = subprocess.Popen(
        step.command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    alarm = Alarm(process, step.seconds)
    tail = b""
    try:
        assert process.stdout is not None
        # As it comes, not line by line: dots and bars are progress.
        while chunk := os.read(process.stdout.fileno(), 65_536):
            sys.stdout.buffer.write(chunk)
            sys.stdout.flush()
            tail = (tail + chunk)[-4_096:]
        code = process.wait()
    except KeyboardInterrupt:
        alarm.end(signal.SIGINT)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            alarm.end(signal.SIGKILL)
        raise
    finally:
        alarm.cancel()
    seconds = time.monotonic() - began
    last = next((line.strip() for line in reversed(tail.decode(errors="replace").splitlines()) if line.strip()), "")
    if alarm.rang:
        return Result(step.name, "failed", f"ended after {step.seconds:.0f} s", seconds)
    if code == CANNOT_RUN:
        return Result(step.name, "cannot run", last, seconds)
    return Result(step.name, "held" if code == 0 else "failed", last, seconds)


class Alarm:
    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self.process, self.rang = process, False
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True
        self._timer.start()

    def _ring(self) -> None:
        self.rang = True
        self.end(signal.SIGKILL)

    def end(self, number: int) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def cancel(self) -> None:
        self._timer.cancel()


def counted(report: Path) -> tuple[int, int, list[tuple[str, str]]]:
    """Tests passed, tests failed, and those skipped with their reasons."""
    if not report.exists():
        return 0, 0, []
    passed, failed, skipped = 0, 0, []
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname', '').replace('.', '/')}::{case.get('name')}"
        if (skip := case.find("skipped")) is not None:
            skipped.append((name, skip.get("message") or "no reason given"))
        elif case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        else:
            passed += 1
    return passed, failed, skipped


def summary(kind: str, results: list[Result], report: Path) -> int:
    passed, failed, skipped = counted(report)
    missing = skipped + [(each.name, each.detail) for each in results if each.outcome == "cannot run"]
    print(f"\n── make {'test' if kind == 'quick' else 'test-all'}")
    for each in results:
        print(f"  {each.outcome:11}{each.seconds:7.1f} s  {each.name}: {each.detail[:150]}")
    if missing:
        print("  not run on this machine:")
        for name, reason in missing:
            print(f"    {name}: {reason}")
    passed += sum(each.outcome == "held" and each.name != "tests" for each in results)
    broken = [each for each in results if each.outcome == "failed"]
    failed += sum(each.name != "tests" or not failed for each in broken)
    # What did not run proves nothing, so CI must not be green with it.
    strict = bool(missing) and os.environ.get("CI", "").lower() == "true"
    print(f"{kind}: {passed} passed, {failed} failed" + (f", {len(missing)} skipped" if missing else ""), flush=True)
    return 1 if failed or strict or not passed else 0


def main(arguments: list[str]) -> int:
    if arguments not in (["quick"], ["full"]):
        print("usage: suites.py quick | full", file=sys.stderr)
        return 2
    kind = arguments[0]
    # CI's own time limit sends SIGTERM: end the step that runs, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="fivenines-suites-") as folder:
        report = Path(folder) / "tests.xml"
        try:
            results = [run(step) for step in (quick if kind == "quick" else full)(report)]
        except KeyboardInterrupt:
            return 130
        return summary(kind, results, report)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
