# mypy: allow-untyped-calls
"""gunicorn's own log, sent where all the rest of the process's log goes, in the same form."""

from __future__ import annotations

from typing import Any

from gunicorn.glogging import Logger


class Log(Logger):
    """Leaves the lines of gunicorn to the root logger, which `fivenines.observe.logging` has set up."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.propagate = True
