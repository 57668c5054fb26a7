"""The scripts on a real Redis: what they leave behind, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fivenines.sessions._policy import Changes, Claim, new_id, stored_id
from fivenines.sessions._store import EndedError, Gone, SessionStore, Stored
from fivenines.store import Store, connect
from fivenines.testing import service_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    store = connect(redis_url, timeout=5)
    yield store
    await store.aclose()


@pytest.fixture
def sessions(store: Store, redis_url: str, namespace: str) -> Callable[..., SessionStore]:
    def make(**overrides: Any) -> SessionStore:
        return SessionStore(store, service_settings(redis_url, namespace=namespace, **overrides))

    return make


def claim(id: str, principal: str | None = None) -> Claim:
    return Claim(id, principal, resign=False)


async def test_generation_outlives_every_session_that_names_it(
    store: Store, sessions: Callable[..., SessionStore], namespace: str
) -> None:
    """A login lets it live longer, and one with a shorter absolute time does not shorten it."""
    long, short = sessions(session_absolute=100_000), sessions(session_absolute=2_000)
    first = await long.generation("ada")
    assert await store.do("PTTL", f"{namespace}:g:ada") > 100_000_000

    assert await short.generation("ada") == first
    assert await store.do("PTTL", f"{namespace}:g:ada") > 100_000_000
    assert await short.generation("bob") != first
    assert 2_000_000 < await store.do("PTTL", f"{namespace}:g:bob") <= 2_000_000 + 3_600_000
    await long.generation("bob")
    assert await store.do("PTTL", f"{namespace}:g:bob") > 100_000_000


async def test_generation_after_a_logout_everywhere_is_another(sessions: Callable[..., SessionStore]) -> None:
    """A session that was written with the generation before, by a login that was overtaken, is not valid."""
    store = sessions()
    before = await store.generation("ada")
    await store.end_all("ada")
    id = await store.create(new_id(), "ada", before, {})
    assert await store.load(claim(id, "ada"))() == Gone(superseded=False)

    assert await store.generation("ada") != before
    assert await store.load(claim(id, "ada"))() == Gone(superseded=False)


async def test_session_is_loaded_as_it_was_written(sessions: Callable[..., SessionStore]) -> None:
    """Names of any kind; the principal of the cookie has to be the stored one."""
    store, fields = sessions(), {"a": b"1", "": b'""', "d:ü\n": b"[]", "c": b"null", "x": b"true"}
    id = await store.create(new_id(), None, b"", fields)

    assert await store.load(claim(id))() == Stored(fields, renewed=False)
    assert await store.load(claim(id, "ada"))() == Gone(superseded=False)
    assert await store.load(claim(new_id()))() == Gone(superseded=False)
    id = await store.create(new_id(), "ada", await store.generation("ada"), fields)
    assert await store.load(claim(id, "ada"))() == Stored(fields, renewed=False)
    assert await store.load(claim(id))() == Gone(superseded=False)


@pytest.mark.parametrize("how", ["end", "supersede"])
async def test_ended_session_takes_nothing(
    store: Store, sessions: Callable[..., SessionStore], namespace: str, how: str
) -> None:
    """Save, count and replace find nothing, and leave nothing behind that has no expiry."""
    kept = sessions()
    id = await kept.create(new_id(), None, b"", {"n": b"1"})
    await getattr(kept, how)(id)

    assert await kept.save(id, Changes({"n": b"2"}, ["m"])) is False
    with pytest.raises(EndedError):
        await kept.increment(id, "n", 1)
    with pytest.raises(EndedError):
        await kept.replace(id, "n", b"1", b"2")
    assert await kept.supersede(id) is None
    assert await kept.load(claim(id))() == Gone(superseded=how == "supersede")
    key = f"{namespace}:s:{stored_id(id)}"
    assert await store.do("HGETALL", key) == ({b"x": b"1"} if how == "supersede" else {})
    assert await store.do("PTTL", key) != -1


async def test_scripts_twice_do_what_they_do_once(sessions: Callable[..., SessionStore]) -> None:
    """Those that are sent again after a lost answer may run twice."""
    store = sessions()
    id = new_id()
    for _ in range(2):
        await store.create(id, None, b"", {"a": b"1", "b": b"2"})
    for _ in range(2):
        assert await store.save(id, Changes({"a": b"3"}, ["b"]))
    assert await store.load(claim(id))() == Stored({"a": b"3"}, renewed=False)
    assert await store.supersede(id) == {"a": b"3"}
    for _ in range(2):
        assert await store.supersede(id) is None
        await store.end(id)


async def test_large_session_is_saved_whole(sessions: Callable[..., SessionStore]) -> None:
    """Thousands of fields in one save: more than Lua could take as arguments of one call."""
    store = sessions()
    fields = {f"f{n}": b"1" for n in range(10_000)}
    id = await store.create(new_id(), None, b"", fields)
    assert await store.save(id, Changes(dict.fromkeys(fields, b"2"), []))
    assert await store.save(id, Changes({}, list(fields)[1:]))

    assert await store.load(claim(id))() == Stored({"f0": b"2"}, renewed=False)


async def test_replace_tells_what_stands_there(sessions: Callable[..., SessionStore]) -> None:
    """None when it was set; else the value, or nothing for an absent field."""
    store = sessions()
    id = await store.create(new_id(), None, b"", {})

    assert await store.replace(id, "a", b"1", b"2") == b""
    assert await store.replace(id, "a", b"", b"1") is None
    assert await store.replace(id, "a", b"", b"2") == b"1"
    assert await store.replace(id, "a", b"1", b"2") is None
