"""ASGI lifespan without a server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fivenines._types import ASGIApp, Message


@asynccontextmanager
async def running(app: ASGIApp, state: dict[str, Any] | None = None) -> AsyncIterator[None]:
    """Start the application, and shut it down at the end, as a server would.

    Raises what its start-up raises; an application without lifespan support is served as it is.
    """
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message] = asyncio.Queue()
    scope = {
        "type": "lifespan",
        "asgi": {"version": "3.0", "spec_version": "2.0"},
        "state": {} if state is None else state,
    }

    async def serve() -> None:
        await app(scope, to_app.get, from_app.put)

    task = asyncio.create_task(serve(), name="lifespan")
    await _step("startup", task, to_app, from_app)
    try:
        yield
    finally:
        await _step("shutdown", task, to_app, from_app)
        await asyncio.gather(task, return_exceptions=True)


async def _step(
    name: str, task: asyncio.Task[None], to_app: asyncio.Queue[Message], from_app: asyncio.Queue[Message]
) -> None:
    if task.done():
        return
    await to_app.put({"type": f"lifespan.{name}"})
    answer = asyncio.create_task(from_app.get())
    await asyncio.wait((task, answer), return_when=asyncio.FIRST_COMPLETED)
    if not answer.done():
        answer.cancel()
        if (error := task.exception()) is not None and name == "startup" and not _knows_no_lifespan(error):
            raise error
        return
    if (message := answer.result())["type"] == f"lifespan.{name}.failed":
        if task.done() and (error := task.exception()) is not None:
            raise error
        await asyncio.gather(task, return_exceptions=True)
        raise RuntimeError(f"{name} failed: {message.get('message', '')}")


def _knows_no_lifespan(error: BaseException) -> bool:
    # What simple applications do with a scope type they do not know.
    return isinstance(error, AssertionError | KeyError | NotImplementedError)
