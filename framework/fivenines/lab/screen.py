"""What a drill prints: lines that stay, one line that moves on a terminal, and a table of figures."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable

_BAR = 24


class Screen:
    """Plain lines everywhere; on a terminal a progress line that is drawn over as well."""

    def __init__(self, output: TextIO | None = None, *, every: float = 5.0) -> None:
        self._output = output or sys.stdout
        self._live = self._output.isatty()
        self._every = every  # seconds between progress lines where none can be drawn over
        self._drawn = False
        self._last = 0.0

    @property
    def interactive(self) -> bool:
        """Whether somebody may be looking."""
        return self._live

    def say(self, line: str = "") -> None:
        """A line that stays."""
        self._erase()
        print(line, file=self._output, flush=True)

    def progress(self, done: int, total: int, text: str) -> None:
        """How far it is."""
        now = time.monotonic()
        if self._live:
            filled = _BAR * min(done, total) // max(total, 1)
            self._erase()
            line = f"  [{'#' * filled}{'.' * (_BAR - filled)}] {text}"
            # A line that wraps could not be drawn over.
            self._output.write(line[: shutil.get_terminal_size().columns - 1])
            self._output.flush()
            self._drawn = True
        elif now - self._last >= self._every:
            self._last = now
            self.say(f"  {text}")

    def table(self, rows: Iterable[tuple[str, str]]) -> None:
        """Names to the left, figures to the right of them."""
        rows = list(rows)
        width = max(len(name) for name, _ in rows)
        self.say()
        for name, figure in rows:
            self.say(f"  {name:<{width}}  {figure}")
        self.say()

    def _erase(self) -> None:
        if self._drawn:
            self._output.write("\r\x1b[K")
            self._drawn = False
