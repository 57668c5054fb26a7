"""What users' type checkers see. Not run: `make check` has pyright and mypy read it, both in strict mode.

`assert_type` holds what must be known. An `ignore` that is not needed is an error, so each of them holds that
something wrong is noticed.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true
from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import fivenines
from fivenines import Service, Settings, attach, authenticated, csrf_exempt, current_runtime, propagate, remaining
from fivenines.errors import FiveNinesError, RefusedError, ReplyLostError, StoreUnavailableError
from fivenines.events import RequestFinished
from fivenines.store import Script, connect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping


@authenticated
async def show(request: Request) -> JSONResponse:
    return JSONResponse({"visits": request.session["visits"]})


@csrf_exempt
@authenticated
def hook(request: Request, name: str, *, retries: int = 3) -> JSONResponse:
    return JSONResponse({})


# A mark leaves the handler's type as it is: FastAPI and IDEs read it.
as_written: Callable[[Request], Coroutine[Any, Any, JSONResponse]] = show
assert_type(hook(Request({"type": "http"}), "x", retries=1), JSONResponse)
hook(Request({"type": "http"}), 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

service = Service(routes=[Route("/", show)], name="orders", settings=Settings.from_environment({}))
assert_type(service, Service)
application: Starlette = service
Service(routs=[])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

# attach() returns what it was given, so that its own methods stay known.
assert_type(attach(FastAPI()), FastAPI)
assert_type(attach(Starlette()), Starlette)

assert_type(remaining(), float | None)
assert_type(fivenines.__version__, str)


async def outside_a_request() -> None:
    async with service.runtime() as runtime:
        assert_type(runtime, fivenines.Runtime)
        assert_type(current_runtime().local(dict[str, int]), dict[str, int])


def add(a: int, b: str) -> float:
    return a + len(b)


assert_type(propagate(add)(1, "x"), float)
propagate(add)("x", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def heard(event: RequestFinished) -> None:
    assert_type(event.status, int)
    assert_type(event.principal, str | None)


service.subscribe(RequestFinished, heard)


async def with_a_store(script: Script) -> None:
    store = connect("redis://127.0.0.1:6379/0", timeout=0.5)
    answer: Awaitable[Any] = store.submit(script, keys=["a"], args=[1])
    await answer
    await store.run(script, keys=["a"], repeatable=True)
    await store.aclose()


def as_a_tree(error: FiveNinesError) -> Mapping[str, str]:
    if isinstance(error, ReplyLostError):
        assert_type(error.stalled, bool)
        narrower: StoreUnavailableError = error
        assert_type(narrower.status, int)
    if isinstance(error, RefusedError):
        assert_type(error.retry_after, float | None)
    return error.headers
