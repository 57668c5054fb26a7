"""Mixed traffic of the example service, and the books that tell whether it kept its word.

Each user is a coroutine that logs in, visits, orders, reads back. It knows what the service has acknowledged,
so every answer can be checked: a session that was valid must not be refused, a visit counts exactly once, one
idempotency key makes one order. A request whose outcome is unknown widens what is accepted by exactly one.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fivenines.lab.load import Entry, Ledger, LoadClient, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import httpx2

_ITEMS = ("tea", "coffee", "cake")
_PAGE = 100


@dataclass
class Books:
    """What the traffic has seen; `complaints` holds a sentence for each broken promise."""

    ledger: Ledger = field(default_factory=Ledger)
    complaints: list[str] = field(default_factory=list)
    sessions_lost: int = 0
    logins: int = 0
    orders_answered: int = 0  # different keys that got a 201
    orders_listed: int = 0  # found by paging through every user's orders at the end
    orders_missing: int = 0  # answered, but not listed
    orders_doubled: int = 0  # listed, but more than the keys that were sent can have made
    replays: int = 0

    def complain(self, entry: Entry, expected: str) -> None:
        """Note an answer that the contract does not allow."""
        got = "no answer" if entry.status is None else f"{entry.status} {str(entry.body)[:120]}"
        self.complaints.append(f"{entry.method} {entry.path}: expected {expected}, got {got}")


class User:
    """One person with one session at a time."""

    def __init__(self, name: str, client: LoadClient, books: Books, think: float) -> None:
        self.name = name
        self._send = client.send
        self._books = books
        self._think = think
        self.busy = False
        self._session = False  # a login was answered, and nothing since can have ended it
        self._visits = (0, 0)  # fewest and most that the session may have counted
        self._orders: dict[str, dict[str, Any]] = {}  # by key, as first answered
        self._unsettled: dict[str, tuple[str, int]] = {}  # keys whose outcome is unknown

    async def live(self, steps: int) -> None:
        """Log in, do `steps` things, and log out now and then."""
        await self.login()
        for _ in range(steps):
            await asyncio.sleep(random.uniform(0, 2 * self._think))
            if not self._session:
                await self.login()
                continue
            await self._next_step()()
        if random.random() < 0.3:
            await self.logout()

    def _next_step(self) -> Callable[[], Coroutine[Any, Any, None]]:
        steps: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self.visit, self.order, self.read_order, self.me, self.price, self.list_newest, self.replay,
            self.visit_at_once, self.login,
        ]  # fmt: skip
        return random.choices(steps, (22, 22, 16, 10, 16, 4, 5, 3, 2))[0]

    async def login(self) -> None:
        """A new session; whatever was counted in the old one is over."""
        self._session = False
        entry = await self._send("POST", "/login", json={"user": self.name})
        if entry.status == 200:
            self._session, self._visits = True, (0, 0)
            self._books.logins += 1
        elif not entry.uncertain:
            self._books.complain(entry, "200")

    async def logout(self) -> None:
        """After a logout the session is refused, by whichever replica."""
        entry = await self._send("POST", random.choice(("/logout", "/logout", "/logout/everywhere")))
        if self._refused(entry) or entry.uncertain:
            self._session = False
            return
        self._session = False
        if entry.status != 204:
            self._books.complain(entry, "204")
            return
        entry = await self._send("GET", "/me")
        if entry.status != 401 and not entry.uncertain:
            self._books.complain(entry, "401 after a logout")

    async def me(self) -> None:
        """Reading does not count."""
        entry = await self._send("GET", "/me")
        if not self._usable(entry, 200):
            return
        fewest, most = self._visits
        visits = _number(entry, "visits")
        if entry.body.get("user") != self.name or not fewest <= visits <= most:
            self._books.complain(entry, f"{self.name} with {fewest} to {most} visits")

    async def visit(self) -> None:
        """Counts exactly one."""
        await self._counted([await self._send("POST", "/visits")])

    async def visit_at_once(self) -> None:
        """Three at once, perhaps on three replicas, count three and answer three different values."""
        await self._counted(list(await asyncio.gather(*(self._send("POST", "/visits") for _ in range(3)))))

    async def _counted(self, entries: list[Entry]) -> None:
        fewest, most = self._visits
        answered = [entry for entry in entries if not entry.uncertain]
        # What may have been executed without an answer may still show up in a later value.
        most += len(entries)
        values = [_number(entry, "visits") for entry in answered if self._usable(entry, 200)]
        low = fewest + len(values)
        if len(set(values)) != len(values) or any(not fewest < value <= most for value in values):
            self._books.complain(answered[-1], f"different values from {fewest + 1} to {most}, seen {values}")
        self._visits = (max([low, *values]), most)

    async def order(self) -> None:
        """A new key makes a new order."""
        await self._place(uuid.uuid4().hex, random.choice(_ITEMS), random.randint(1, 9))

    async def _place(self, key: str, item: str, quantity: int) -> None:
        self._unsettled[key] = (item, quantity)
        entry = await self._send("POST", "/orders", json={"item": item, "quantity": quantity}, key=key)
        if not self._usable(entry, 201):
            if not entry.uncertain:
                del self._unsettled[key]  # refused for good: it left no trace
            return
        body = entry.body
        if (body.get("item"), body.get("quantity")) != (item, quantity) or not isinstance(body.get("id"), str):
            self._books.complain(entry, f"an order of {quantity} {item}")
            return
        del self._unsettled[key]
        if key not in self._orders:
            self._orders[key] = body
            self._books.orders_answered += 1

    async def replay(self) -> None:
        """A known key gets the order it made."""
        if not self._orders:
            return
        key, first = random.choice(list(self._orders.items()))
        wanted = {"item": first["item"], "quantity": first["quantity"]}
        entry = await self._send("POST", "/orders", json=wanted, key=key)
        if self._usable(entry, 201):
            self._books.replays += 1
            if entry.body != first:
                self._books.complain(entry, f"the order that the key made, {first['id']}")

    async def read_order(self) -> None:
        """An acknowledged order is there, from whichever replica."""
        if not self._orders:
            return
        first = random.choice(list(self._orders.values()))
        entry = await self._send("GET", f"/orders/{first['id']}")
        if self._usable(entry, 200) and entry.body != first:
            self._books.complain(entry, f"the order as it was acknowledged, {first}")

    async def list_newest(self) -> None:
        """The newest come first."""
        entry = await self._send("GET", "/orders?limit=5")
        if self._usable(entry, 200) and len(entry.body["orders"]) < min(5, len(self._orders)):
            self._books.complain(entry, f"{min(5, len(self._orders))} orders")

    async def price(self) -> None:
        """Needs no session."""
        item = random.choice(_ITEMS)
        entry = await self._send("GET", f"/prices/{item}")
        if entry.uncertain:
            return
        if entry.status != 200 or entry.body["item"] != item or _number(entry, "price") <= 0:
            self._books.complain(entry, f"the price of {item}")

    async def audit(self) -> None:
        """Page through all orders and compare with what was acknowledged."""
        for _ in range(3):
            if not self._session:
                await self.login()
        listed: list[str] = []
        after = ""
        while True:
            entry = await self._send("GET", f"/orders?limit={_PAGE}{after}")
            if not self._usable(entry, 200):
                self._books.complain(entry, "a page of orders")
                return
            listed += [order["id"] for order in entry.body["orders"]]
            if (last := entry.body["next"]) is None:
                break
            after = f"&after={last}"
        acknowledged = {order["id"] for order in self._orders.values()}
        books = self._books
        books.orders_listed += len(listed)
        books.orders_missing += len(acknowledged - set(listed))
        # An order that nobody acknowledged is right only for a key whose answer never came.
        unknown = len(listed) - len(acknowledged & set(listed))
        books.orders_doubled += max(unknown - len(self._unsettled), 0)
        if len(acknowledged) < len(self._orders):
            books.complaints.append(f"{self.name}: two keys were answered with one order")

    def _usable(self, entry: Entry, expected: int) -> bool:
        """Whether the answer is the one to check further; complains where it is another."""
        if self._refused(entry) or entry.uncertain:
            return False
        if entry.status != expected or not isinstance(entry.body, dict):
            self._books.complain(entry, str(expected))
            return False
        return True

    def _refused(self, entry: Entry) -> bool:
        """A 401 where a login was valid: the session is lost."""
        if entry.status != 401:
            return False
        if self._session:
            self._books.sessions_lost += 1
            self._session = False
        return True


class Traffic:
    """Users who come and go, `concurrency` at a time, until it is told to stop."""

    def __init__(
        self,
        url: str,
        *,
        concurrency: int = 16,
        think: float = 0.02,
        wire: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.books = Books()
        self._url = url
        self._concurrency = concurrency
        self._think = think
        self._wire = wire or Wire(4 * concurrency)
        self._users: list[User] = []
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Let the first users come."""
        self._tasks = [asyncio.create_task(self._visitors()) for _ in range(self._concurrency)]

    @property
    def requests(self) -> int:
        """Sent so far."""
        return len(self.books.ledger.entries)

    async def finish(self) -> None:
        """Let everybody finish what they are at, then look into every user's orders."""
        self._stopping = True
        await asyncio.gather(*self._tasks)
        for start in range(0, len(self._users), self._concurrency):
            await asyncio.gather(*(user.audit() for user in self._users[start : start + self._concurrency]))

    async def aclose(self) -> None:
        """Break off: no more requests, connections closed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._wire.aclose()

    async def reached(self, requests: int) -> None:
        """Wait until so many were sent. Raises what ended a user's coroutine against its will."""
        milestone = asyncio.create_task(self.books.ledger.milestone(requests).wait())
        done, _ = await asyncio.wait([milestone, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        milestone.cancel()
        for task in done - {milestone}:
            task.result()

    async def _visitors(self) -> None:
        run = uuid.uuid4().hex[:8]
        while not self._stopping:
            # One in three comes back with orders of an earlier visit.
            idle = [user for user in self._users if not user.busy] if random.random() < 0.33 else []
            user = random.choice(idle) if idle else self._newcomer(run)
            user.busy = True
            try:
                await user.live(random.randint(6, 24))
            finally:
                user.busy = False

    def _newcomer(self, run: str) -> User:
        user = User(
            f"user-{run}-{len(self._users)}",
            LoadClient(self._url, self.books.ledger, self._wire),
            self.books,
            self._think,
        )
        self._users.append(user)
        return user


def _number(entry: Entry, name: str) -> int:
    """The member as a number; minus one, which no check accepts, where it is none."""
    value = entry.body.get(name) if isinstance(entry.body, dict) else None
    return value if type(value) is int else -1
