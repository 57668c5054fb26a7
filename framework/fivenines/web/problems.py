"""Errors as HTTP answers: `application/problem+json` (RFC 9457), made in one place.

It is used twice: as exception handler, for what Starlette raises inside its router, and by the Problems stage for
everything else. A handler that the service registered itself wins. An answer never names an exception, a module or a
product.
"""

from __future__ import annotations

import inspect
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fivenines.codecs import encode
from fivenines.errors import ConfigurationError, FiveNinesError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import Response

CONTENT_TYPE = "application/problem+json"
# A relative reference (RFC 9457, section 3.1.1): a service's problems live under its own origin.
TYPE_PREFIX = "/problems/"
_DETAILS = {
    404: "Nothing is here.",
    405: "This path does not answer this method; Allow names those it does.",
    500: "Something went wrong on this side.",
}


def problem(
    status: int,
    *,
    type: str,
    title: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, object] | None = None,
) -> Response:
    """A problem document as a response."""
    from starlette.responses import Response

    document = {
        "type": TYPE_PREFIX + type,
        "title": title,
        "status": status,
        "detail": detail,
        **(members or {}),
    }
    return Response(
        encode(document),
        status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        media_type=CONTENT_TYPE,
    )


def not_found() -> Response:
    """404, for what no router has looked at."""
    return problem(404, type="not-found", title="Not Found", detail=_DETAILS[404])


def method_not_allowed(allow: str) -> Response:
    """405, for what no router has looked at."""
    title = "Method Not Allowed"
    return problem(405, type="method-not-allowed", title=title, detail=_DETAILS[405], headers={"Allow": allow})


def answer(error: BaseException) -> Response:
    """The response for an error; whatever is not meant for callers becomes a bare 500."""
    if isinstance(error, FiveNinesError) and not isinstance(error, ConfigurationError) and error.status != 500:
        headers = dict(error.headers)
        if error.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
        # Not str(error): that may tell more, for the log.
        detail = str(error.args[0]) if error.args else error.title
        return problem(
            error.status,
            type=error.type,
            title=error.title,
            detail=detail,
            headers=headers,
            members=error.members(),
        )
    return problem(500, type="internal-error", title="Internal server error", detail=_DETAILS[500])


def answer_http_exception(error: HTTPException) -> Response:
    """The response for Starlette's own exception: 404, 405 and whatever a handler raised."""
    from starlette.responses import Response

    status, headers = error.status_code, error.headers
    if status in {204, 304} or status < 200:
        return Response(status_code=status, headers=headers)
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    detail: Any = error.detail
    members: dict[str, object] = {}
    if not isinstance(detail, str):  # FastAPI lets detail be any JSON
        members["errors"], detail = detail, title
    if detail == title:
        detail = _DETAILS.get(status, title)
    if status == 401 and not any(name.lower() == "www-authenticate" for name in headers or ()):
        headers = {**(headers or {}), "WWW-Authenticate": 'Session realm="service"'}
    return problem(
        status,
        type=title.lower().replace(" ", "-"),
        title=title,
        detail=detail,
        headers=headers,
        members=members,
    )


async def on_framework_error(request: Request, error: Exception) -> Response:
    """Exception handler for FiveNinesError."""
    return answer(error)


async def on_unexpected_error(request: Request, error: Exception) -> Response:
    """Exception handler for everything else."""
    return answer(error)


def final(handler: Any) -> Any:
    """A handler for everything else, as Starlette's ServerErrorMiddleware takes it.

    That one answers and then raises the error all the same; the mark tells our Problems stage that it was answered.
    """

    async def marking(request: Request, error: Exception) -> Response:
        from starlette.concurrency import run_in_threadpool

        request.scope["fivenines.answered"] = True
        if inspect.iscoroutinefunction(handler):
            response: Response = await handler(request, error)
        else:
            response = await run_in_threadpool(handler, request, error)
        return response

    return marking


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Exception handler for Starlette's HTTPException."""
    http_exception: Any = error
    return answer_http_exception(http_exception)


async def on_request_validation_error(request: Request, error: Exception) -> Response:
    """Exception handler for FastAPI's RequestValidationError: 422 with a list of fields."""
    validation: Any = error
    errors = [
        {
            "field": ".".join(str(part) for part in item["loc"][1:]) or str(item["loc"][0]),
            "message": item["msg"],
        }
        for item in validation.errors()
    ]
    if any(item["type"] == "json_invalid" for item in validation.errors()):
        return problem(400, type="malformed-body", title="Malformed body", detail="The body is not valid JSON.")
    return problem(
        422,
        type="validation-failed",
        title="Validation failed",
        detail="Some fields are not acceptable; see errors.",
        members={"errors": errors},
    )
