"""Overlapping requests on two replicas against a model a reader can check: hypothesis looks for a difference."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from fivenines._runtime import Runtime
from fivenines.errors import NotAuthenticatedError
from fivenines.sessions import Session, anonymous, begin, finish
from fivenines.testing import service_settings

if TYPE_CHECKING:
    from blockbuster import BlockBuster

NAMES = st.sampled_from(["a", "b"])
ENDED: dict[str, int] | None = None


class Open:
    """One request that has loaded and not yet answered, with what it should see."""

    def __init__(self, session: Session, identity: int | None, view: dict[str, int]) -> None:
        self.session = session
        self.identity = identity  # of the session it holds; None: none
        self.view = view
        self.loaded = dict(view)
        self.stale = False  # came with an id that a login had replaced
        self.logged_in = False
        self.cleared = False


class Overlapping(RuleBasedStateMachine):
    """The model: sessions by number, each a dict; a request merges what it changed when it answers."""

    redis_url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        config = service_settings(self.redis_url, redis_timeout=10)
        self.replicas = self.loop.run_until_complete(self._make(config))
        self.sessions: dict[int, dict[str, int]] = {}
        self.principals: dict[int, str | None] = {}
        self.superseded: set[int] = set()
        self.cookies: dict[int, bytes] = {}
        self.numbers = iter(range(10**6))
        self.requests: list[Open] = []
        self.browser: int | None = None  # the identity its cookie names

    async def _make(self, config: Any) -> list[Runtime]:
        return [Runtime(config), Runtime(config)]

    async def _load(self, scope: Any, runtime: Runtime) -> Session:
        pending = begin(scope, runtime)
        return await pending.session() if pending else anonymous(scope, runtime)

    def teardown(self) -> None:
        for replica in self.replicas:
            self.loop.run_until_complete(replica.close())
        self.loop.close()

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @rule(replica=st.integers(0, 1), cookie=st.integers(0, 30))
    def arrive(self, replica: int, cookie: int) -> None:
        """A request comes, with the browser's cookie or with any that was ever given out."""
        known = sorted(self.cookies)
        identity = known[cookie % len(known)] if known and cookie < 25 else None
        headers = [(b"cookie", self.cookies[identity])] if identity is not None else []
        scope = {"type": "http", "method": "GET", "scheme": "http", "headers": headers}
        runtime = self.replicas[replica]
        session = self.run(self._load(scope, runtime))
        alive = identity in self.sessions
        request = Open(
            session, identity if alive else None, dict(self.sessions.get(identity or 0, {})) if alive else {}
        )
        request.stale = identity in self.superseded
        assert session.new is not alive
        assert session.principal == (self.principals[identity] if alive and identity is not None else None)
        self.requests.append(request)

    def pick(self, which: int) -> Open:
        return self.requests[which % len(self.requests)]

    @precondition(lambda self: self.requests)
    @rule(which=st.integers(0, 9), name=NAMES, value=st.integers(0, 9))
    def write(self, which: int, name: str, value: int) -> None:
        request = self.pick(which)
        request.session[name] = value
        request.view[name] = value

    @precondition(lambda self: self.requests)
    @rule(which=st.integers(0, 9), name=NAMES)
    def remove(self, which: int, name: str) -> None:
        request = self.pick(which)
        assert request.session.pop(name, None) == request.view.pop(name, None)

    @precondition(lambda self: self.requests)
    @rule(which=st.integers(0, 9), name=NAMES, update=st.booleans())
    def count(self, which: int, name: str, update: bool) -> None:
        """What acts at once saves the request's own changes first, then works on what stands there."""
        request = self.pick(which)
        work = request.session.update(name, lambda n: (n or 0) + 1) if update else request.session.increment(name)
        if self._ended(request):
            try:
                self.run(work)
            except NotAuthenticatedError:
                request.identity, request.stale, request.view, request.loaded = None, True, {}, {}
                return
            raise AssertionError("an ended session counted")
        if request.identity is None:
            request.view[name] = request.view.get(name, 0) + 1
            assert self.run(work) == request.view[name]
            self._save(request)
            return
        self._save(request)
        expected = self.sessions[request.identity].get(name, 0) + 1
        assert self.run(work) == expected
        self.sessions[request.identity][name] = request.view[name] = request.loaded[name] = expected

    @precondition(lambda self: self.requests)
    @rule(which=st.integers(0, 9), principal=st.sampled_from(["ada", "bob"]))
    def login(self, which: int, principal: str) -> None:
        request = self.pick(which)
        old = request.identity
        owner = self.principals.get(old) if old is not None else None
        if owner is None and old is not None and old not in self.sessions and request.session.principal:
            owner = request.session.principal
        stranger = request.session.principal not in (None, principal)
        self.run(request.session.login(principal))
        fields = {} if stranger else dict(request.view)
        if old is not None and old in self.sessions:
            last = self.sessions.pop(old)
            self.superseded.add(old)
            if not stranger:
                mine = {n for n in ("a", "b") if request.view.get(n) != request.loaded.get(n)}
                for name in {"a", "b"} - mine:
                    if last.get(name) != request.loaded.get(name):
                        fields.pop(name, None)
                        if name in last:
                            fields[name] = last[name]
        self._new(request, principal, fields)

    @precondition(lambda self: self.requests)
    @rule(which=st.integers(0, 9))
    def logout(self, which: int) -> None:
        request = self.pick(which)
        self.run(request.session.logout())
        if request.identity is not None:
            self.sessions.pop(request.identity, None)
        request.identity, request.stale, request.view, request.loaded = None, False, {}, {}

    @precondition(lambda self: any(r.session.principal for r in self.requests))
    @rule(which=st.integers(0, 9))
    def logout_everywhere(self, which: int) -> None:
        holders = [request for request in self.requests if request.session.principal]
        request = holders[which % len(holders)]
        principal = request.session.principal
        self.run(request.session.logout_everywhere())
        for identity, owner in self.principals.items():
            if owner == principal and identity in self.sessions:
                # Requests that hold one already may go on writing into it; nobody will ever load it again.
                del self.sessions[identity]
        for other in list(self.requests):
            if other.session.principal == principal:
                self.requests.remove(other)
        if request in self.requests:
            self.requests.remove(request)

    @precondition(lambda self: self.requests)
    @rule(which=st.integers(0, 9))
    def answer(self, which: int) -> None:
        """The response begins: what changed is merged, and the cookie given out."""
        request = self.pick(which)
        self.requests.remove(request)
        headers: list[tuple[bytes, bytes]] = []
        had = request.identity
        self.run(finish(request.session, headers, save=True))
        if not self._ended(request):
            self._save(request)
        if headers and b"Max-Age=0" not in headers[0][1] and request.identity is not None:
            self.cookies[request.identity] = headers[0][1].split(b";")[0]
        elif request.identity is not None and had is None:
            raise AssertionError("a new session without a cookie")

    def _ended(self, request: Open) -> bool:
        return request.stale or (request.identity is not None and request.identity not in self.sessions)

    def _new(self, request: Open, principal: str | None, fields: dict[str, int]) -> None:
        request.identity, request.stale = next(self.numbers) + 1, False
        self.sessions[request.identity], self.principals[request.identity] = dict(fields), principal
        request.view, request.loaded = dict(fields), dict(fields)

    def _save(self, request: Open) -> None:
        if request.identity is None:
            if request.view:
                self._new(request, None, request.view)
            return
        stored = self.sessions[request.identity]
        for name in ("a", "b"):
            if request.view.get(name) != request.loaded.get(name):
                stored.pop(name, None)
                if name in request.view:
                    stored[name] = request.view[name]
        request.loaded = dict(request.view)

    @invariant()
    def requests_see_their_own(self) -> None:
        for request in self.requests:
            if not (request.stale and request.identity is None):
                assert dict(request.session) == request.view


def test_overlapping_requests_agree_with_the_model(redis_url: str, blocking_calls_fail: BlockBuster) -> None:
    """Loads, writes, counts, logins, logouts and saves in any order: two replicas behave like one dict each."""
    machine = type("Machine", (Overlapping,), {"redis_url": redis_url})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=60, stateful_step_count=30, deadline=None,
                          suppress_health_check=list(HealthCheck)),
    )  # fmt: skip
