"""/livez, /readyz and /startupz, answered before anything else can stand in their way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fivenines.codecs import encode
from fivenines.health import Health, Monitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from fivenines._types import Scope, Send

PATHS: dict[str, Callable[[Monitor], Health]] = {
    "/livez": Monitor.live,
    "/readyz": Monitor.ready,
    "/startupz": Monitor.started,
}


async def answer_probe(monitor: Monitor, scope: Scope, send: Send, *, closing: bool) -> None:
    """Answer a probe as `application/health+json`; GET and HEAD only."""
    headers = [(b"cache-control", b"no-store")]
    if scope["method"] not in ("GET", "HEAD"):
        status, body = 405, b""
        headers.append((b"allow", b"GET, HEAD"))
    else:
        health = PATHS[scope["path"]](monitor)
        status = health.http_status
        document = {"status": health.status} | ({"output": health.output} if health.output else {})
        body = encode(document)
        headers.append((b"content-type", b"application/health+json"))
        if status == 503:
            headers.append((b"retry-after", b"1"))
    if closing:
        headers.append((b"connection", b"close"))
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
