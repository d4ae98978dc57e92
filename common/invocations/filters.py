# ruff: noqa: S608  (the conditions are put together from constants)
"""What a list of invocations can be restricted by, beside account, status, tool and time.

Each restriction is a condition on `invocations i` that an index answers (docs/decisions/finding-invocations.md).
Metadata has a table of its own, and a request id needs two looks: one that we made is found by the time in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from common.invocations.model import ENDS
from common.kit import jsonb
from common.kit.clock import uuid7_floor
from common.kit.paging import Window
from common.models.finding import SKEWED

FAILURES: Final = tuple(status for status in ENDS if status != "succeeded")
#: Ids are made by the web processes' clocks, `created_at` by the database's: how far they may differ.
CLOCK_SKEW: Final = timedelta(hours=1)
#: … and of those that are not `finding.SKEWED` (an id has whole milliseconds, hence a bit more).
NEAR: Final = timedelta(seconds=11)

_CONDITIONS: Final = {
    "api_key": "i.api_key_id = cast(:api_key as uuid)",
    "end_user": "i.end_user = cast(:end_user as text)",
    "error": "i.error_code = cast(:error as text)",
    "rerun_of": "i.rerun_of = cast(:rerun_of as uuid)",
    "request_id": "i.request_id = cast(:request_id as text)",
    "metadata": "i.metadata @> cast(:metadata as jsonb)",
    "idempotency_key": """i.id = (select k.invocation_id from idempotency_keys k
            where k.user_id = :user_id and k.key = :idempotency_key and k.created_at > now() - interval '24 hours')""",
}
#: The same as the condition of the index, or its opposite: then the ids begin alike.
_OTHER_TIME: Final = "left(i.request_id, 8) <> left(i.id::text, 8)"
_SAME_TIME: Final = """left(i.request_id, 8) = left(i.id::text, 8)
         and i.id >= cast(:request_low as uuid) and i.id < cast(:request_high as uuid)"""
OURS: Final = "request_id of ours"
_HEX: Final = re.compile(r"[0-9a-f]{8}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Matching:
    """The values to be found; None: any. All of `metadata` has to be there.

    `idempotency_key`, `end_user` and `metadata` are an account's own words: only together with an owner.
    """

    idempotency_key: str | None = None
    request_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    api_key: UUID | None = None
    end_user: str | None = None
    error: str | None = None
    rerun_of: UUID | None = None

    @property
    def names(self) -> frozenset[str]:
        """What is restricted; with `OURS` if a request id can be one of ours."""
        found = {each.name for each in fields(self) if getattr(self, each.name) not in (None, {})}
        return frozenset(found | {OURS} if _HEX.match(self.request_id or "") else found)

    def parameters(self) -> dict[str, object]:
        """The parameters of the conditions."""
        low, high = _ids_beside(self.request_id or "")
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**given, "metadata": jsonb.dumps(dict(self.metadata)), "request_low": low, "request_high": high}


@dataclass(frozen=True, slots=True)
class Filters:
    """Everything that a list is restricted by. `owner` None: of any account; `statuses` empty: any.

    `start` inclusive, `end` exclusive, both on `created_at`.
    """

    owner: UUID | None
    statuses: Sequence[str] = ()
    tool: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    matching: Matching = field(default_factory=Matching)

    @property
    def high(self) -> UUID:
        """Above all ids."""
        return uuid7_floor(self.end, CLOCK_SKEW) if self.end else UUID(int=2**128 - 1)

    def below(self, window: Window) -> dict[str, object]:
        """The parameters of a page: ids are below these."""
        near = uuid7_floor(self.end, NEAR) if self.end else self.high
        (after,) = window.after or (self.high,)
        return {"below": min(self.high, after), "near_below": min(near, after)}

    def parameters(self) -> dict[str, object]:
        """The parameters of a list's statement, but for its page."""
        return {
            "user_id": self.owner,
            "tool": self.tool,
            "from": self.start,
            "to": self.end,
            "low": uuid7_floor(self.start, -CLOCK_SKEW) if self.start else UUID(int=0),
            "near_low": uuid7_floor(self.start, -NEAR) if self.start else UUID(int=0),
            **self.matching.parameters(),
        }


def conditions(names: Iterable[str]) -> list[str]:
    """The conditions of these restrictions, wherever the rows come from."""
    return [_CONDITIONS[name] for name in sorted({*names} - {OURS})]


def looks(names: frozenset[str]) -> list[str]:
    """The conditions of each look that is to be made at all invocations: together they find everything."""
    if OURS in names:
        return [_OTHER_TIME, _SAME_TIME]
    return [_OTHER_TIME] if "request_id" in names else ["true"]


#: All of them, as a table `i`.
INVOCATIONS: Final = "invocations i"


def source(names: frozenset[str]) -> str:
    """What ended invocations are looked for in, as a table `i`."""
    narrower = names & {"request_id", "idempotency_key", "rerun_of"}
    return LABELED if "metadata" in names and not narrower else INVOCATIONS


#: The pair that the fewest have, as far as that can be seen by looking at so many of each.
LOOKED_AT: Final = 1_000
_RAREST: Final = f"""(select o.term
         from unnest(invocation_terms(cast(:user_id as uuid), cast(:metadata as jsonb))) o(term) cross join lateral (
         select count(*) as number from (select from metadata_terms m where m.term = o.term limit {LOOKED_AT}) m) m
        order by m.number limit 1)"""
_COLUMNS: Final = """x.user_id, x.tool_id, x.api_key_id, x.status, x.failure, x.error_code, x.metadata, x.end_user,
         x.rerun_of, x.request_id, x.created_at"""
#: All invocations of the owner with this pair, newest first, as a table `i`. (`offset 0`: each by its id.)
LABELED: Final = f"""(select t.invocation_id as id, {_COLUMNS}
         from metadata_terms t cross join lateral (select * from invocations x where x.id = t.invocation_id offset 0) x
        where t.term = {_RAREST}) i"""


#: Those of the owner whose clocks differ, between two ids, the same way: found in their index alone.
CLOCKS_DIFFER: Final = f"""(select s.id, {_COLUMNS}
         from (select id from invocations where user_id = :user_id and id >= :low and id < :below and {SKEWED}) s
        cross join lateral (select * from invocations x where x.id = s.id offset 0) x) i"""


def _ids_beside(request_id: str) -> tuple[UUID, UUID]:
    """The range of ids that begin like this request id: those of about a minute. Empty if no id does."""
    start = request_id[:8]
    if not _HEX.fullmatch(start):
        return UUID(int=0), UUID(int=0)
    low = UUID(start + "0" * 24)
    return low, UUID(int=min(low.int + 2**96, 2**128 - 1))
