# ruff: noqa: S608  (the statements are put together from constants)
"""The statements that read invocations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from common.kit.query import Query
from common.models.tools import Metered, PerUnit
from common.webhooks import Content

#: Input and output together (bytes) that come with the claim of a delivery.
MAX_WITH_CLAIM: Final = 16 * 1024


class ViewRow(NamedTuple):
    """An invocation as it is shown. `stored`: the status in the table, which is `open` until the completion.

    Of a row in the queue: `due_later` is when it is due, if that is yet to come; `last_error` is that of the attempt
    before.
    """

    id: UUID
    user_id: UUID
    stored: str
    running: bool
    tool_id: UUID
    slug: str
    name: str
    version: int
    input: str | None  # JSON text
    output: str | None  # JSON text
    payloads: bool
    payload_bytes: int
    error_code: str | None
    error_detail: str | None
    metadata: Mapping[str, str]
    attempts: int
    held: int
    charged: int | None
    request_id: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime
    cancel_requested_at: datetime | None
    base_tokens: int
    per_unit: PerUnit | None
    max_tokens: int
    metered: Metered | None
    units: Decimal | None
    basis: str | None
    stream: bool
    api_key_id: UUID | None
    end_user: str | None
    rerun_of: UUID | None
    requested_tool_id: UUID | None
    requested_slug: str | None
    not_before: datetime | None
    priority: int
    has_slot: bool
    waits_for_key: bool
    due_later: datetime | None
    last_error: Mapping[str, str] | None
    traceparent: str | None


class StateRow(NamedTuple):
    """The status as stored, and what tells it apart from the one shown."""

    id: UUID
    stored: str
    running: bool
    attempts: int


class TraceRow(NamedTuple):
    """The trace context (W3C `traceparent`) that it was submitted with."""

    traceparent: str | None


class BeginningRow(NamedTuple):
    """How the JSON texts of input and output begin; None: there is none."""

    input: str | None
    output: str | None


class DetailRow(NamedTuple):
    """What only operators may read of an error."""

    invocation_id: UUID
    operator_detail: str | None


#: The size of input and output together, in bytes; they are read only where the size was not stored.
PAYLOAD_BYTES: Final = """coalesce(i.input_bytes, octet_length(i.input::text), 0)
         + coalesce(i.output_bytes, octet_length(i.output::text), 0)"""


def columns(payloads: str) -> str:
    """The columns of `ViewRow`; input and output are read where the condition `payloads` holds."""
    return f"""
       i.id, i.user_id, i.status as stored, q.token is not null as running, i.tool_id, tl.slug, tl.name, tv.version,
       case when {payloads} then coalesce(cast(i.input_as_sent as text), cast(i.input as text)) end as input,
       case when {payloads} then coalesce(cast(i.output_as_sent as text), cast(i.output as text)) end as output,
       {payloads} as payloads, {PAYLOAD_BYTES} as payload_bytes, i.error_code, i.error_detail,
       coalesce(i.metadata_as_sent, cast(i.metadata as json)) as metadata,
       coalesce(q.attempts, i.attempts) as attempts, i.held, i.charged, i.request_id, i.created_at,
       coalesce(q.started_at, i.started_at) as started_at, i.finished_at, i.expires_at,
       coalesce(q.cancel_at, i.cancel_requested_at) as cancel_requested_at,
       tv.base_tokens, tv.per_unit, tv.max_tokens, tv.metered, i.units, i.basis, i.stream,
       i.api_key_id, i.end_user, i.rerun_of, i.requested_tool_id, rt.slug as requested_slug, i.not_before, i.priority,
       q.slot is not null as has_slot, q.key_due_at is not null as waits_for_key,
       case when coalesce(q.key_due_at, q.due_at) > now() then coalesce(q.key_due_at, q.due_at) end as due_later,
       q.last_error, i.traceparent
"""


#: Beside `i`, the invocation.
_TABLES = """
  {join} tools tl on tl.id = i.tool_id {join} tool_versions tv on tv.id = i.tool_version_id
  left join tools rt on rt.id = i.requested_tool_id
  left join queue q on q.id = i.id
"""


def view(payloads: str) -> str:
    """Invocations as they are shown; input and output are read where the condition `payloads` holds."""
    return f"select {columns(payloads)} from invocations i {_TABLES.format(join='join')}"


#: What the body of a delivery says of the event's invocation, if there is one: `ViewRow`, with all null if not.
#: Larger payloads are read when it is sent: sixteen claims may come at once.
CONTENT: Final = Content(
    ", " + columns(f"({PAYLOAD_BYTES} <= {MAX_WITH_CLAIM} and coalesce(w.payload, 'full') <> 'thin')"),
    f"left join invocations i on i.id = e.invocation_id {_TABLES.format(join='left join')}",
    ViewRow,
)

_ONE = " where i.id = :id and (cast(:user_id as uuid) is null or i.user_id = :user_id)"
GET: Final = Query(view("true") + _ONE, ViewRow)
#: For those who wait for the end: until then they need no more than to see that it has not come.
GET_ENDED: Final = Query(view("i.status <> 'open'") + _ONE, ViewRow)
GET_WITHIN: Final = Query(view(f"{PAYLOAD_BYTES} <= cast(:most as bigint)") + _ONE, ViewRow)
#: How input and output begin, in characters.
BEGINNINGS: Final = Query(
    f"""
select left(coalesce(cast(i.input_as_sent as text), cast(i.input as text)), :most) as input,
       left(coalesce(cast(i.output_as_sent as text), cast(i.output as text)), :most) as output
  from invocations i {_ONE}
""",
    BeginningRow,
)
GET_MANY: Final = Query(view("cast(:payloads as boolean)") + " where i.id = any(cast(:ids as uuid[]))", ViewRow)
#: What has changed since? Of many, for those who wait.
STATES: Final = Query(
    """
select i.id, i.status as stored, q.token is not null as running, coalesce(q.attempts, i.attempts) as attempts
  from invocations i left join queue q on q.id = i.id where i.id = any(cast(:ids as uuid[]))
""",
    StateRow,
)
TRACEPARENT: Final = Query("select traceparent from invocations where id = :id", TraceRow)
#: What the last attempt of each was told that its owner was not.
OPERATOR_DETAILS: Final = Query(
    """
select distinct on (invocation_id) invocation_id, operator_detail
  from attempts where invocation_id = any(cast(:ids as uuid[])) order by invocation_id, n desc
""",
    DetailRow,
)
