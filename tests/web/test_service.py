"""What a request meets on its way through `Service`."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

from fivenines import RefusedError, Service, authenticated, current_request, current_runtime, propagate
from fivenines.errors import ConfigurationError, FiveNinesError
from fivenines.events import RequestFinished
from fivenines.web.body import read_json
from tests.web.conftest import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from fivenines._types import ASGIApp, Receive, Scope, Send
    from fivenines.settings import Settings


class Order(msgspec.Struct, forbid_unknown_fields=True):
    item: str
    quantity: Annotated[int, msgspec.Meta(ge=1)]


async def seen(request: Request) -> Response:
    info = current_request()
    assert info is not None
    forwarded = {name: value for name, value in request.headers.items() if "forwarded" in name}
    return JSONResponse(
        {
            "client": request.client.host if request.client else None,
            "scheme": request.url.scheme,
            "forwarded": forwarded,
            "trace": info.trace_id,
            "traceparent": info.traceparent,
            "request_id": info.request_id,
        }
    )


async def order(request: Request) -> Response:
    return JSONResponse(msgspec.to_builtins(await read_json(request, Order)))


async def boom(request: Request) -> Response:
    raise ZeroDivisionError("secret detail of orders.db")


async def refused(request: Request) -> Response:
    raise RefusedError("Come again.", retry_after=0.2)


async def halfway(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        raise ZeroDivisionError

    return StreamingResponse(chunks())


async def plain(request: Request) -> Response:
    return PlainTextResponse("plain")


@authenticated
async def private(request: Request) -> Response:
    return PlainTextResponse("private")


def routes() -> list[Any]:
    return [
        Route("/seen", seen),
        Route("/orders", order, methods=["POST"]),
        Route("/orders", plain, methods=["GET"]),
        Route("/boom", boom),
        Route("/refused", refused),
        Route("/halfway", halfway),
        Mount("/inner", routes=[Route("/private", private), Route("/plain", plain)]),
    ]


@pytest.fixture
def service(settings_for: Callable[..., Settings]) -> Service:
    return Service(routes(), name="tried", settings=settings_for())


PROBLEMS = [
    ("GET", "/nowhere", {}, 404, "not-found"),
    ("DELETE", "/orders", {}, 405, "method-not-allowed"),
    ("POST", "/orders", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, "unsupported-media-type"),
    ("POST", "/orders", {"content": b"{}"}, 415, "unsupported-media-type"),
    ("POST", "/orders", {"json": {"item": "x" * 1_048_576}}, 413, "body-too-large"),
    ("POST", "/orders", {"content": b"{", "headers": {"content-type": "application/json"}}, 400, "malformed-body"),
    ("POST", "/orders", {"content": b"\xff", "headers": {"content-type": "application/json"}}, 400, "malformed-body"),
    ("POST", "/orders", {"json": {"item": "tea", "quantity": 0}}, 422, "validation-failed"),
    ("GET", "/boom", {}, 500, "internal-error"),
    ("GET", "/refused", {}, 503, "refused"),
    ("GET", "/inner/private", {}, 401, "not-authenticated"),
    ("GET", "/inner/nowhere", {}, 404, "not-found"),
]


@pytest.mark.parametrize(("method", "path", "options", "status", "type"), PROBLEMS)
async def test_every_error_is_a_problem_document(
    service: Service, method: str, path: str, options: dict[str, Any], status: int, type: str
) -> None:
    """RFC 9457, and no word of what went on inside."""
    async with serving(service) as client:
        response = await client.request(method, path, **options)

    document = response.json()
    assert response.status_code == document["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert document["type"] == f"/problems/{type}"
    assert document["title"]
    assert document["detail"]
    assert not re.search(r"Error|fivenines|starlette|redis|orders\.db|Traceback", response.text)
    assert response.headers["x-request-id"]


async def test_a_problem_carries_the_headers_that_belong_to_it(service: Service) -> None:
    """Allow with every method of the path, Retry-After in whole seconds, a challenge, the connection closed."""
    async with serving(service) as client:
        not_allowed = await client.delete("/orders")
        refusal = await client.get("/refused")
        unknown = await client.get("/inner/private")
        too_large = await client.post("/orders", json={"item": "x" * 1_048_576})

    assert {name.strip() for name in not_allowed.headers["allow"].split(",")} == {"GET", "HEAD", "POST"}
    assert refusal.headers["retry-after"] == "1"
    assert unknown.headers["www-authenticate"].startswith("Session")
    assert too_large.headers["connection"] == "close"


async def test_validation_names_the_field(service: Service) -> None:
    """So that a form can show the message in its place."""
    async with serving(service) as client:
        response = await client.post("/orders", json={"item": "tea", "quantity": "2"})

    assert [error["field"] for error in response.json()["errors"]] == ["quantity"]


async def test_a_body_without_a_length_is_cut_at_the_limit(service: Service) -> None:
    """Chunked: nothing is declared, so what has come is counted."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 65_536

    async with serving(service) as client:
        response = await client.post("/orders", content=chunks(), headers={"content-type": "application/json"})

    assert response.status_code == 413


async def test_a_handler_that_the_user_registered_wins(settings_for: Callable[..., Settings]) -> None:
    """For a class of ours, a status, and everything else."""

    async def mine(request: Request, error: Exception) -> Response:
        return PlainTextResponse("mine", 418)

    service = Service(
        routes(), settings=settings_for(), exception_handlers={FiveNinesError: mine, 404: mine, 500: mine}
    )
    async with serving(service) as client:
        statuses = [(await client.get(path)).status_code for path in ("/refused", "/nowhere", "/boom")]

    assert statuses == [418, 418, 418]


async def test_an_error_after_the_first_byte_breaks_the_answer(service: Service) -> None:
    """A short answer that looks whole would be worse: the error reaches the server, which cuts the connection."""
    async with serving(service):
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

        async def send(message: Any) -> None:
            sent.append(message)

        with pytest.raises(ZeroDivisionError):
            await service(http_scope("/halfway"), receive, send)

    assert not any(message["type"] == "http.response.body" and not message.get("more_body") for message in sent)


def http_scope(path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Proto": "https",
    "Forwarded": "for=6.6.6.6",
    "X-Real-IP": "6.6.6.6",
}


async def test_forwarding_headers_of_strangers_are_dropped(service: Service) -> None:
    """They change neither client nor scheme, and no handler sees them."""
    async with serving(service, client=("203.0.113.9", 1)) as client:
        body = (await client.get("/seen", headers=FORGED)).json()

    assert (body["client"], body["scheme"], body["forwarded"]) == ("203.0.113.9", "http", {})


async def test_a_trusted_proxy_is_believed_up_to_the_first_stranger(service: Service) -> None:
    """The rightmost hop that is not trusted is the client; what stands left of it, that client wrote."""
    headers = {"X-Forwarded-For": "6.6.6.6, 198.51.100.7, 127.0.0.1", "X-Forwarded-Proto": "https"}
    async with serving(service) as client:
        body = (await client.get("/seen", headers=headers)).json()

    assert (body["client"], body["scheme"]) == ("198.51.100.7", "https")


async def test_ids_are_taken_over_where_they_are_well_formed(service: Service) -> None:
    """And replaced where they are not."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    good = {"X-Request-Id": "abc-1.2_3", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    bad = {"X-Request-Id": "x" * 65, "traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"}
    async with serving(service) as client:
        kept = await client.get("/seen", headers=good)
        replaced = await client.get("/seen", headers=bad)

    assert kept.headers["x-request-id"] == kept.json()["request_id"] == "abc-1.2_3"
    assert kept.json()["trace"] == trace
    assert kept.json()["traceparent"].split("-")[2] != "00f067aa0ba902b7"
    assert re.fullmatch(r"[0-9a-f]{32}", replaced.headers["x-request-id"])
    assert replaced.json()["trace"] != "0" * 32


async def test_one_event_a_request_with_its_final_status(service: Service) -> None:
    """Refusals and failures too, with the route's template."""
    events: list[RequestFinished] = []
    service.subscribe(RequestFinished, events.append)
    async with serving(service) as client:
        for path in ("/orders", "/nowhere", "/boom", "/inner/plain"):
            await client.get(path)

    assert [(event.route, event.status) for event in events] == [
        ("/orders", 200),
        (None, 404),
        ("/boom", 500),
        ("/inner/plain", 200),
    ]
    assert isinstance(events[2].error, ZeroDivisionError)


async def test_an_anonymous_request_costs_no_flight(settings_for: Callable[..., Settings]) -> None:
    """Server-Timing says so in debug, and only there."""
    async with serving(Service(routes(), settings=settings_for(debug="on"))) as client:
        debug = await client.get("/orders")
    async with serving(Service(routes(), settings=settings_for())) as client:
        quiet = await client.get("/orders")

    assert 'store;desc="0 flights"' in debug.headers["server-timing"]
    assert "server-timing" not in quiet.headers


async def test_edge_middleware_stands_outside_and_middleware_inside(settings_for: Callable[..., Settings]) -> None:
    """The inner one finds the session; the outer one sees even what we refuse."""
    order: list[tuple[str, bool]] = []

    class Noting:
        def __init__(self, app: ASGIApp, name: str) -> None:
            self.app, self.name = app, name

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                order.append((self.name, "session" in scope))
            await self.app(scope, receive, send)

    service = Service(
        routes(),
        settings=settings_for(),
        middleware=[Middleware(Noting, name="inner")],
        edge_middleware=[Middleware(Noting, name="edge")],
    )
    async with serving(service) as client:
        await client.get("/orders")

    assert order == [("edge", False), ("inner", True)]


async def test_a_middleware_may_rewrite_the_path(settings_for: Callable[..., Settings]) -> None:
    """Then the early match is worth nothing, and the router matches anew."""

    class Rewrite:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                scope = {**scope, "path": "/orders"}
            await self.app(scope, receive, send)

    async with serving(Service(routes(), settings=settings_for(), middleware=[Middleware(Rewrite)])) as client:
        assert (await client.get("/boom")).text == "plain"


async def test_two_replicas_in_one_process_stay_two(settings_for: Callable[..., Settings]) -> None:
    """A decorated function finds the runtime of the request it runs in, in a worker thread as well."""

    async def which(request: Request) -> Response:
        import anyio.to_thread

        name = await anyio.to_thread.run_sync(propagate(lambda: current_runtime().settings.name))
        return PlainTextResponse(name)

    def make(name: str) -> Service:
        return Service([Route("/", which)], settings=settings_for(name=name))

    async with serving(make("one")) as one, serving(make("two")) as two:
        names = await asyncio.gather(*(client.get("/") for client in (one, two) * 5))

    assert [response.text for response in names] == ["one", "two"] * 5


async def test_outside_of_a_replica_the_error_names_the_cure() -> None:
    """`current_runtime()` in a script."""
    with pytest.raises(RuntimeError, match=r"service\.runtime\(\)"):
        current_runtime()


async def test_runtime_serves_scripts(service: Service) -> None:
    """A replica without a server."""
    async with service.runtime() as runtime:
        assert current_runtime() is runtime
        assert await runtime.store.do("PING") == b"PONG"


@pytest.mark.parametrize(
    ("path", "location"), [("/orders/?a=1", "/orders?a=1"), ("/sub", "/sub/"), ("//evil.example/", None)]
)
async def test_a_redirect_to_the_other_slash_is_relative(
    settings_for: Callable[..., Settings], path: str, location: str | None
) -> None:
    """Host is the caller's word: it must not end up in a Location that a cache may keep."""
    service = Service([Route("/orders", plain), Route("/sub/", plain)], settings=settings_for())
    async with serving(service) as client:
        response = await client.get(f"http://evil.example{path}")

    assert (response.status_code, response.headers.get("location")) == (307 if location else 404, location)


async def test_a_mounted_application_answers_errors_as_we_do(settings_for: Callable[..., Settings]) -> None:
    """Its own error middleware stands inside of our stages."""
    inner = Starlette(routes=[Route("/boom", boom), Route("/refused", refused)])
    async with serving(Service([Mount("/inner", app=inner)], settings=settings_for())) as client:
        answers = [await client.get(f"/inner/{path}") for path in ("boom", "refused", "nowhere")]

    assert [answer.status_code for answer in answers] == [500, 503, 404]
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}


@pytest.mark.parametrize("away", ["?username=nobody&password=hunter2", "/refused"])
async def test_redis_that_lets_nobody_in_is_a_clear_503(
    settings_for: Callable[..., Settings], redis_url: str, away: str
) -> None:
    """A wrong password, a socket where nobody listens: alive, not started, and no word of why to callers."""

    async def login(request: Request) -> Response:
        await request.session.login("ada")
        return PlainTextResponse("in")

    some = [*routes(), Route("/login", login, methods=["POST"])]
    good = settings_for()
    async with serving(Service(some, settings=good)) as client:
        await client.post("/login")
        cookies = client.cookies
    bad = settings_for(redis_url=redis_url.partition("?")[0] + away, namespace=good.namespace)
    async with serving(Service(some, settings=bad)) as client:
        client.cookies = cookies
        probes = [(await client.get(path)).status_code for path in ("/livez", "/startupz", "/orders")]
        refused = await client.get("/inner/private")

    assert probes == [200, 503, 200]
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert not re.search(r"hunter2|nobody|redis|pair|password|refused", refused.text, re.IGNORECASE)


async def test_a_server_without_lifespan_is_told(service: Service) -> None:
    """Rather than served half."""
    with pytest.raises(RuntimeError, match="lifespan"):
        await service(http_scope("/orders"), None, None)  # type: ignore[arg-type]


async def test_a_missing_secret_key_stops_the_start(settings_for: Callable[..., Settings]) -> None:
    """With the command that makes one."""
    with pytest.raises(ConfigurationError, match="token_urlsafe"):
        async with serving(Service(routes(), settings=settings_for(secret_keys=""))):
            pass


def test_a_name_that_is_no_name_is_refused_at_import() -> None:
    """It becomes the namespace of keys."""
    with pytest.raises(ConfigurationError, match="must match"):
        Service(name="a b")
