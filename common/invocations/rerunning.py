"""rerun: a new invocation with the input of one that was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from common.errors import Conflict, NotFound
from common.identity.authorization import Caller
from common.invocations import fragments, submitting
from common.invocations.model import Order, Submitted
from common.kit import db
from common.kit.query import Query


class OriginalRow(NamedTuple):
    """What is to be repeated, of the tool that was asked for. `dropped`: its input is no longer stored.

    `stream`: its answer was streamed, and the tool can still do that.
    """

    tool_id: UUID
    input: object  # JSON
    dropped: bool
    metadata: Mapping[str, str]
    webhook_url: str | None
    webhook_events: list[str] | None
    end_user: str | None
    stream: bool


ORIGINAL: Final = Query(
    """
select coalesce(i.requested_tool_id, i.tool_id) as tool_id, coalesce(i.input_as_sent, cast(i.input as json)) as input,
       i.input is null as dropped,
       coalesce(i.metadata_as_sent, cast(i.metadata as json)) as metadata, i.webhook_url, i.webhook_events, i.end_user,
       i.stream and exists (
         select from tools t join tool_versions v on v.tool_id = t.id and v.version = t.version
          where t.id = coalesce(i.requested_tool_id, i.tool_id) and v.streaming) as stream
  from invocations i where i.id = :id and i.user_id = :user_id
""",
    OriginalRow,
)


@dataclass(frozen=True, slots=True)
class Again:
    """A request to repeat an invocation. `changes`: `input`, `metadata` and `max_tokens`, as far as they are given."""

    original: UUID
    changes: Mapping[str, Any]  # Any: each field has a type of its own
    request_id: str
    idempotency_key: str | None = None


def rerun(caller: Caller, again: Again) -> Submitted:
    """Submit an invocation of the caller once more, to the current version of its tool; the first one stays as it is.

    Input and metadata are those of the first where no others are given; `end_user` and the webhook are. It is streamed
    if the first one was, and the tool can still do that. Limit and deadline are as of any submit.

    Raises:
        NotFound: there is no such invocation, or its tool cannot be called any more.
        Conflict: its input was dropped, and no other is given.
        And whatever `submit` raises.
    """
    rows = db.execute(ORIGINAL, {"id": again.original, "user_id": caller.user_id})
    if not rows:
        raise NotFound("There is no such invocation.")
    order, tool = _order(rows[0], again), str(rows[0].tool_id)
    if not rows[0].dropped or "input" in again.changes:
        return submitting.submit(caller, tool, order)
    if replayed := submitting.replay(caller, tool, order):
        return replayed
    raise Conflict("The input of this invocation is no longer stored. Nothing was created; send an input.")


class RerunPrice(NamedTuple):
    """What running one again would hold at most (None: its tool cannot be called any more). `dropped`: no input.

    `tool`: the name of the one that was asked for.
    """

    id: UUID
    tool: str
    status: str
    max_tokens: int | None
    dropped: bool


PRICES: Final = Query(
    f"""
select i.id, t.name as tool, i.status, m.tokens as max_tokens, i.input is null as dropped
  from invocations i join tools t on t.id = coalesce(i.requested_tool_id, i.tool_id)
  left join lateral ({fragments.most_held("t.id")}) m on true
 where i.user_id = :user_id and i.id = any(cast(:ids as uuid[])) order by m.tokens desc nulls last, i.id desc
""",  # noqa: S608  (a constant)
    RerunPrice,
)


def rerun_prices(owner: UUID, ids: Sequence[UUID]) -> list[RerunPrice]:
    """What running these invocations of `owner` again would hold, the highest first; unknown ones are left out."""
    return db.execute(PRICES, {"user_id": owner, "ids": list(ids)})


def rerun_price(owner: UUID, invocation_id: UUID) -> RerunPrice:
    """What running this one again would hold. Raises `NotFound`."""
    prices = rerun_prices(owner, [invocation_id])
    if not prices:
        raise NotFound("There is no such invocation.")
    return prices[0]


def _order(original: OriginalRow, again: Again) -> Order:
    return Order(
        input=again.changes.get("input", original.input),
        body={"rerun_of": str(again.original), **again.changes},
        request_id=again.request_id,
        max_tokens=again.changes.get("max_tokens"),
        metadata=again.changes.get("metadata", original.metadata),
        webhook_url=original.webhook_url,
        webhook_events=None if original.webhook_events is None else tuple(original.webhook_events),
        idempotency_key=again.idempotency_key,
        end_user=original.end_user,
        rerun_of=again.original,
        stream=original.stream,
    )
