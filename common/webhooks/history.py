# ruff: noqa: S608  (the statements are put together from constants)
"""Deliveries for their owner: the log, resend, replay, test; and retention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import orjson
from sqlalchemy import ColumnElement, Select, TextClause, func, select, text, update
from sqlalchemy.orm import Session

from common.errors import Conflict, NotFound
from common.identity import idempotency, rate_limits
from common.identity.idempotency import Once
from common.kit import clock, db
from common.kit.outbound import OutboundClient, authority_of
from common.kit.paging import Page, Window
from common.kit.query import Query
from common.models.webhooks import Delivery, DeliveryAttempt, Event, WebhookEndpoint
from common.queueing import messages
from common.webhooks import model, queue, sending
from common.webhooks.endpoints import own
from common.webhooks.model import AttemptResult, Claim, Encrypted
from common.webhooks.pulling import RETENTION_DAYS

#: The most deliveries that one replay sends again; another replay continues.
MAX_REPLAY: Final = 10_000
PRUNE_BATCH: Final = 2_000


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """A delivery with its attempts, oldest first. `next_attempt_at` is None once it has finished.

    `endpoint_id` is None for a URL that came with the call. `authority`: host and port of the receiver.
    """

    id: UUID
    endpoint_id: UUID | None
    event_id: UUID
    event_type: str
    status: str
    created_at: datetime
    next_attempt_at: datetime | None
    attempts: Sequence[DeliveryAttempt]
    authority: str


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The number of deliveries queued again; `has_more`: the limit was reached, replay again."""

    replayed: int
    has_more: bool


# -- the log -----------------------------------------------------------------------------------------------------


def deliveries(user_id: UUID, endpoint_id: UUID, window: Window, statuses: Sequence[str] = ()) -> Page[DeliveryRecord]:
    """An endpoint's deliveries, newest first. Raises `NotFound`."""
    return with_endpoint(user_id, endpoint_id, window, statuses)[1]


def with_endpoint(
    user_id: UUID, endpoint_id: UUID, window: Window, statuses: Sequence[str] = ()
) -> tuple[WebhookEndpoint, Page[DeliveryRecord]]:
    """An endpoint and its deliveries, newest first, as of one moment. Raises `NotFound`."""
    chosen = [Delivery.endpoint_id == endpoint_id]
    if statuses:
        chosen.append(Delivery.status.in_(statuses))
    return db.read_anywhere(
        lambda session: (own(session, user_id, endpoint_id), _page(session, chosen, window)),
    )


def deliveries_of(invocation_id: UUID, window: Window) -> Page[DeliveryRecord]:
    """The deliveries of an invocation's events to all receivers, newest first."""
    return db.read_anywhere(lambda session: _page(session, [Event.invocation_id == invocation_id], window))


def _page(session: Session, chosen: Sequence[ColumnElement[bool]], window: Window) -> Page[DeliveryRecord]:
    query = _deliveries().where(*chosen)
    if window.after:
        query = query.where(Delivery.id < window.after[0])
    rows = session.execute(query.order_by(Delivery.id.desc()).limit(window.limit + 1)).all()
    page = Page.cut(rows, window, lambda row: (row[0].id,))
    tried = _attempts(session, [row[0].id for row in page.items])
    return page.map(lambda row: _record(*row, tried.get(row[0].id, [])))


def _deliveries() -> Select[Delivery, str, str]:
    """Each with the type of its event and the URL of its receiver."""
    to = func.coalesce(Delivery.url, WebhookEndpoint.url, "")
    query = select(Delivery, Event.type, to).join(Event, Event.id == Delivery.event_id)
    return query.outerjoin(WebhookEndpoint, WebhookEndpoint.id == Delivery.endpoint_id)


def _attempts(session: Session, ids: Sequence[UUID]) -> dict[UUID, list[DeliveryAttempt]]:
    query = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id == func.any(list(ids)))
    found: dict[UUID, list[DeliveryAttempt]] = {}
    for attempt in session.scalars(query.order_by(DeliveryAttempt.delivery_id, DeliveryAttempt.n)):
        found.setdefault(attempt.delivery_id, []).append(attempt)
    return found


def _record(row: Delivery, kind: str, to: str, attempts: Sequence[DeliveryAttempt]) -> DeliveryRecord:
    due = row.due_at if row.status == "pending" else None
    shown = (row.id, row.endpoint_id, row.event_id, kind, row.status, row.created_at, due, attempts)
    return DeliveryRecord(*shown, authority=urlsplit(to).netloc)


# -- resend and replay -----------------------------------------------------------------------------------------

_AGAIN: Final = {
    "status": "pending",
    "due_at": func.now(),
    "tries": 0,
    "parked": False,
    "finished_at": None,
}


def resend(user_id: UUID, endpoint_id: UUID, delivery_id: UUID, *, once: Once = None) -> DeliveryRecord:
    """Send a delivery again on a fresh retry schedule, whatever its status; one in flight is left alone.

    Raises `NotFound`, `Conflict` (the endpoint is disabled), `RateLimited`, `IdempotencyKeyReused`.
    """
    mine = (Delivery.id == delivery_id, Delivery.endpoint_id == endpoint_id)
    with db.transaction() as session:
        if idempotency.claim(session, once, delivery_id) is None:
            _count_manual(session, rate_limits.WEBHOOK_RESENDS, _enabled(session, user_id, endpoint_id))
            session.execute(update(Delivery).where(*mine, Delivery.token.is_(None)).values(_AGAIN))
        found = session.execute(_deliveries().where(*mine)).one_or_none()
        if found is None:
            raise NotFound("Delivery not found.")
        record = _record(*found, _attempts(session, [delivery_id]).get(delivery_id, []))
    messages.notify(messages.DELIVER)
    return record


def replay(user_id: UUID, endpoint_id: UUID, since: datetime, *, once: Once = None) -> ReplayResult:
    """Send again the deliveries that failed since then, oldest first.

    Raises `NotFound`, `Conflict` (the endpoint is disabled), `RateLimited`, `IdempotencyKeyReused`.
    """
    wanted = (
        select(Delivery.id)
        .where(Delivery.endpoint_id == endpoint_id, Delivery.status == "failed")
        .where(Delivery.id >= clock.uuid7_floor(since), Delivery.created_at >= since)
        .order_by(Delivery.id)
        .limit(MAX_REPLAY)
        .with_for_update(skip_locked=True)
    )
    with db.transaction() as session:
        if made := idempotency.claim(session, once, endpoint_id):
            count = int(str(made.facts["replayed"]))
        else:
            _count_manual(session, rate_limits.WEBHOOK_REPLAYS, _enabled(session, user_id, endpoint_id))
            chosen = wanted.cte("chosen")  # read once: as a subquery it may be read again, and choose others
            statement = update(Delivery).where(Delivery.id.in_(select(chosen.c.id))).values(_AGAIN)
            count = session.execute(statement).rowcount  # type: ignore[attr-defined]
            idempotency.remember(session, once, replayed=count)
    messages.notify(messages.DELIVER)
    return ReplayResult(count, count == MAX_REPLAY)


def _count_manual(session: Session, limit: rate_limits.AttemptLimit, endpoint: WebhookEndpoint) -> None:
    """Count a send requested by the owner. Raises `RateLimited`."""
    rate_limits.count(
        session,
        rate_limits.per(limit, endpoint.id),
        rate_limits.per(rate_limits.WEBHOOKS_PER_HOST, endpoint.user_id, authority_of(endpoint.url)),
        rate_limits.per(rate_limits.MANUAL_WEBHOOKS, endpoint.user_id),
    )


def _enabled(session: Session, user_id: UUID, endpoint_id: UUID) -> WebhookEndpoint:
    endpoint = own(session, user_id, endpoint_id)
    if endpoint.status != "enabled":
        raise Conflict("The endpoint is disabled. Nothing was sent; enable it first.")
    return endpoint


# -- test ------------------------------------------------------------------------------------------------------


class TestRow(NamedTuple):
    """The delivery of a test."""

    lane: int
    created_at: datetime


_TEST: Final = Query(
    """
with e as (
  insert into events (id, user_id, type, data) values (:event_id, :user_id, 'webhook.test', cast(:data as jsonb))
  returning *)
insert into deliveries (id, event_id, user_id, endpoint_id, tries, token, lease_until)
select :id, e.id, e.user_id, :endpoint_id, 1, :token, now() + :lease from e
returning lane, created_at
""",
    TestRow,
)


def test(user_id: UUID, endpoint_id: UUID, outbound: OutboundClient) -> AttemptResult:
    """Send one `webhook.test` now, also to a disabled endpoint; does not affect the endpoint's health.

    Raises `NotFound`, `RateLimited` (ten a minute).
    """
    data = {"endpoint_id": str(endpoint_id), "message": "This is a test. Answer with any 2xx status."}
    with db.transaction() as session:
        endpoint = own(session, user_id, endpoint_id)
        _count_manual(session, rate_limits.WEBHOOK_TESTS, endpoint)
        claim = _claim_test(session, endpoint, data)
    attempt = sending.send(outbound, claim, data)
    queue.finish_test(claim, attempt)
    return attempt


def _claim_test(session: Session, endpoint: WebhookEndpoint, data: Mapping[str, object]) -> Claim:
    """Insert the event and its delivery, already claimed: if this process dies, the sweep gives it to a worker."""
    event_id, delivery_id, token = clock.uuid7(), clock.uuid7(), uuid4()
    values = {"event_id": event_id, "id": delivery_id, "token": token, "lease": queue.LEASE}
    values |= {"user_id": endpoint.user_id, "endpoint_id": endpoint.id, "data": orjson.dumps(data).decode()}
    (row,) = db.fetch(session, _TEST, values)
    event = model.OutboxEvent(event_id, endpoint.user_id, "webhook.test", None, data, 0, row.created_at)
    sealed = endpoint.encrypted_headers
    headers = None if sealed is None else Encrypted(endpoint.id, sealed, "webhook-headers")
    secrets = _secrets(endpoint, row.created_at)
    return Claim(delivery_id, token, row.lane, 1, endpoint.url, secrets, event, headers=headers)


def _secrets(endpoint: WebhookEndpoint, now: datetime) -> list[Encrypted]:
    encrypted = [endpoint.secret]
    if endpoint.previous_secret and endpoint.previous_until and endpoint.previous_until > now:
        encrypted.append(endpoint.previous_secret)
    return [Encrypted(endpoint.id, secret) for secret in encrypted]


# -- retention -------------------------------------------------------------------------------------------------

_OLD_DELIVERIES: Final = text(f"""
delete from deliveries where id in (
  select id from deliveries where id < :floor and status <> 'pending'
   order by id limit {PRUNE_BATCH} for update skip locked)
""")
_OLD_EVENTS: Final = text(f"""
delete from events where id in (
  select e.id from events e
   where e.id < :floor and not exists (select 1 from deliveries d where d.event_id = e.id)
   order by e.id limit {PRUNE_BATCH})
""")


class ClockRow(NamedTuple):
    """The time of the database server."""

    now: datetime


_CLOCK: Final = Query("select now() as now", ClockRow)


def prune() -> int:
    """Delete events and finished deliveries after 30 days, in batches. Returns the number of rows."""
    floor = clock.uuid7_floor(db.execute(_CLOCK, {})[0].now - timedelta(days=RETENTION_DAYS))
    return sum(_in_batches(batch, floor) for batch in (_OLD_DELIVERIES, _OLD_EVENTS))


def _in_batches(batch: TextClause, floor: UUID) -> int:
    total = 0
    while count := db.rowcount(batch, {"floor": floor}):
        total += count
    return total
