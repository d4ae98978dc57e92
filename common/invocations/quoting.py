"""What an invocation would hold and cost, whether it would be accepted now, and what would hold it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from common import budgets, errors, subscriptions, tools
from common.errors import PlatformError
from common.identity.authorization import Caller
from common.invocations import keyed, signed_quotes, sweeping, waiting
from common.invocations.choosing import choose
from common.invocations.model import Waiting
from common.kit import db
from common.kit.query import Query
from common.tools import ListedTool, Price, breakers

#: Fewer charges say nothing of the next one.
FEW: Final = 20


class QuotedTool(NamedTuple):
    """What an invocation would name as its tool."""

    id: UUID
    slug: str
    name: str
    version: int


class ChargeRow(NamedTuple):
    """The median of so many charges."""

    number: int
    median: int | None


class SlotsRow(NamedTuple):
    """How many slots a period's invocations have, and whether some wait for one.

    `of_key`: how many the caller's API key has at once. `behind`: of whatever account, there are invocations with a
    slot that no worker has started for a second.
    """

    taken: int
    waiting: bool
    of_key: int
    behind: bool


#: Of the tool's last 500 invocations, those that succeeded at today's price.
CHARGES: Final = Query(
    """
with latest as materialized (
  select charged, status, tool_version_id from invocations where tool_id = :tool_id order by id desc limit 500)
select count(*) as number, percentile_disc(0.5) within group (order by l.charged) as median
  from latest l join tool_versions v on v.id = l.tool_version_id join tool_versions c on c.id = :version_id
 where l.status = 'succeeded' and (v.base_tokens, v.max_tokens) = (c.base_tokens, c.max_tokens)
   and v.per_unit is not distinct from c.per_unit
""",
    ChargeRow,
)
#: Slots are counted only while none waits for one: then the period has no more rows than slots, but for a few.
SLOTS: Final = Query(
    """
with w as materialized (
  select (select id from queue where period_id = :period_id and slot is null and due_at <= now()
             and not tool_id = any(cast(:paused as uuid[])) order by priority, due_at limit 1) is not null as waiting)
select case when w.waiting then 0
            else (select count(slot)
                    from (select slot from queue where period_id = :period_id order by id limit 2000) q) end as taken,
       w.waiting,
       (select count(*) from queue where capped_key = cast(:key_id as uuid) and period_id = :period_id
           and key_due_at is null) as of_key,
       (select id from queue where token is null and slot is not null and due_at < now() - interval '1 s'
         order by start_tag limit 1) is not null as behind
  from w
""",
    SlotsRow,
)


@dataclass(frozen=True, slots=True)
class Quote:
    """Amounts are in tokens.

    Attributes:
        quote: the signed quote, where one was asked for; None also for an input that cannot be hashed.
        tool: what would run; `requested_tool`: what was asked for, where that is another.
        price: that of the tool which would run.
        max_tokens: what would be held.
        max_units: the units that `max_tokens` pays for; None if units are free.
        expected_tokens: the median of what such calls were charged lately, at most `max_tokens`; None: too few.
        available: the caller's available tokens; None: unlimited.
        reason: the code with which a submit would be refused; None if it would be accepted.
        waiting: what would keep an invocation from starting; None: nothing.
    """

    tool: QuotedTool
    requested_tool: ListedTool | None
    price: Price
    max_tokens: int
    max_units: int | None
    expected_tokens: int | None
    available: int | None
    reason: str | None
    waiting: Waiting | None
    estimated_wait_seconds: int
    quote: str | None = None

    @property
    def allowed(self) -> bool:
        """Whether a submit would be accepted now."""
        return self.reason is None

    @property
    def version(self) -> int:
        """The version of the tool that was quoted."""
        return self.tool.version


def quote(
    caller: Caller, tool_ref: str, value: object, max_tokens: int | None = None, *, signed: bool = False
) -> Quote:
    """The quote for one input; free of charge. Raises `NotFound`, `ToolInputRejected`, `Invalid`."""
    chosen = choose(caller, keyed.visible(caller, tool_ref), value, max_tokens)
    tool, amount = chosen.tool, chosen.amount
    account, available, reason = _affordable(caller, tool.current, amount)
    return Quote(
        tool=QuotedTool(tool.id, tool.slug, tool.name, tool.current.version),
        requested_tool=chosen.requested,
        price=tool.current.price,
        max_tokens=amount,
        max_units=tool.current.price.units_within(amount),
        expected_tokens=_expected(tool.current, amount),
        available=available,
        reason=reason,
        waiting=None if account is None else _waiting(tool.id, account),
        estimated_wait_seconds=round(sweeping.depth().oldest),
        quote=signed_quotes.sign(caller, chosen, value) if signed else None,
    )


def _affordable(
    caller: Caller, tool: tools.Version, amount: int
) -> tuple[budgets.Account | None, int | None, str | None]:
    """The caller's available tokens, and the code of the first refusal, in the order in which a submit checks."""
    try:
        terms = subscriptions.for_submit(caller.user_id)
        account = keyed.account_of(caller, terms)
        balance = budgets.now(terms.period_id)
        shares = budgets.spending.now(caller.user_id, [share.key_id for share in account.counted])
    except errors.SubscriptionRequired as refusal:
        return None, 0, refusal.code
    refusals: list[type[PlatformError]] = []
    if budgets.rate_limited(account):
        refusals.append(errors.RateLimited)
    if breakers.retry_after(tool.tool_id):
        refusals.append(errors.ToolUnavailable)
    available = [share.available for share in shares.values()]
    if min([balance.available, *available]) < amount:
        refusals.append(errors.BudgetExhausted)
    if balance.shown_available is not None:
        available.append(balance.shown_available)
    return account, min(available, default=None), refusals[0].code if refusals else None


def _expected(tool: tools.Version, most: int) -> int | None:
    found = db.execute(CHARGES, {"tool_id": tool.tool_id, "version_id": tool.id})[0]
    return None if found.median is None or found.number < FEW else min(found.median, most)


def _waiting(tool_id: UUID, account: budgets.Account) -> Waiting | None:
    """What an invocation of the account would wait for."""
    key, most = account.capped, account.max_concurrency
    asked = {"period_id": account.period_id, "key_id": key and key.key_id, "paused": breakers.open_tools()}
    slots = db.execute(SLOTS, asked)[0]
    key_is_full = key is not None and key.max_concurrency is not None and slots.of_key >= key.max_concurrency
    has_slot = not key_is_full and (most is None or (not slots.waiting and slots.taken < most))
    found = waiting.of(tool_id, waiting.lack(has_slot, key_is_full), None, None, scheduled=False)
    return None if found.reason == "queue" and not slots.behind else found
