"""The demo's verdict is FELL SHORT for each thing that did not hold, and its output fits where it goes."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fivenines.lab.capacity import Drain
from fivenines.lab.demo import Findings
from fivenines.lab.screen import Screen
from fivenines.lab.traffic import Books

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _drain() -> Drain:
    return Drain("replica1", unready_after=0.02, served=5, served_for=1.0)


def _findings() -> Findings:
    """A run of ten reads and two orders in which everything held."""
    books = Books(orders_answered=2, orders_listed=2, logins=1)
    for _ in range(10):
        _request(books, 200)
    return Findings(books, [_drain()], 2, 1.0, 0.0, 3.0, 10)


def _request(books: Books, status: int | None, method: str = "GET", *, keyed: bool = False) -> None:
    entry = books.ledger.open(method, "/", keyed=keyed)
    entry.status, entry.end, entry.tries = status, entry.start + 0.01, 1


def test_run_in_which_everything_held() -> None:
    """The last line names what was counted."""
    assert _findings().verdict() == "demo: held, 10 requests, 0 lost, 2 orders once each"


def test_write_without_key_that_ended_with_an_error_is_no_fault() -> None:
    """Nobody may repeat it, its caller was told, and the table shows it."""
    findings = _findings()
    _request(findings.books, 502, "POST")

    assert findings.faults() == []
    assert ("final errors, none repeatable", "1 x 502") in findings.rows()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: _request(f.books, None), "1 lost"),
        (lambda f: _request(f.books, 503), "1 repeatable requests ended with an error"),
        (lambda f: _request(f.books, 502, "POST", keyed=True), "1 repeatable requests ended with an error"),
        (lambda f: f.books.complaints.append("wrong"), "1 answers against the contract"),
        (lambda f: setattr(f.books, "sessions_lost", 3), "3 sessions lost"),
        (lambda f: setattr(f.books, "orders_missing", 1), "1 acknowledged orders missing"),
        (lambda f: setattr(f.books, "orders_doubled", 1), "1 orders made twice"),
        (lambda f: setattr(f, "in_ledger", 3), "1 orders differ between lists and ledger"),
        (lambda f: setattr(f, "seconds_none", 0.4), "0.4 s without any ready replica"),
        (lambda f: setattr(f, "requests_wanted", 11), "1 requests too few"),
        (lambda f: f.drains.append(replace(_drain(), unready_after=None)), "without /readyz 503"),
        (lambda f: f.drains.append(replace(_drain(), served_for=0.1)), "stopped serving before their drain"),
        (lambda f: f.drains.append(replace(_drain(), live=False)), "failed /livez"),
        (lambda f: f.drains.append(replace(_drain(), kept_open=2)), "2 answers in a drain without"),
    ],
)
def test_each_fault_is_told(spoil: Callable[[Findings], None], says: str) -> None:
    """One is enough."""
    findings = _findings()
    spoil(findings)

    assert findings.verdict().startswith("demo: FELL SHORT, ")
    assert says in findings.verdict()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_drawn_over_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line that never wraps, and lines that stay are not mixed with it."""
    monkeypatch.setenv("COLUMNS", "40")
    terminal = _Terminal()
    screen = Screen(terminal)

    screen.progress(1, 2, "half of everything that there is to do")
    screen.say("SIGKILL")

    drawn, said = terminal.getvalue().split("\r\x1b[K")
    assert len(drawn) == 39
    assert drawn.startswith("  [############............] half")
    assert said == "SIGKILL\n"


def test_progress_is_a_line_now_and_then_elsewhere() -> None:
    """A log is not flooded and has no control characters."""
    output = io.StringIO()
    screen = Screen(output, every=3600)

    for done in range(50):
        screen.progress(done, 50, f"{done} done")
    screen.table([("requests", "50"), ("lost", "0")])

    assert output.getvalue() == "  0 done\n\n  requests  50\n  lost      0\n\n"


def test_service_folder_that_is_none_is_told(tmp_path: Path) -> None:
    """One line, exit code 2, nothing left behind."""
    done = subprocess.run(
        [sys.executable, "-m", "fivenines.lab.demo", "--service", "nowhere"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert done.stderr == "demo: --service nowhere is no folder: name the one that app.py is in\n"
    assert list(tmp_path.iterdir()) == []
