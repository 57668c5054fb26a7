"""Development only: a file that cannot be loaded shows its traceback until the next save."""

from __future__ import annotations

import traceback
from typing import Any


def error_app(error: BaseException, reloader: Any, log: Any) -> Any:
    """An application that answers everything with this error; its files are watched for a change.

    A module whose import failed is not in sys.modules, so gunicorn's reloader would not look at it.
    """
    log.error("not loaded, waiting for a change: %s", error, exc_info=error)
    for path in _files(error):
        reloader.add_extra_file(path)
    body = "".join(traceback.format_exception(error)).encode()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
        elif scope["type"] == "http":
            headers = [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"%d" % len(body)),
            ]
            await send({"type": "http.response.start", "status": 500, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return app


def _files(error: BaseException) -> set[str]:
    files = set()
    current: BaseException | None = error
    while current is not None:
        files |= {frame.filename for frame in traceback.extract_tb(current.__traceback__)}
        if isinstance(current, SyntaxError) and current.filename:
            files.add(current.filename)
        current = current.__cause__
    return {path for path in files if not path.startswith("<")}
