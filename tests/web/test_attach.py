"""`attach()` on applications that others made: FastAPI above all."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from fastapi import Request as FastAPIRequest
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from fivenines import Service, attach, authenticated, csrf_exempt
from fivenines.errors import CrossSiteError, RefusedError
from tests.web.conftest import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from fivenines.settings import Settings


class Order(BaseModel):
    item: str
    quantity: int = Field(ge=1)


def logged_in(request: FastAPIRequest) -> str:
    if request.session.principal is None:
        raise HTTPException(401)
    return str(request.session.principal)


def fastapi_application() -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {"from_lifespan": "yes"}

    app = FastAPI(lifespan=lifespan)
    router = APIRouter(prefix="/account")

    @app.post("/login")
    async def login(request: FastAPIRequest, user: str) -> dict[str, str]:
        request.session["visits"] = 0
        await request.session.login(user)
        return {"user": user}

    @router.get("/me")
    async def me(user: Annotated[str, Depends(logged_in)], request: FastAPIRequest) -> dict[str, Any]:
        return {"user": user, "state": request.state.from_lifespan}

    @router.get("/sync")
    @authenticated
    def sync(request: FastAPIRequest) -> dict[str, Any]:
        return {"user": request.session.principal}

    @app.get("/marked")
    @authenticated
    async def marked(request: FastAPIRequest) -> dict[str, Any]:
        return {"user": request.session.principal}

    @app.post("/orders")
    async def order(order: Order) -> Order:
        return order

    @router.post("/hook")
    @csrf_exempt
    async def hook(request: FastAPIRequest) -> str:
        return "took it"

    @app.get("/refused")
    async def refused() -> None:
        raise RefusedError("Come again.", retry_after=3)

    @app.get("/boom")
    async def boom() -> None:
        raise ZeroDivisionError

    app.include_router(router)
    return app


async def test_fastapi_gets_sessions_in_two_replicas(settings_for: Callable[..., Settings]) -> None:
    """Log in at one, be known at the other; Depends and the host's own lifespan state work."""
    settings = settings_for()
    one, two = attach(fastapi_application(), settings), attach(fastapi_application(), settings)
    async with serving(one) as first, serving(two) as second:
        await first.post("/login?user=ada")
        second.cookies = first.cookies
        answers = [(await second.get(path)).json() for path in ("/account/me", "/account/sync", "/marked")]

    assert answers == [{"user": "ada", "state": "yes"}, {"user": "ada"}, {"user": "ada"}]


@pytest.mark.parametrize("path", ["/account/me", "/account/sync", "/marked"])
async def test_fastapi_refuses_who_is_not_logged_in(settings_for: Callable[..., Settings], path: str) -> None:
    """By Depends, and by the mark: on a route of the application and behind include_router."""
    async with serving(attach(fastapi_application(), settings_for())) as client:
        response = await client.get(path)

    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["www-authenticate"]


@pytest.mark.parametrize("path", ["/account/sync", "/marked"])
async def test_fastapi_without_redis_is_503_and_never_401(
    settings_for: Callable[..., Settings], tmp_path: Any, path: str
) -> None:
    """A 401 would log people out."""
    settings = settings_for()
    async with serving(attach(fastapi_application(), settings)) as client:
        await client.post("/login?user=ada")
        cookies = client.cookies
    away = settings_for(redis_url=f"unix://{tmp_path}/none", namespace=settings.namespace)
    async with serving(attach(fastapi_application(), away)) as client:
        client.cookies = cookies
        response = await client.get(path)

    assert response.status_code == 503
    assert response.headers["retry-after"]


async def test_fastapi_errors_are_problem_documents(settings_for: Callable[..., Settings]) -> None:
    """Validation, broken JSON, ours, 404, 405, and what nobody expected."""
    headers = {"content-type": "application/json"}
    async with serving(attach(fastapi_application(), settings_for())) as client:
        invalid = await client.post("/orders", json={"item": "tea", "quantity": 0})
        answers = [
            invalid,
            await client.post("/orders", content=b"{", headers=headers),
            await client.get("/refused"),
            await client.get("/nowhere"),
            await client.delete("/orders"),
            await client.get("/boom"),
        ]

    assert [answer.status_code for answer in answers] == [422, 400, 503, 404, 405, 500]
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    assert invalid.json()["errors"][0]["field"] == "quantity"
    assert answers[2].headers["retry-after"] == "3"


async def test_cross_site_requests_are_refused_but_where_exempt(settings_for: Callable[..., Settings]) -> None:
    """On routes of the application itself; an included router is opaque, so its exemption is not seen: refused."""
    cross = {"Sec-Fetch-Site": "cross-site"}
    async with serving(attach(fastapi_application(), settings_for())) as client:
        await client.post("/login?user=ada")
        refused = await client.post("/orders", json={"item": "tea", "quantity": 1}, headers=cross)

    assert (refused.status_code, refused.json()["title"]) == (403, CrossSiteError.title)


async def test_a_starlette_application_keeps_its_own_handlers(settings_for: Callable[..., Settings]) -> None:
    """What the user registered wins, the last resort too."""

    async def boom(request: Request) -> Response:
        raise ZeroDivisionError

    def mine(request: Request, error: Exception) -> Response:
        return PlainTextResponse("mine", 418)

    app = Starlette(routes=[Route("/", boom)], exception_handlers={404: mine, 500: mine})
    async with serving(attach(app, settings_for())) as client:
        assert [(await client.get(path)).status_code for path in ("/", "/nowhere")] == [418, 418]


class Private(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("private")


async def function(request: Request) -> Response:
    return PlainTextResponse("private")


@pytest.mark.parametrize("endpoint", [Private, function])
@pytest.mark.parametrize("way", ["mounted behind middleware", "rewritten", "opaque", "included", "mounted"])
async def test_what_is_private_is_refused_wherever_the_route_hides(
    settings_for: Callable[..., Settings], way: str, endpoint: Any
) -> None:
    """Functions and class endpoints; where the stage cannot see the mark, the call itself is checked."""
    private = authenticated(endpoint if endpoint is function else type("Endpoint", (Private,), {}))
    inner = Starlette(routes=[Route("/me", private)])

    class Rewrite:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app({**scope, "path": "/me"}, receive, send)

    app: Any
    match way:
        case "mounted behind middleware":
            app = Service([Mount("/", app=CORSMiddleware(inner, allow_origins=["*"]))], settings=settings_for())
        case "rewritten":
            app = Service([Route("/me", private)], settings=settings_for(), middleware=[Middleware(Rewrite)])
        case "opaque":
            app = attach(inner.router, settings_for())
        case "included":
            fastapi, router = FastAPI(), APIRouter()
            router.add_route("/me", private)
            fastapi.include_router(router)
            app = attach(fastapi, settings_for())
        case _:
            app = Service([Mount("/", app=inner)], settings=settings_for())
    async with serving(app) as client:
        response = await client.get("/other" if way == "rewritten" else "/me")

    assert "private" not in response.text
    assert response.status_code == (500 if way == "mounted behind middleware" else 401)


async def test_private_routes_of_an_application_without_us_are_not_served() -> None:
    """Nobody could say who is calling."""
    app = Starlette(routes=[Route("/me", authenticated(function))])
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
        with pytest.raises(RuntimeError, match="attach"):
            await client.get("/me")


async def test_any_asgi_application_is_wrapped(settings_for: Callable[..., Settings]) -> None:
    """Even one that knows nothing of lifespan."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        scope["session"]["seen"] = scope["session"].get("seen", 0) + 1
        await PlainTextResponse(str(scope["session"]["seen"]))(scope, receive, send)

    async with serving(attach(app, settings_for())) as client:
        assert [(await client.get("/")).text for _ in range(3)] == ["1", "2", "3"]
        assert (await client.get("/livez")).status_code == 200


async def test_attaching_too_late_is_refused(settings_for: Callable[..., Settings]) -> None:
    """The stages of a running application cannot be changed."""
    app = Starlette()
    async with serving(app) as client:
        await client.get("/")
    with pytest.raises(RuntimeError, match="too late"):
        attach(app, settings_for())
