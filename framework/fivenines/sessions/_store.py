"""Sessions in Redis.

One hash a session, `{namespace}:s:{hash of the id}`, with the fields
  c, a     when it was created and when it ends in any case, ms on Redis' clock
  u, g     principal ('' when anonymous) and the generation it belongs to
  d:NAME   the JSON of one top-level value
  x        alone in the hash: the id was superseded by a login

and one string a principal, `{namespace}:g:{principal}`: the generation in which sessions are valid.

What holds: a hash is a session exactly when it has the field `c`, and only `create.lua` writes that one, so
nothing brings an ended session back. A hash always expires. A session is valid while its generation stands:
deleting one key ends all sessions of a principal, and a generation that is lost logs out, it never lets in.
"""

from __future__ import annotations

import math
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from fivenines.sessions._policy import SUPERSEDED_FOR, Changes, Claim, stored_id
from fivenines.store import Script, Store, key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from fivenines.settings import Settings

LOAD = Script("fivenines.sessions", "load.lua")
CREATE = Script("fivenines.sessions", "create.lua")
SAVE = Script("fivenines.sessions", "save.lua")
INCREMENT = Script("fivenines.sessions", "increment.lua")
REPLACE = Script("fivenines.sessions", "replace.lua")
SUPERSEDE = Script("fivenines.sessions", "supersede.lua")
GENERATION = Script("fivenines.sessions", "generation.lua")
FORGET = Script("fivenines.sessions", "forget.lua")

# A login reads the generation a moment before it writes the session, whose end lies that moment later.
_GENERATION_OUTLIVES = 3_600_000


class Stored(NamedTuple):
    """A session as it was read. `renewed`: its idle time began anew with this read."""

    fields: dict[str, bytes]
    renewed: bool


class EndedError(Exception):
    """The session does not exist any more."""


class Gone(NamedTuple):
    """There is no such session. `superseded`: a login gave it a new id just now."""

    superseded: bool


class SessionStore:
    """The commands; which of them may be sent twice is said at each."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._namespace = settings.key_prefix
        self._idle = max(1, math.ceil(settings.session_idle * 1_000))
        self._absolute = max(1, math.ceil(settings.session_absolute * 1_000))

    def load(self, claim: Claim) -> Callable[[], Awaitable[Stored | Gone]]:
        """Submit the reading commands in this tick; call and await the result for the session. One flight."""
        # Two commands, not one script: the two keys live in different slots of a cluster.
        session = self._store.submit(
            LOAD, [self._session(claim.id)], [self._idle, self._idle * 9 // 10], repeatable=True
        )
        generation = self._store.read("GET", self._generation(claim.principal)) if claim.principal else None
        return partial(self._loaded, claim, session, generation)

    async def _loaded(
        self, claim: Claim, session: Awaitable[Any], generation: Awaitable[bytes | None] | None
    ) -> Stored | Gone:
        answer = await session
        if not isinstance(answer, list):
            return Gone(superseded=answer == b"superseded")
        raw: dict[bytes, bytes] = dict(zip(answer[1::2], answer[2::2], strict=True))
        if raw[b"u"] != (claim.principal or "").encode():
            return Gone(superseded=False)
        if generation is not None and raw[b"g"] != await generation:
            return Gone(superseded=False)
        return Stored(_values(raw), renewed=answer[0] == 1)

    async def create(self, id: str, principal: str | None, generation: bytes, fields: Mapping[str, bytes]) -> str:
        """Write a new session and return its id. Repeatable: nobody else knows the id."""
        arguments: list[str | bytes | int] = [self._idle, self._absolute, principal or "", generation]
        for name, value in fields.items():
            arguments += (f"d:{name}", value)
        await self._store.run(CREATE, [self._session(id)], arguments, repeatable=True)
        return id

    async def save(self, id: str, change: Changes) -> bool:
        """Merge changed fields; False when the session has ended. Repeatable: it sets, it does not add."""
        arguments: list[str | bytes | int] = [len(change.set)]
        for name, value in change.set.items():
            arguments += (f"d:{name}", value)
        arguments += (f"d:{name}" for name in change.removed)
        return bool(await self._store.run(SAVE, [self._session(id)], arguments, repeatable=True))

    async def increment(self, id: str, name: str, by: int) -> bytes:
        """Add to an integer; never sent twice. Raises EndedError, and TypeError where no integer stands."""
        answer: bytes | None = await self._store.run(INCREMENT, [self._session(id)], [f"d:{name}", by])
        if answer is None:
            raise EndedError
        if answer == b"refused":
            raise TypeError(f"session field {name!r} is no integer of 64 bits, or would become none")
        return answer

    async def replace(self, id: str, name: str, expected: bytes, value: bytes) -> bytes | None:
        """Set a field that has the expected value: None when done, else what it has. Never sent twice."""
        answer = await self._store.run(REPLACE, [self._session(id)], [f"d:{name}", expected, value])
        if answer is None:
            raise EndedError
        return None if answer[0] == 1 else answer[1]

    async def generation(self, principal: str) -> bytes:
        """The principal's generation, begun if there is none. Repeatable."""
        lifetime = self._absolute + _GENERATION_OUTLIVES
        keys = [self._generation(principal)]
        answer: bytes = await self._store.run(GENERATION, keys, [secrets.token_urlsafe(12), lifetime], repeatable=True)
        return answer

    async def supersede(self, id: str) -> dict[str, bytes] | None:
        """Refuse this id from now on; returns what the session held, None if it had ended. Repeatable."""
        lifetime = int(SUPERSEDED_FOR * 1_000)
        flat = await self._store.run(SUPERSEDE, [self._session(id)], [lifetime], repeatable=True)
        return _values(dict(zip(flat[::2], flat[1::2], strict=True))) if flat else None

    async def end(self, id: str) -> None:
        """Delete the session. Repeatable."""
        await self._store.run(FORGET, [self._session(id)], repeatable=True)

    async def end_all(self, principal: str) -> None:
        """End every session of the principal, with one command. Repeatable."""
        await self._store.run(FORGET, [self._generation(principal)], repeatable=True)

    def _session(self, id: str) -> str:
        return key(self._namespace, "s", stored_id(id))

    def _generation(self, principal: str) -> str:
        return key(self._namespace, "g", principal)


def _values(raw: Mapping[bytes, bytes]) -> dict[str, bytes]:
    return {name[2:].decode(): value for name, value in raw.items() if name.startswith(b"d:")}
