"""/livez, /readyz and /startupz, answered before anything else can stand in their way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fivenines.codecs import encode
from fivenines.health import Health, Monitor
from fivenines.web.problems import method_not_allowed

if TYPE_CHECKING:
    from collections.abc import Callable

    from fivenines._types import Receive, Scope, Send

PATHS: dict[str, Callable[[Monitor], Health]] = {
    "/livez": Monitor.live,
    "/readyz": Monitor.ready,
    "/startupz": Monitor.started,
}


async def answer_probe(monitor: Monitor, scope: Scope, receive: Receive, send: Send, *, closing: bool) -> None:
    """Answer a probe as `application/health+json`; GET and HEAD only."""
    if scope["method"] not in ("GET", "HEAD"):
        return await method_not_allowed("GET, HEAD")(scope, receive, send)
    health = PATHS[scope["path"]](monitor)
    body = encode({"status": health.status} | ({"output": health.output} if health.output else {}))
    headers = [
        (b"cache-control", b"no-store"),
        (b"content-type", b"application/health+json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if health.http_status == 503:
        headers.append((b"retry-after", b"1"))
    if closing:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": health.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
