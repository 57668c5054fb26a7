"""Sessions on two real replicas: merged, ended, fixed, renewed, away, and keys changed under way (S1 to S6).

make prove-sessions            about two minutes
QUICK=1 make prove-sessions    the same checks, fewer rounds
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from fivenines import Service, authenticated
from fivenines.codecs import decode
from fivenines.sessions._policy import CookiePolicy, new_id
from fivenines.sessions._store import SessionStore
from fivenines.settings import Settings
from fivenines.store import Store, connect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

QUICK = os.environ.get("QUICK") == "1"
WRITERS, TURNS = 64, 10 if QUICK else 100
ROUNDS, SAVES = (10, 60) if QUICK else (100, 200)
READS, WINDOW = 1_000, 4.0 if QUICK else 15.0
SESSIONS = 10_000
USERS = 12


# --- the service under test -------------------------------------------------------------------------------------


async def login(request: Request) -> JSONResponse:
    await request.session.login(request.query_params["user"])
    return JSONResponse({})


async def visit(request: Request) -> JSONResponse:
    request.session["seen"] = True
    return JSONResponse({})


@authenticated
async def me(request: Request) -> JSONResponse:
    return JSONResponse({"user": request.session.principal, "count": request.session.get("count", 0)})


@authenticated
async def count(request: Request) -> JSONResponse:
    return JSONResponse({"count": await request.session.increment("count")})


@authenticated
async def write(request: Request) -> JSONResponse:
    """Everything at once: a list of the writer's own, a counter, a field that is updated by a function."""
    dict(request.session)  # all was read, so all could be written back
    request.session.setdefault(request.query_params["field"], []).append(int(request.query_params["turn"]))
    await request.session.increment("count")
    await request.session.update("updated", lambda value: (value or 0) + 1)
    return JSONResponse({})


@authenticated
async def save_late(request: Request) -> JSONResponse:
    await asyncio.sleep(float(request.query_params["after"]))
    request.session[request.query_params["field"]] = True
    return JSONResponse({})


@authenticated
async def show(request: Request) -> JSONResponse:
    return JSONResponse(dict(request.session))


@authenticated
async def logout(request: Request) -> JSONResponse:
    await request.session.logout()
    return JSONResponse({})


@authenticated
async def logout_everywhere(request: Request) -> JSONResponse:
    await request.session.logout_everywhere()
    return JSONResponse({})


async def public(request: Request) -> JSONResponse:
    return JSONResponse({})


HANDLERS = (login, visit, me, count, write, save_late, show, logout, logout_everywhere, public)
service = Service([Route(f"/{one.__name__}", one, methods=["GET", "POST"]) for one in HANDLERS], name="drill")


# --- clients ----------------------------------------------------------------------------------------------------


class Answer:
    """Status, headers by name, the cookie it sets, the decoded body."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers = status, headers
        self.set_cookie = headers.get("set-cookie", "")
        self.body: Any = decode(body) if body else None


class User:
    """A browser's essentials on one connection a replica: fast, so that the replicas are what is measured."""

    def __init__(self, cookie: str = "") -> None:
        self.cookie = cookie
        self._connections: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def send(self, port: int, path: str, method: str = "GET") -> Answer:
        if port not in self._connections:
            self._connections[port] = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = self._connections[port]
        cookie = f"Cookie: __Host-session={self.cookie}\r\n" if self.cookie else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{cookie}Content-Length: 0\r\n\r\n"
        try:
            writer.write(head.encode())
            raw = await reader.readuntil(b"\r\n\r\n")
            lines = raw.decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:-2])}
            answer = Answer(int(lines[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"])))
        except BaseException:
            self._connections.pop(port)
            writer.close()
            raise
        if headers.get("connection", "").lower() == "close":
            self._connections.pop(port)
            writer.close()
        if answer.set_cookie:
            self.cookie = answer.set_cookie.partition("=")[2].partition(";")[0].strip('"')
        return answer

    def close(self) -> None:
        for _, writer in self._connections.values():
            writer.close()


# --- the parts --------------------------------------------------------------------------------------------------


class Parts:
    """Redis, two replicas, and a third one whose sessions idle out soon."""

    def __init__(self, folder: Path) -> None:
        from fivenines.lab.processes import Guard
        from fivenines.lab.redis import RedisServer

        self._guard, self._folder = Guard(), folder
        self.redis = RedisServer(folder / "redis", self._guard)
        self.key = secrets.token_urlsafe(32)
        self.replicas: list[Any] = [None, None]
        self.ports = [0, 0]

    async def start(self) -> None:
        await asyncio.to_thread(self.redis.start)
        self.store = connect(self.redis.url, timeout=10)
        one, two, (self.short, self.short_port) = await asyncio.gather(
            self.replica(self.key),
            self.replica(self.key),
            self.replica(self.key, FIVENINES_SESSION_IDLE=f"{WINDOW:g}", FIVENINES_NAMESPACE="short"),
        )
        (self.replicas[0], self.ports[0]), (self.replicas[1], self.ports[1]) = one, two

    async def replica(self, keys: str, **env: str) -> tuple[Any, int]:
        """A new `fivenines serve`, ready; on a port of its own."""
        from fivenines.lab.ports import free_ports
        from fivenines.lab.processes import Process, http_status

        (port,) = free_ports(1)
        environment = {**os.environ, "FIVENINES_REDIS_URL": self.redis.url, "FIVENINES_SECRET_KEYS": keys,
                       "FIVENINES_DRAIN": "0.2", "FIVENINES_ADMIN_BIND": "", "FIVENINES_LOG_LEVEL": "error",
                       **env}  # fmt: skip
        command = [sys.executable, "-m", "fivenines", "serve", "sessions:service", "--bind", f"127.0.0.1:{port}"]
        process = Process(f"replica-{port}", command, cwd=Path(__file__).parent, env=environment,
                          log=self._folder / f"replica-{port}.log", guard=self._guard)  # fmt: skip
        await asyncio.to_thread(process.start)
        await asyncio.to_thread(process.wait_ready, lambda: http_status(port, "/readyz") == 200, deadline=30.0)
        return process, port

    async def stop(self) -> None:
        await self.store.aclose()
        running = [process for process in (*self.replicas, getattr(self, "short", None)) if process]
        await asyncio.gather(*(asyncio.to_thread(process.stop, 5.0) for process in running))
        await asyncio.to_thread(self.redis.stop)

    @property
    def settings(self) -> Settings:
        return Settings.from_environment({}, name="drill", secret_keys=self.key, redis_url=self.redis.url)

    async def keys(self, pattern: str) -> list[bytes]:
        return await scan(self.store, pattern)

    async def calls(self, *commands: str) -> int:
        """How often Redis has run these commands, from scripts too."""
        stats = (await self.store.do("INFO", "commandstats")).decode()
        wanted = {f"cmdstat_{command}" for command in commands}
        return sum(
            int(line.split("calls=")[1].split(",")[0])
            for line in stats.splitlines()
            if line.partition(":")[0] in wanted
        )


async def scan(store: Store, pattern: str) -> list[bytes]:
    found, cursor = [], b"0"
    while True:
        cursor, page = await store.do("SCAN", cursor, "MATCH", pattern, "COUNT", 2_000)
        found += page
        if cursor == b"0":
            return found


# --- the trials: each returns a line for the table and what fell short ------------------------------------------

Result = tuple[str, list[str]]


async def s1_writers(parts: Parts) -> Result:
    """64 writers: disjoint fields, one counter, one updated field."""
    owner = User()
    await owner.send(parts.ports[0], "/login?user=s1")
    refused = 0

    async def writer(number: int) -> None:
        nonlocal refused
        user = User(owner.cookie)
        for turn in range(TURNS):
            answer = await user.send(parts.ports[(number + turn) % 2], f"/write?field=w{number}&turn={turn}", "POST")
            refused += answer.status != 200
        user.close()

    await asyncio.gather(*(writer(number) for number in range(WRITERS)))
    kept = (await User(owner.cookie).send(parts.ports[0], "/show")).body
    wanted = WRITERS * TURNS
    # Each writer's list, which nobody else writes, has to hold each of its turns, in order.
    fields = sum(len(kept[f"w{n}"]) for n in range(WRITERS) if kept.get(f"w{n}") == list(range(TURNS)))
    counter, updated = kept["count"], kept["updated"]
    problems = [f"{refused} writes refused"] * bool(refused)
    problems += [f"{wanted - fields} changes lost"] * (fields != wanted)
    problems += [f"counter {counter} of {wanted}"] * (counter != wanted)
    problems += [f"updated {updated} of {wanted}"] * (updated != wanted)
    return f"{wanted:,} writes: {fields:,} kept, counter {counter:,}, updated {updated:,}", problems


async def s2_logouts(parts: Parts) -> Result:
    """A logout among saves in flight: nothing of the session is there afterwards."""
    resurrected = straddled = odd = 0
    users = [User() for _ in range(SAVES)]
    for number in range(ROUNDS):
        owner = User()
        await owner.send(parts.ports[number % 2], f"/login?user=s2-{number}")
        cookie = owner.cookie
        ended = 0.0

        async def save(user: User, index: int, cookie: str = cookie) -> float:
            nonlocal odd
            user.cookie = cookie
            path = f"/save_late?after={random.uniform(0, 0.05):.3f}&field=f{index}"
            if index % 3 == 2:
                path = "/count"
            answer = await user.send(parts.ports[index % 2], path, "POST")
            odd += answer.status not in (200, 401)
            return time.monotonic() if answer.status == 200 else 0.0

        saves = [asyncio.create_task(save(user, index)) for index, user in enumerate(users)]
        await asyncio.sleep(random.uniform(0.005, 0.05))
        odd += (await owner.send(parts.ports[(number + 1) % 2], "/logout", "POST")).status != 200
        ended = time.monotonic()
        straddled += sum(done > ended for done in await asyncio.gather(*saves))
        late = User(cookie)
        for port in parts.ports:
            resurrected += (await late.send(port, "/me")).status == 200
        late.close()
        owner.close()
        for key in await parts.keys("drill:s:*"):
            # Whatever is left under this round's user, and a hash that is nobody's session, has come back.
            user, alive = await parts.store.do("HMGET", key, "u", "c")
            resurrected += user == f"s2-{number}".encode() or (alive is None and not await superseded(parts, key))
    for user in users:
        user.close()
    problems = [f"{resurrected} resurrected"] * bool(resurrected) + [f"{odd} odd answers"] * bool(odd)
    problems += ["no save was in flight during a logout"] * (straddled == 0)
    return f"{ROUNDS} logouts, {straddled:,} saves in flight: {resurrected} resurrected", problems


async def superseded(parts: Parts, key: bytes) -> bool:
    return bool(await parts.store.do("HEXISTS", key, "x"))


async def s3_fixation(parts: Parts) -> Result:
    """Ids from outside become nothing; a login ends the id before it; a dump holds no live id."""
    cookies = CookiePolicy.from_settings(parts.settings)
    before, adopted = set(await parts.keys("drill:*")), 0
    made_up = [new_id() for _ in range(20)]
    signed = [cookies.sign(id, user) for id in made_up for user in (None, "s3")]
    forged = [f"{id}.czM.{'A' * 22}" for id in made_up] + ["x" * 5_000, "..", '"', "%00", "A" * 43]
    for value in (*signed, *forged):
        user = User(value)
        for port in parts.ports:
            adopted += (await user.send(port, "/me")).status != 401
        user.close()
    victim = User()
    await victim.send(parts.ports[0], "/login?user=s3-victim")
    id, principal, signature = victim.cookie.split(".")
    admin = cookies.sign(id, "admin").split(".")[1]
    other = id[:-1] + ("A" if id[-1] != "A" else "B")
    tampered = [f"{id}.{admin}.{signature}", f"{id}..{signature}", f"{other}.{principal}.{signature}",
                f"{id}.{principal}.{'A' * 22}"]  # fmt: skip
    for value in tampered:
        adopted += (await User(value).send(parts.ports[1], "/me")).status != 401
    adopted += len(set(await parts.keys("drill:*")) - before - await of_user(parts, "s3-victim"))
    live, old_accepted = [victim.cookie], 0
    for number in range(20):
        user = User()
        await user.send(parts.ports[number % 2], "/visit")
        for again in range(2):
            old = user.cookie
            await user.send(parts.ports[(number + again) % 2], f"/login?user=s3-{number}")
            for port in parts.ports:
                old_accepted += (await User(old).send(port, "/me")).status != 401
        live.append(user.cookie)
    await parts.store.do("CONFIG", "SET", "rdbcompression", "no")  # so that the dump can be searched
    await parts.store.do("SAVE")
    folder = Path((await parts.store.do("CONFIG", "GET", "dir"))[b"dir"].decode())
    dump = await asyncio.to_thread(everything_in, folder)
    found = sum(part.encode() in dump for value in live for part in (value, value.split(".")[0]))
    problems = [f"{adopted} adopted"] * bool(adopted) + [f"{old_accepted} old ids accepted"] * bool(old_accepted)
    problems += [f"{found} live ids in Redis' files"] * bool(found)
    problems += ["the dump does not hold the sessions"] * (b"s3-victim" not in dump)
    tried = len(signed) + len(forged) + len(tampered)
    return f"{tried} ids from outside: {adopted} adopted; 40 logins: {old_accepted} old ids; dump: {found}", problems


def everything_in(folder: Path) -> bytes:
    """Redis' dump and its append-only files."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def of_user(parts: Parts, user: str) -> set[bytes]:
    mine = {key for key in await parts.keys("drill:s:*") if await parts.store.do("HGET", key, "u") == user.encode()}
    return mine | {f"drill:g:{user}".encode()}


async def s4_renewals(parts: Parts) -> Result:
    """1,000 reads in one idle window: few expiry writes, one flight each; anonymous requests leave no trace."""
    user, port, cookies = User(), parts.short_port, 0
    await user.send(port, "/login?user=s4")
    await user.send(port, "/me")
    begun, before = time.monotonic(), await parts.calls("pexpire")
    lost = 0
    for number in range(READS):
        answer = await user.send(port, "/me")
        cookies += bool(answer.set_cookie)
        lost += answer.status != 200
        await asyncio.sleep(max(0.0, begun + number * WINDOW / READS - time.monotonic()))
    renewals = await parts.calls("pexpire") - before
    took = (time.monotonic() - begun) / WINDOW
    allowed = 10 * max(1.0, took)  # a machine too slow for its window has used up more than one
    anonymous = User()
    keys = len(await parts.keys("short:*"))
    scripts = await parts.calls("evalsha", "eval", "get", "hset")
    given = 0
    for _ in range(200):
        for path in ("/public", "/me"):
            given += bool((await anonymous.send(port, path)).set_cookie)
    traces = len(await parts.keys("short:*")) - keys
    asked = await parts.calls("evalsha", "eval", "get", "hset") - scripts
    problems = [f"{renewals} expiry writes, {cookies} cookies"] * (renewals > allowed or cookies != renewals)
    problems += [f"{lost} reads refused"] * bool(lost) + ["never renewed"] * (renewals == 0)
    problems += [f"anonymous: {traces} keys, {given} cookies, {asked} commands"] * bool(traces or given or asked)
    return (f"{READS:,} reads: {renewals} expiry writes, {cookies} cookies; "
            f"400 anonymous: {traces} keys, {given} cookies, {asked} commands"), problems  # fmt: skip


async def s5_everywhere(parts: Parts) -> Result:
    """10,000 sessions of one user end with one command, on the next request, on both replicas."""
    settings, sessions = parts.settings, SessionStore(parts.store, parts.settings)
    cookies = CookiePolicy.from_settings(settings)
    generation = await sessions.generation("s5")
    ids = [new_id() for _ in range(SESSIONS)]
    for chunk in range(0, SESSIONS, 1_000):
        await asyncio.gather(*(sessions.create(id, "s5", generation, {}) for id in ids[chunk : chunk + 1_000]))
    bystander = User()
    await bystander.send(parts.ports[0], "/login?user=s5-other")
    sample = [User(cookies.sign(id, "s5")) for id in random.sample(ids, 40)]
    alive = [(await user.send(port, "/me")).status for user in sample for port in parts.ports]
    ender = User(cookies.sign(ids[0], "s5"))
    await ender.send(parts.ports[0], "/me")
    changing = ("del", "unlink", "hdel", "hset", "set", "incr", "expire", "pexpire", "rename")
    before = await parts.calls(*changing)
    begun = time.perf_counter()
    answer = await ender.send(parts.ports[0], "/logout_everywhere", "POST")
    took = time.perf_counter() - begun
    commands = await parts.calls(*changing) - before
    left = sum([(await user.send(port, "/me")).status != 401 for user in sample for port in parts.ports])
    problems = ["sessions were not there"] * (set(alive) != {200} or answer.status != 200)
    problems += [f"{commands} commands"] * (commands != 1) + [f"{left} still accepted"] * bool(left)
    problems += ["another user was logged out"] * ((await bystander.send(parts.ports[1], "/me")).status != 200)
    return f"{SESSIONS:,} sessions: {commands} command, {took * 1e3:.1f} ms, {left} still accepted", problems


async def s6_away(parts: Parts) -> Result:
    """Redis frozen, then killed: 503 with Retry-After, nobody logged out; then as before."""
    user, stranger, problems, slowest, back = User(), User(), [], 0.0, 0.0
    header = (await user.send(parts.ports[0], "/login?user=s6")).set_cookie
    wanted = {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"}
    if not header.startswith("__Host-session=") or len(header) > 4_096 or not wanted <= set(header.split("; ")):
        problems.append(f"cookie {header!r}")
    counted = (await user.send(parts.ports[0], "/count", "POST")).body["count"]
    cookie, wrong, answers = user.cookie, 0, 0
    for hurt, mend in ((parts.redis.freeze, parts.redis.unfreeze), (parts.redis.kill, parts.redis.start)):
        if hurt == parts.redis.kill:
            await asyncio.sleep(1.2)  # appendfsync everysec: what was answered a second ago is on disk
        await asyncio.to_thread(hurt)
        for path in ("/me", "/count", "/show", "/logout", "/login?user=s6"):
            for port in parts.ports:
                begun = time.perf_counter()
                answer = await user.send(port, path, "POST")
                slowest = max(slowest, time.perf_counter() - begun)
                answers += 1
                wrong += answer.status != 503 or "retry-after" not in answer.headers or bool(answer.set_cookie)
                wrong += (await stranger.send(port, "/public")).status != 200
        await asyncio.to_thread(mend)
        begun = time.perf_counter()
        for port in parts.ports:
            while (answer := await user.send(port, "/me")).status == 503 and time.perf_counter() - begun < 5:
                await asyncio.sleep(0.01)
            wrong += answer.status != 200 or answer.body["user"] != "s6"
        back = max(back, time.perf_counter() - begun)
    # A count that was sent and whose answer was lost may have run when Redis woke, never more than once each.
    more = (await user.send(parts.ports[0], "/me")).body["count"] - counted
    wrong += not 0 <= more <= 4 or user.cookie != cookie
    problems += [f"{wrong} wrong answers"] * bool(wrong)
    problems += [f"slowest {slowest:.2f} s"] * (slowest > 1.0) * (not QUICK)
    problems += [f"back after {back:.2f} s"] * (back > 1.0) * (not QUICK)
    return f"{answers} answers 503, {wrong} wrong, slowest {slowest:.2f} s; back after {back:.2f} s", problems


async def s7_keys(parts: Parts) -> Result:
    """Users at work while every replica is replaced three times, to exchange the secret key."""
    users = [(f"s7-{number}", User()) for number in range(USERS)]
    lost = requests = 0
    stop, rounds = asyncio.Event(), [0] * USERS
    for name, user in users:
        await user.send(parts.ports[0], f"/login?user={name}")

    async def work(number: int, name: str, user: User) -> None:
        nonlocal lost, requests
        counted, turn = 0, number
        while not stop.is_set():
            turn += 1
            port = parts.ports[turn % 2]
            answer = await user.send(port, "/count", "POST")
            counted += 1
            seen = await user.send(parts.ports[(turn + 1) % 2], "/me")
            requests += 2
            rounds[number] += 1
            if answer.status != 200 or seen.status != 200 or seen.body != {"user": name, "count": counted}:
                lost += 1
                return
            await asyncio.sleep(0.15)  # the replicas that start need the processors too

    tasks = [asyncio.create_task(work(number, *user)) for number, user in enumerate(users)]
    new_key = secrets.token_urlsafe(32)
    replaced = 0
    lists = (f"{parts.key},{new_key}", f"{new_key},{parts.key}", new_key)
    fresh = await asyncio.gather(*(parts.replica(keys) for keys in lists for _ in (0, 1)))
    for pair in (fresh[:2], fresh[2:4], fresh[4:]):
        for index in (0, 1):
            # As a balancer does it: the new one gets the traffic, and the old one drains.
            old = parts.replicas[index]
            parts.replicas[index], parts.ports[index] = pair[index]
            mark = list(rounds)
            await asyncio.to_thread(old.stop, 10.0)
            replaced += 1
            while any(now < then + 2 for now, then in zip(rounds, mark, strict=True)) and not done(tasks):
                await asyncio.sleep(0.02)  # everyone has been at both replicas before the next change
    stop.set()
    failures = [error for error in await asyncio.gather(*tasks, return_exceptions=True) if error]
    problems = [f"{lost} sessions lost"] * bool(lost) + [repr(error) for error in failures[:1]]
    return f"{replaced} replicas replaced, {requests:,} requests of {USERS} users: {lost} sessions lost", problems


def done(tasks: list[asyncio.Task[None]]) -> bool:
    return any(task.done() for task in tasks)


TRIALS: list[tuple[str, Callable[[Parts], Awaitable[Result]]]] = [
    ("S1 writers", s1_writers),
    ("S2 logout races saves", s2_logouts),
    ("S3 fixation", s3_fixation),
    ("S5 logout everywhere", s5_everywhere),
    ("S6 Redis away", s6_away),
    ("keys exchanged", s7_keys),
]


async def main() -> int:
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="fivenines-sessions-") as folder:
        parts = Parts(Path(folder))
        try:
            await parts.start()
            # Alone first: it counts what Redis does.
            for name, trial in [("S4 renewals", s4_renewals), *TRIALS]:
                begun = time.monotonic()
                try:
                    line, problems = await trial(parts)
                except Exception as error:
                    line, problems = "did not end", [f"{type(error).__name__}: {error}"]
                print(f"{name:22} {line}   ({time.monotonic() - begun:.1f} s)", flush=True)
                failures += [f"{name}: {problem}" for problem in problems]
        finally:
            await parts.stop()
    if failures:
        print(f"sessions: FELL SHORT, {'; '.join(failures)}")
        return 1
    print(f"sessions: held, {WRITERS * TURNS:,} writes exact, 0 resurrected, 0 adopted, 0 lost while keys changed")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
