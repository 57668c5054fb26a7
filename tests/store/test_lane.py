"""The shared connection: order, cancellation, loss, stalls, limits."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivenines.context import RequestInfo, request_variable
from fivenines.errors import ConfigurationError, ReplyLostError, StoreCommandError, StoreUnavailableError
from fivenines.events import Events, StoreConnected, StoreLost
from fivenines.store import Script, Store, _lane, connect, key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

SCRIPT = Script("fivenines.sessions", "load.lua")


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    store = connect(redis_url)
    yield store
    await store.aclose()


class FakeRedis:
    """A server that answers by rule: `answer(line)` returns bytes, or None to keep silent."""

    def __init__(self, answer: Callable[[list[bytes]], bytes | None], port: int = 0) -> None:
        self.answer, self.port = answer, port
        self.seen: list[list[bytes]] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.connections = 0

    async def __aenter__(self) -> FakeRedis:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.url = f"redis://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for writer in self.writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while header := await reader.readline():
                parts = []
                for _ in range(int(header[1:])):
                    size = int((await reader.readline())[1:])
                    parts.append((await reader.readexactly(size + 2))[:-2])
                name = parts[0].upper()
                if name == b"HELLO":
                    writer.write(b"%1\r\n$5\r\nproto\r\n:3\r\n")
                elif name == b"CLIENT":
                    writer.write(b"+OK\r\n")
                else:
                    self.seen.append(parts)
                    reply = self.answer(parts)
                    if reply == b"":
                        writer.close()
                        return
                    writer.write(reply or b"")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def test_replies_are_bytes_in_order_of_the_questions(store: Store, namespace: str) -> None:
    """Many callers at once, each gets its own answer."""
    names = [key(namespace, "v", str(number)) for number in range(500)]
    await asyncio.gather(*(store.do("SET", name, number) for number, name in enumerate(names)))

    replies = await asyncio.gather(*(store.do("GET", name) for name in names))

    assert replies == [str(number).encode() for number in range(500)]


async def test_a_cancelled_caller_takes_nobodys_answer_away(store: Store, namespace: str) -> None:
    """Every third caller leaves after its command went out; the others' answers stay theirs (redis-py#2624)."""
    names = [key(namespace, "v", str(number)) for number in range(300)]
    await asyncio.gather(*(store.do("SET", name, number) for number, name in enumerate(names)))
    futures = [store.do("GET", name) for name in names]
    await asyncio.sleep(0)  # the write happens in this turn of the loop
    for future in futures[::3]:
        future.cancel()

    replies = await asyncio.gather(*futures, return_exceptions=True)

    for number, reply in enumerate(replies):
        if number % 3:
            assert reply == str(number).encode()
        else:
            assert isinstance(reply, asyncio.CancelledError)


async def test_commands_of_one_tick_are_one_flight(store: Store) -> None:
    """Submitted together, counted once; awaited in turn, counted each time."""
    await store.ping()
    info = RequestInfo("GET", "/")
    token = request_variable.set(info)
    try:
        first, second = store.do("PING"), store.do("PING")
        await first, await second
        assert info.flights == 1
        await store.do("PING")
        await store.do("PING")
        assert info.flights == 3
    finally:
        request_variable.reset(token)


async def test_commands_of_one_tick_leave_in_one_write(store: Store) -> None:
    """Redis' own counter: a hundred commands, a handful of reads."""

    async def reads() -> int:
        info = await store.do("INFO", "stats")
        return int(info.partition(b"total_reads_processed:")[2].partition(b"\r\n")[0])

    before = await reads()
    await asyncio.gather(*(store.do("PING") for _ in range(100)))

    assert await reads() - before <= 3


async def test_a_lost_reply_is_never_sent_again() -> None:
    """The connection breaks after the command arrived: the caller is told that its outcome is unknown."""
    async with FakeRedis(lambda _: b"") as redis:
        store = connect(redis.url)
        with pytest.raises(ReplyLostError) as caught:
            await store.do("INCR", "n")
        await store.aclose()

    assert redis.seen == [[b"INCR", b"n"]]
    assert not caught.value.stalled


async def test_a_repeatable_script_is_sent_once_more_after_a_lost_reply() -> None:
    """And only that: the same script without the word fails."""
    replies = iter([b"", b":7\r\n", b""])
    script = SCRIPT
    async with FakeRedis(lambda _: next(replies)) as redis:
        store = connect(redis.url)
        assert await store.run(script, ["k"], repeatable=True) == 7
        with pytest.raises(ReplyLostError):
            await store.run(script, ["k"])
        await store.aclose()

    assert [parts[0] for parts in redis.seen] == [b"EVALSHA", b"EVAL", b"EVALSHA"]


async def test_a_silent_redis_costs_its_time_limit_and_no_more() -> None:
    """Everything in flight fails together, and the connection is given up."""
    loop = asyncio.get_running_loop()
    async with FakeRedis(lambda _: None) as redis:
        store = connect(redis.url, timeout=0.2)
        started = loop.time()
        results = await asyncio.gather(*(store.do("PING") for _ in range(20)), return_exceptions=True)
        took = loop.time() - started
        await store.aclose()

    assert all(isinstance(result, ReplyLostError) and result.stalled for result in results)
    assert 0.2 <= took < 1.0


async def test_a_frozen_redis_costs_the_connect_limit(tmp_path: Path) -> None:
    """SIGSTOP: the kernel still accepts connections for it, so the handshake must be timed too."""
    from fivenines.store._embedded import EmbeddedServer

    server = EmbeddedServer(tmp_path)
    store = connect(await asyncio.to_thread(server.start), connect_timeout=0.1, timeout=0.2)
    loop = asyncio.get_running_loop()
    try:
        await store.ping()
        info = await store.do("INFO", "server")
        pid = int(info.partition(b"process_id:")[2].partition(b"\r\n")[0])
        os.kill(pid, signal.SIGSTOP)
        try:
            started = loop.time()
            with pytest.raises(ReplyLostError):
                await store.ping()
            # The next attempts: one connect that times out, the rest fail at once.
            for _ in range(50):
                with pytest.raises(StoreUnavailableError):
                    await store.ping()
            took = loop.time() - started
        finally:
            os.kill(pid, signal.SIGCONT)
        assert took < 1.0
        async with asyncio.timeout(1.0):
            while True:
                try:
                    await store.ping()
                    break
                except StoreUnavailableError:
                    await asyncio.sleep(0.01)
    finally:
        await store.aclose()
        await asyncio.to_thread(server.stop)


async def test_a_process_that_slept_blames_nobody(redis_url: str) -> None:
    """Our own process was stopped past the time limit while the answer lay in the socket: it is still an answer."""
    store = connect(redis_url, timeout=0.05)
    await store.ping()
    future = store.do("PING")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    import time

    # Stands for SIGSTOP; not the loop's clock, since that is what stands still.
    before = time.monotonic()
    while time.monotonic() - before < 0.2:
        pass

    assert await future == b"PONG"
    await store.aclose()


async def test_a_refused_connection_fails_at_once_and_heals() -> None:
    """Nothing listens: StoreUnavailableError, never ReplyLostError; later the same store works."""
    async with FakeRedis(lambda _: b"+PONG\r\n") as redis:
        url = redis.url
    store = connect(url)
    with pytest.raises(StoreUnavailableError) as caught:
        await store.ping()
    assert not isinstance(caught.value, ReplyLostError)

    async with (
        FakeRedis(lambda _: b"+PONG\r\n", port=int(url.rpartition(":")[2].partition("/")[0])),
        asyncio.timeout(1),
    ):
        while not store.connected:
            try:
                await store.ping()
            except StoreUnavailableError:
                await asyncio.sleep(0.01)
        await store.aclose()


async def test_a_closed_store_that_was_never_used_stays_closed() -> None:
    """An embedded one must not start its server now."""
    store = connect("embedded://")
    await store.aclose()
    with pytest.raises(StoreUnavailableError):
        await store.do("PING")
    with pytest.raises(StoreUnavailableError):
        store.blocking()


async def test_a_wrong_password_is_told_in_the_reason(redis_url: str) -> None:
    """Which goes to the log."""
    separator = "&" if "?" in redis_url else "?"
    store = connect(f"{redis_url}{separator}username=nobody&password=wrong")
    with pytest.raises(StoreUnavailableError) as caught:
        await store.ping()
    assert "username-password" in caught.value.reason
    await store.aclose()


async def test_an_error_reply_belongs_to_its_command_alone(store: Store, namespace: str) -> None:
    """The connection lives on, and the neighbours' answers too."""
    name = key(namespace, "text")
    results = await asyncio.gather(
        store.do("SET", name, "x"), store.do("INCR", name), store.do("GET", name), return_exceptions=True
    )

    assert isinstance(results[1], StoreCommandError)
    assert (results[0], results[2]) == (b"OK", b"x")


@pytest.mark.parametrize("code", ["OOM x", "READONLY x", "MASTERDOWN x", "BUSY x", "NOREPLICAS x", "MISCONF x"])
async def test_a_redis_that_cannot_do_its_work_is_away(code: str) -> None:
    """It answered, so the connection is fine; for the request it is the same as no Redis: 503, not 500."""
    async with FakeRedis(lambda _: f"-{code}\r\n".encode()) as redis:
        store = connect(redis.url)
        with pytest.raises(StoreUnavailableError) as caught:
            await store.do("SET", "k", "v")
        assert not isinstance(caught.value, ReplyLostError)
        await store.aclose()
        assert redis.connections == 1


async def test_a_read_is_sent_once_more_after_a_lost_reply() -> None:
    """It changes nothing, so the caller need not know."""
    replies = iter([b"", b"$1\r\nx\r\n"])
    async with FakeRedis(lambda _: next(replies)) as redis:
        store = connect(redis.url)
        assert await store.read("GET", "k") == b"x"
        await store.aclose()


@pytest.mark.parametrize("command", [("BLPOP", "k", 0), ("subscribe", "c"), (b"MULTI",), ("WAIT", 1, 0), ("SELECT", 1),
                                     ("XREAD", "BLOCK", 0, "STREAMS", "s", "$"), ("CLIENT PAUSE", 10)])  # fmt: skip
async def test_blocking_commands_are_refused_with_the_remedy(store: Store, command: tuple[str | int, ...]) -> None:
    """They would hold up every request of the replica."""
    with pytest.raises(ValueError, match=r"store\.blocking\(\)"):
        store.do(*command)


@pytest.mark.parametrize("argument", [None, {}, [], "\ud800"])
async def test_an_argument_that_is_none_fails_its_own_caller_alone(store: Store, argument: Any) -> None:
    """The others' commands in the same write, and their connection, are not harmed."""
    other = store.do("PING")
    with pytest.raises((TypeError, UnicodeEncodeError)):
        store.do("ECHO", argument)

    assert await other == b"PONG"


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.binary() | st.integers() | st.floats(), min_size=1)
)
def test_both_packers_write_the_same_bytes(arguments: list[Any]) -> None:
    """hiredis' and the one for where it is missing."""
    assert _lane._pack_in_python(tuple(arguments)) == _lane.pack(tuple(arguments))


async def test_the_pool_apart_serves_blocking_commands(store: Store, namespace: str) -> None:
    """And does not hold up the lane."""
    name = key(namespace, "list")
    waiting = asyncio.ensure_future(store.blocking().blpop([name], timeout=5))
    await store.ping()
    await store.do("RPUSH", name, "x")

    assert await waiting == [name.encode(), b"x"] or await waiting == (name.encode(), b"x")


async def test_too_much_in_flight_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded memory, bounded waiting."""
    monkeypatch.setattr(_lane, "MAX_IN_FLIGHT", 10)
    async with FakeRedis(lambda _: None) as redis:
        store = connect(redis.url, timeout=0.1)
        futures = [store.do("PING") for _ in range(11)]
        with pytest.raises(StoreUnavailableError):
            await futures[-1]
        await asyncio.gather(*futures, return_exceptions=True)
        await store.aclose()


async def test_a_script_unknown_to_redis_is_sent_whole(store: Store, namespace: str, tmp_path: Path) -> None:
    """After a restart of Redis its scripts are gone; NOSCRIPT means that nothing ran."""
    script = Script.__new__(Script)
    script.name, script.text = "t.lua", f"return redis.call('INCR', KEYS[1]) -- {namespace}"
    import hashlib

    script.sha = hashlib.sha1(script.text.encode()).hexdigest()

    assert await store.run(script, [key(namespace, "n")]) == 1
    assert await store.run(script, [key(namespace, "n")]) == 2


async def test_losing_and_finding_redis_is_told() -> None:
    """One event for each, with how many commands were lost."""
    replies = iter([b"+PONG\r\n", b"", b"+PONG\r\n"])
    seen: list[object] = []
    events = Events()
    events.subscribe(StoreLost, seen.append)
    events.subscribe(StoreConnected, seen.append)
    async with FakeRedis(lambda _: next(replies)) as redis:
        store = connect(redis.url, events=events)
        await store.ping()
        with pytest.raises(ReplyLostError):
            await store.ping()
        while True:
            try:
                await store.ping()
                break
            except StoreUnavailableError:
                await asyncio.sleep(0.01)
        kinds = [type(event).__name__ for event in seen]
        await store.aclose()

    assert kinds == ["StoreConnected", "StoreLost", "StoreConnected"]
    assert seen[1].lost == 1  # type: ignore[attr-defined]


async def test_closing_fails_what_waits_and_what_comes(redis_url: str) -> None:
    """Nobody is left waiting for ever."""
    store = connect(redis_url)
    await store.ping()
    pending = store.do("PING")
    await store.aclose()

    with pytest.raises(StoreUnavailableError):
        await pending
    with pytest.raises(StoreUnavailableError):
        await store.ping()


def test_an_unknown_scheme_names_those_that_are_known() -> None:
    """A configuration error, at once."""
    with pytest.raises(ConfigurationError, match="redis://"):
        connect("http://example")


def test_values_from_outside_make_no_other_key_and_no_other_slot() -> None:
    """`:` and braces are encoded, and so is the sign that encodes."""
    assert key("ns", "s", "a:b{c}%") == "ns:s:a%3Ab%7Bc%7D%25"
