"""Who is calling: logging in and out, and a counter that lives in the session."""

from __future__ import annotations

from typing import Annotated, cast

import msgspec
from fivenines import Session, authenticated
from fivenines.web.body import read_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .settings import Settings


class Login(msgspec.Struct):
    user: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}\Z")]


def session_of(request: Request) -> Session:
    """The request's session, by its type: Starlette declares a plain dict."""
    return cast("Session", request.session)


def user_of(request: Request) -> str:
    """Who is logged in. Only for handlers that are @authenticated."""
    user = session_of(request).principal
    assert user is not None
    return user


def demo_routes(settings: Settings) -> list[Route]:
    """POST /login, where the settings allow it: a login without a password has no place in production."""
    return [Route("/login", login, methods=["POST"])] if settings.demo_login else []


async def login(request: Request) -> JSONResponse:
    body = await read_json(request, Login)
    session = session_of(request)
    await session.login(body.user)
    session["visits"] = 0
    return JSONResponse({"user": body.user})


@authenticated
async def logout(request: Request) -> Response:
    await session_of(request).logout()
    return Response(status_code=204)


@authenticated
async def logout_everywhere(request: Request) -> Response:
    await session_of(request).logout_everywhere()
    return Response(status_code=204)


@authenticated
async def me(request: Request) -> JSONResponse:
    return JSONResponse({"user": user_of(request), "visits": session_of(request).get("visits", 0)})


@authenticated
async def count_visit(request: Request) -> JSONResponse:
    # One atomic step in Redis: two visits at once, on two replicas, count as two.
    return JSONResponse({"visits": await session_of(request).increment("visits")})
