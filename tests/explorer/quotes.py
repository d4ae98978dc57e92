"""Signed quotes: verbs, and what must hold of calls that were submitted with one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from greenlet import getcurrent

from common import invocations
from common.errors import Conflict, NotFound
from common.identity.audit import OPERATOR
from common.identity.signatures import claims_of
from common.kit import clock
from common.tools import editing
from tests.factories import Customer

#: What a call costs and holds once the tool has become dearer: 5 + 4 units of 2.
DEARER = {"base_tokens": 5, "per_unit": {"pointer": "/units", "tokens": 2, "unit": "word"}, "max_tokens": 20}
DEARER_COST = 13
UNITS = 4
#: Quotes hold for 300 s, and start states longer.
_AGE = 120.0
_BEHIND = 3_600.0


class _Late(clock.Clock):
    """The clock of one process is an hour behind; nobody else's is."""

    def __init__(self) -> None:
        self._others = clock.use(self)
        clock.use(self._others)
        self._mine = getcurrent()

    def monotonic(self) -> float:
        return self._others.monotonic()

    def sleep(self, seconds: float) -> None:
        self._others.sleep(seconds)

    def wall(self) -> float:
        return self._others.wall() - (_BEHIND if getcurrent() is self._mine else 0.0)


@contextmanager
def _an_hour_behind() -> Iterator[None]:
    before = clock.use(_Late())
    try:
        yield
    finally:
        clock.use(before)


@dataclass(slots=True)
class Quotes:
    """A quote that holds, one that expired an hour ago, and which requests came with which."""

    customer: Customer
    slug: str
    holds: str = ""
    expired: str = ""
    made_at: float = 0.0
    sent: dict[str, str] = field(default_factory=dict)

    def again(self) -> Quotes:
        """The same, for a run that begins now. (They reserve nothing: the start state stays as it is.)"""
        if not self.holds or time.monotonic() - self.made_at > _AGE:
            self.made_at, self.holds = time.monotonic(), self._quote()
            with _an_hour_behind():
                self.expired = self._quote()
        return Quotes(self.customer, self.slug, self.holds, self.expired)

    def _quote(self) -> str:
        return str(invocations.quote(self.customer.caller, self.slug, {}, signed=True).quote)

    def submit(self, world: Any, request: str, quote: str) -> None:
        self.sent[request] = quote
        world.submit(request, quote=quote)

    def come(self, connection: psycopg.Connection[Any]) -> None:
        """Nothing waits for a moment here."""

    def broken(self, connection: psycopg.Connection[Any], _calls: Counter[UUID], *, settled: bool) -> list[str]:
        """What does not hold; `settled`: nothing is under way any more."""
        found = []
        for request, quote_id, version, held, status, charged, created_at in connection.execute(_ROWS):
            if request not in self.sent:
                found += [f"{request} has a quote that it did not come with"] if quote_id else []
                continue
            said: Any = claims_of(self.sent[request])
            price = said["price"]
            cost = int(price["base_tokens"]) + UNITS * int(price["per_unit"]["tokens"])
            if created_at >= said["exp"]:
                found.append(f"{request} was accepted when its quote had expired")
            if (quote_id, version, held) != (said["jti"], said["tool"]["version"], said["max_tokens"]):
                found.append(f"{request} has version {version} and holds {held}, which is not what was quoted")
            if status != "open" and charged != (cost if status == "succeeded" else 0):
                found.append(f"{request} {status}: charged {charged}, quoted {cost}")
            if settled and status == "open":
                found.append(f"{request} never ended")
        return found


_ROWS = b"""
select i.metadata->>'request', i.quote_id::text, v.version, i.held, i.status, i.charged,
       extract(epoch from i.created_at)
  from invocations i join tool_versions v on v.id = i.tool_version_id
"""


# -- verbs ---------------------------------------------------------------------------------------------------------


def quoted(world: Any, name: str) -> None:
    world.part.submit(world, f"quoted-{name}", world.part.holds)


def expired(world: Any, name: str) -> None:
    """To a process whose clock says that the quote still holds."""
    with _an_hour_behind():
        world.part.submit(world, f"expired-{name}", world.part.expired)


def raise_price(world: Any, _name: str) -> None:
    with suppress(Conflict, NotFound):
        editing.change(OPERATOR, world.tool.id, {"price": DEARER})


VERBS = {"quoted": quoted, "quote expired": expired, "dearer": raise_price}
