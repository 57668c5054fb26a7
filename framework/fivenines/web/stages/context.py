"""Who asks, under which id, in which replica: everything below reads it from here."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Protocol

from fivenines._runtime import runtime_variable
from fivenines.context import RequestInfo, request_variable
from fivenines.web.exchange import KEY, Exchange
from fivenines.web.forwarded import Proxies, is_forwarding
from fivenines.web.probes import PATHS, answer_probe
from fivenines.web.problems import not_found

if TYPE_CHECKING:
    from fivenines._types import ASGIApp, Receive, Scope, Send
    from fivenines.web.replica import Replica

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
# W3C Trace Context, section 3.2: version 00 has exactly these four fields; ids of zeros alone are invalid.
_TRACEPARENT = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")


class Replicas(Protocol):
    """Where the replica is found; asked anew for every request, since it exists from lifespan to lifespan."""

    def starting(self, scope: Scope) -> None:
        """A lifespan begins, with this scope."""
        ...

    def current(self) -> Replica:
        """The replica that runs. Raises RuntimeError where none does."""
        ...


class RequestContext:
    """Binds the replica and the request to the context, names the client, and answers the probes.

    Probes are answered here, before the stages that may refuse: a replica that sheds or drains still says so.
    """

    def __init__(self, app: ASGIApp, replicas: Replicas) -> None:
        self.app = app
        self.replicas = replicas

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self.replicas.starting(scope)
            return await self.app(scope, receive, send)
        replica = self.replicas.current()
        if scope["type"] == "http":
            if scope["path"] in PATHS:
                return await answer_probe(replica.monitor, scope, receive, send, closing=replica.lifecycle.draining)
            if replica.is_admin(scope):
                # The admin port serves the probes and nothing of the public service.
                return await not_found()(scope, receive, send)
        elif replica.is_admin(scope):
            return await send({"type": "websocket.close", "code": 1008})
        info = _request_info(scope, replica.proxies)
        exchange = scope[KEY] = Exchange(info, replica.runtime, send)
        exchange.headers.append((b"x-request-id", info.request_id.encode()))
        request_token = request_variable.set(info)
        runtime_token = runtime_variable.set(replica.runtime)
        try:
            await self.app(scope, receive, exchange.send)
        finally:
            runtime_variable.reset(runtime_token)
            request_variable.reset(request_token)


def _request_info(scope: Scope, proxies: Proxies) -> RequestInfo:
    info = RequestInfo(scope.get("method", "GET"), scope["path"])
    peer = scope.get("client")
    host = peer[0] if peer else None
    headers = scope["headers"]
    info.trusted = proxies.trusts(host)
    info.client, info.scheme = host or "", scope["scheme"]
    forwarded = False
    for name, value in headers:
        if name == b"x-request-id":
            if _REQUEST_ID.fullmatch(value):
                info.request_id = value.decode()
        elif name == b"traceparent":
            if match := _TRACEPARENT.fullmatch(value):
                info.trace_id, info.parent_id, info.trace_flags = (part.decode() for part in match.groups())
        elif is_forwarding(name):
            forwarded = True
    if forwarded and info.trusted:
        client, scheme = proxies.client_and_scheme(headers)
        if client is not None:
            info.client = client
            scope["client"] = (client, 0)
        if scheme is not None:
            info.scheme = scope["scheme"] = _same_protocol(scheme, scope["type"])
    elif forwarded:
        scope["headers"] = [header for header in headers if not is_forwarding(header[0])]
    random = os.urandom(24).hex()
    info.span_id = random[:16]
    info.trace_id = info.trace_id or random[16:48]
    info.request_id = info.request_id or info.trace_id
    return info


def _same_protocol(scheme: str, scope_type: str) -> str:
    """A proxy may say https of a WebSocket; ASGI says wss."""
    secure = scheme in ("https", "wss")
    if scope_type == "websocket":
        return "wss" if secure else "ws"
    return "https" if secure else "http"
