"""`Session`: what a handler finds in `request.session`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, overload

from fivenines import codecs
from fivenines.context import current_request, remaining
from fivenines.errors import NotAuthenticatedError, SessionConflictError, StoreUnavailableError
from fivenines.events import SessionCreated, SessionEnded
from fivenines.sessions._policy import Changes, Claim, changes, check_principal, encode_field, new_id
from fivenines.sessions._store import EndedError, Gone, Stored

if TYPE_CHECKING:
    from fivenines.sessions._replica import Sessions

UPDATE_WITHIN = 5.0  # seconds that `update` goes on trying where the request has no nearer deadline
RESPONSE_BEGUN = "the response has begun, so this would be lost: change the session before you send"
WEBSOCKET = "a WebSocket reads the session as it was at connect: change it in an HTTP request"
_UNREAD: Any = object()


class Session(MutableMapping[str, Any]):
    """A mapping of names to JSON values that all replicas share, and the principal who is logged in.

    Reading and writing is synchronous; what changed is saved, field by field, before the response begins.
    `login`, `logout`, `increment` and `update` act on the store at once. While the store is away every touch
    raises StoreUnavailableError: a session that cannot be read is never an empty one.
    """

    __slots__ = ("_cookie", "_detached", "_had_cookie", "_id", "_lock", "_principal", "_read_only", "_saved",
                 "_sessions", "_unavailable", "_values")  # fmt: skip

    def __init__(
        self,
        sessions: Sessions,
        claim: Claim | None = None,
        found: Stored | Gone | StoreUnavailableError | None = None,
        read_only: str = "",
    ) -> None:
        self._sessions = sessions
        self._read_only = read_only
        self._had_cookie = claim is not None
        self._unavailable = found if isinstance(found, StoreUnavailableError) else None
        # The id went away under this request, by a login or logout elsewhere: what is written goes nowhere.
        self._detached = isinstance(found, Gone) and found.superseded
        self._lock = asyncio.Lock()
        self._cookie: bytes | None = None
        self._id: str | None = None
        self._principal: str | None = None
        self._saved: dict[str, bytes] = {}
        self._values: dict[str, Any] = {}
        if claim is not None and isinstance(found, Stored):
            self._id, self._principal, self._saved = claim.id, claim.principal, found.fields
            self._values = dict.fromkeys(found.fields, _UNREAD)
            if found.renewed or claim.resign:
                self._cookie = sessions.cookies.set(claim.id, claim.principal)

    def __repr__(self) -> str:
        if self._unavailable is not None:
            return "<Session unavailable>"
        return f"<Session of {self._principal!r} with {sorted(self._values)}>"

    @property
    def available(self) -> bool:
        """Whether the session could be read; False while the store is away."""
        return self._unavailable is None

    @property
    def principal(self) -> str | None:
        """Who is logged in, or None."""
        self._require_store()
        return self._principal

    @property
    def new(self) -> bool:
        """Whether nothing is stored under this session yet: there was none, or it has ended."""
        self._require_store()
        return self._id is None

    def __getitem__(self, name: str) -> Any:
        self._require_store()
        value = self._values[name]
        if value is _UNREAD:
            value = self._values[name] = codecs.decode(self._saved[name])
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        self._require_writable()
        encode_field(_field(name), value)  # here, not only at the save: this traceback shows the line
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        self._require_writable()
        del self._values[name]

    def __iter__(self) -> Iterator[str]:
        self._require_store()
        return iter(self._values)

    def __len__(self) -> int:
        self._require_store()
        return len(self._values)

    async def login(self, principal: str) -> None:
        """Give the session to a principal, under a new id; every replica refuses the old id from now on.

        What an anonymous session holds is kept; what belongs to another principal is not.
        """
        self._require_writable()
        await self._sessions.to_the_end(self._login(check_principal(principal)))

    async def logout(self) -> None:
        """End this session on every replica; a save still on its way does not bring it back."""
        self._require_writable()
        await self._sessions.to_the_end(self._logout(everywhere=False))

    async def logout_everywhere(self) -> None:
        """End all sessions of the principal, with one command, from the next request on every replica."""
        self._require_writable()
        if self._principal is None:
            raise NotAuthenticatedError
        await self._sessions.to_the_end(self._logout(everywhere=True))

    async def increment(self, name: str, by: int = 1) -> int:
        """Add to an integer (absent: 0) and return the new value: exact, whoever else adds at the same time.

        Acts at once. Raises NotAuthenticatedError when the session has ended meanwhile, TypeError where
        something other than an integer stands.
        """
        self._require_writable(at_once=True)
        _require_integer("by", by)
        if self._id is None:
            value: int = self.get(_field(name), 0)
            _require_integer(f"session field {name!r}", value)
            self[name] = value = value + by
            await self._flush(strict=True)
            return value
        await self._flush(strict=True)
        try:
            text = await self._sessions.store.increment(self._id, name, by)
        except EndedError:
            raise self._ended() from None
        self._saved[name], self._values[name] = text, _UNREAD
        return int(text)

    @overload  # type: ignore[override]
    def update(self, name: str, change: Callable[[Any], Any], /) -> Awaitable[Any]: ...

    @overload
    def update(self, values: Mapping[str, Any] | Iterable[tuple[str, Any]] = ..., /) -> None: ...

    def update(self, *args: Any) -> Awaitable[Any] | None:
        """`await update(name, change)` sets a field to `change(value now)`, exactly, whoever else changes it.

        `change` gets None where the field is absent, and is called again, at once, when another request was
        faster; it must do nothing but compute. Acts at once. Raises SessionConflictError when the time is up,
        NotAuthenticatedError when the session has ended meanwhile. Called with a mapping it is `dict.update`.
        """
        if len(args) == 2:
            return self._update(*args)
        super().update(*args)
        return None

    async def _update(self, name: str, change: Callable[[Any], Any]) -> Any:
        self._require_writable(at_once=True)
        if inspect.iscoroutinefunction(change):
            raise TypeError("update calls a plain function, perhaps several times: await before, then update")
        if self._id is None:
            self[name] = value = change(self.get(_field(name)))
            await self._flush(strict=True)
            return value
        await self._flush(strict=True)
        now, left = asyncio.get_running_loop().time, remaining()
        end = now() + (UPDATE_WITHIN if left is None else min(left, UPDATE_WITHIN))
        try:
            async with self._sessions.turns.take(self._id, _field(name), until=end) as turn:
                expected = self._saved.get(name, b"") if turn.value is None else turn.value
                while True:
                    value = change(codecs.decode(expected) if expected else None)
                    encoded = encode_field(name, value)
                    found = await self._sessions.store.replace(self._id, name, expected, encoded)
                    turn.value = encoded if found is None else found
                    if found is None:
                        self._saved[name], self._values[name] = encoded, value
                        return value
                    if now() >= end:
                        raise SessionConflictError(retry_after=1.0)
                    # At once: whoever was faster has made progress, and waiting would only let more in.
                    expected = found
        except EndedError:
            raise self._ended() from None

    async def _flush(self, *, strict: bool = False) -> None:
        """Save what has changed. `strict`: a session that has ended is an error, not a change dropped."""
        async with self._lock:
            fields = self._encoded()
            change = changes(self._saved, fields)
            if change and not self._detached:
                if self._id is None:
                    self._adopt(await self._sessions.store.create(new_id(), None, b"", fields), None, fields)
                    self._sessions.events.emit(SessionCreated(None, rotated=False))
                elif await self._sessions.store.save(self._id, change):
                    self._saved = fields
                else:
                    self._ended()
            if strict and self._detached:
                raise self._ended()

    async def _login(self, principal: str) -> None:
        store = self._sessions.store
        async with self._lock:
            generation = await store.generation(principal)
            if stranger := self._principal not in (None, principal):
                self._values.clear()
            old, before, fields = self._id, self._saved, self._encoded()
            # One after the other: if the new one cannot be written, the old one stands.
            id = await store.create(new_id(), principal, generation, fields)
            last = await store.supersede(old) if old else None
            self._adopt(id, principal, fields)
            if last is not None and not stranger:
                # What other requests wrote into the old session after it was read here goes along.
                theirs = _untouched(changes(before, last), changes(before, fields))
                if theirs and await store.save(id, theirs):
                    self._merge(theirs)
            if (request := current_request()) is not None:
                request.principal = principal
        self._sessions.events.emit(SessionCreated(principal, rotated=old is not None))

    async def _logout(self, *, everywhere: bool) -> None:
        async with self._lock:
            principal, stored = self._principal, self._id
            if everywhere and principal is not None:
                await self._sessions.store.end_all(principal)
            elif stored is not None:
                await self._sessions.store.end(stored)
            self._ended()
            self._detached = False  # what is written from here on begins a new, anonymous session
            if stored is not None or self._had_cookie:
                self._cookie = self._sessions.cookies.clear()
        if stored is not None:
            self._sessions.events.emit(SessionEnded(principal, everywhere=everywhere))

    def _adopt(self, id: str, principal: str | None, fields: dict[str, bytes]) -> None:
        self._id, self._principal, self._saved, self._detached = id, principal, fields, False
        self._cookie = self._sessions.cookies.set(id, principal)

    def _merge(self, theirs: Changes) -> None:
        for name, value in theirs.set.items():
            self._saved[name], self._values[name] = value, _UNREAD
        for name in theirs.removed:
            self._saved.pop(name, None)
            self._values.pop(name, None)

    def _ended(self) -> NotAuthenticatedError:
        self._id, self._principal, self._saved, self._detached = None, None, {}, True
        self._values.clear()
        return NotAuthenticatedError("The session has ended.")

    def _encoded(self) -> dict[str, bytes]:
        """Every field's bytes, those of unread ones as they came."""
        fields = {}
        for name, value in self._values.items():
            saved = self._saved.get(name)
            if value is _UNREAD and saved is not None:
                fields[name] = saved
                continue
            encoded = encode_field(name, value)
            if saved is not None and saved != encoded and codecs.encode(codecs.decode(saved)) == encoded:
                # The same value in another spelling (1e3, an escape): writing it could undo someone's change.
                encoded = saved
            fields[name] = encoded
        return fields

    def _require_store(self) -> None:
        if self._unavailable is not None:
            raise StoreUnavailableError(self._unavailable.reason) from self._unavailable

    def _require_writable(self, *, at_once: bool = False) -> None:
        self._require_store()
        # What acts at once and needs no cookie may still act while the response is being sent.
        if self._read_only and not (at_once and self._read_only is RESPONSE_BEGUN and self._id is not None):
            raise RuntimeError(self._read_only)


async def finish(session: Session, headers: list[tuple[bytes, bytes]], *, save: bool) -> None:
    """Before the response begins: save what has changed, and add the cookie that the client is owed.

    The cookie goes out even if the save fails or is not wanted: after a login the old id is refused already.
    """
    if session._unavailable is not None:
        return
    try:
        if save:
            await session._flush()
        else:
            async with session._lock:  # a login whose caller was cancelled is still on its way
                pass
    finally:
        session._read_only = RESPONSE_BEGUN
        if session._cookie is not None:
            headers.append((b"set-cookie", session._cookie))


def _untouched(theirs: Changes, ours: Changes) -> Changes:
    """Their changes, but for the fields that we have changed as well."""
    mine = {*ours.set, *ours.removed}
    return Changes(
        {name: value for name, value in theirs.set.items() if name not in mine},
        [name for name in theirs.removed if name not in mine],
    )


def _require_integer(what: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} is no integer but {type(value).__name__}")


def _field(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a session's field is named by a str, not {type(name).__name__}")
    return name
