"""An account's webhook endpoints and signing secrets, and its default secret for per-call URLs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict, Unpack
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from common.errors import Conflict, FieldError, NotFound, TokenRevoked, UrlRefused
from common.identity import idempotency
from common.identity.idempotency import Once
from common.kit import clock, db, failpoints
from common.kit.expecting import Expect, anything
from common.kit.outbound import OutboundClient, Refused
from common.kit.paging import Page, Window
from common.models.accounts import User
from common.models.webhooks import COMPLETED, WebhookDefaultSecret, WebhookEndpoint
from common.webhooks import headers, secrets, signing

MAX_ENDPOINTS: Final = 20


@dataclass(frozen=True, slots=True)
class CreatedEndpoint:
    """An endpoint and its secret in clear, returned only once."""

    endpoint: WebhookEndpoint
    secret: str


def check_url(outbound: OutboundClient, url: str, pointer: str = "/url", *, operator: bool = False) -> None:
    """Validate a URL by its form; the addresses of its host are checked when connecting. Raises `UrlRefused`."""
    try:
        outbound.check_url(url, operator=operator)
    except Refused as error:
        raise UrlRefused(error.message, errors=[FieldError(pointer, error.message)]) from error


# -- endpoints -------------------------------------------------------------------------------------------------


class EndpointSettings(TypedDict, total=False):
    """How an endpoint is served."""

    description: str | None
    rate_limit_per_second: int | None
    headers: Mapping[str, str]
    payload: str
    include: Sequence[str]


def create(
    user_id: UUID,
    outbound: OutboundClient,
    *,
    url: str,
    events: Sequence[str] = (COMPLETED,),
    once: Once = None,
    **given: Unpack[EndpointSettings],
) -> CreatedEndpoint:
    """Create an endpoint.

    Raises `UrlRefused`, `Invalid` (its headers), `Conflict` (the account has 20), `TokenRevoked` (it was deleted),
    `IdempotencyKeyReused`.
    """
    check_url(outbound, url)
    secret, endpoint_id = signing.new_secret(), clock.uuid7()
    headers.check(sent := given.pop("headers", {}))
    columns: dict[str, object] = {**given, **headers.columns(endpoint_id, sent)}
    row = WebhookEndpoint(id=endpoint_id, user_id=user_id, url=url, events=_distinct(events), **columns)
    row.secret = secrets.encrypt(row.id, secret)
    with db.transaction() as session:
        if made := idempotency.claim(session, once, row.id):
            return CreatedEndpoint(own(session, user_id, made.id), made.secret())
        _refuse_too_many(session, user_id)
        idempotency.remember(session, once, secret=secret)
        session.add(row)
        session.flush()
        session.refresh(row)
    return CreatedEndpoint(row, secret)


def _refuse_too_many(session: Session, user_id: UUID) -> None:
    """Count under a lock of the account's row, so that concurrent requests cannot exceed the limit."""
    living = select(User.id).where(User.id == user_id, User.deleted_at.is_(None))
    if session.scalar(living.with_for_update(key_share=True)) is None:
        raise TokenRevoked("The account was deleted. Nothing was created.")
    count = select(func.count()).select_from(WebhookEndpoint).where(WebhookEndpoint.user_id == user_id)
    if session.scalars(count).one() >= MAX_ENDPOINTS:
        raise Conflict(
            f"The limit of {MAX_ENDPOINTS} webhook endpoints is reached. Nothing was created; delete one first."
        )


def endpoints(user_id: UUID, window: Window) -> Page[WebhookEndpoint]:
    """The account's endpoints, newest first."""
    query = select(WebhookEndpoint).where(WebhookEndpoint.user_id == user_id)
    if window.after:
        query = query.where(WebhookEndpoint.id < window.after[0])
    with db.transaction() as session:
        rows = session.scalars(query.order_by(WebhookEndpoint.id.desc()).limit(window.limit + 1)).all()
    return Page.cut(rows, window, lambda row: (row.id,))


def endpoint(user_id: UUID, endpoint_id: UUID) -> WebhookEndpoint:
    """One of the account's endpoints. Raises `NotFound`."""
    with db.transaction() as session:
        return own(session, user_id, endpoint_id)


def own(session: Session, user_id: UUID, endpoint_id: UUID, *, for_update: bool = False) -> WebhookEndpoint:
    """One of the account's endpoints, inside your transaction. Raises `NotFound`."""
    query = select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, WebhookEndpoint.user_id == user_id)
    row = session.scalars(query.with_for_update(key_share=True) if for_update else query).one_or_none()
    if row is None:
        raise NotFound("Webhook endpoint not found.")
    return row


class EndpointChanges(EndpointSettings, total=False):
    """What an owner may set of an endpoint."""

    url: str
    events: Sequence[str]
    status: str


def change(
    user_id: UUID,
    endpoint_id: UUID,
    outbound: OutboundClient,
    *,
    expect: Expect[WebhookEndpoint] = anything,
    **changes: Unpack[EndpointChanges],
) -> WebhookEndpoint:
    """Set any of `EndpointChanges`. A new URL, or enabling, clears `failing_since`; a redacted header keeps its value.

    Raises `NotFound`, `UrlRefused`, `Invalid` (its headers), and what `expect` does.
    """
    if "url" in changes:
        check_url(outbound, changes["url"])
    headers.check(changes.get("headers", {}))
    with db.transaction() as session:
        row = own(session, user_id, endpoint_id, for_update=True)
        expect(row)
        failpoints.at("change.checked")
        return _update(session, user_id, endpoint_id, _columns(row, changes))


def _columns(row: WebhookEndpoint, changes: EndpointChanges) -> dict[str, object]:
    columns: dict[str, object] = {**changes}
    if "events" in changes:
        columns["events"] = _distinct(changes["events"])
    if "headers" in changes:
        del columns["headers"]
        columns |= headers.columns(row.id, changes["headers"], row.encrypted_headers)
    if "rate_limit_per_second" in changes:
        columns["next_send_at"] = None
    if changes.get("status") == "disabled":
        columns["disabled_reason"] = func.coalesce(WebhookEndpoint.disabled_reason, "manual")
    if changes.get("status") == "enabled":
        columns["disabled_reason"] = None
    if "url" in changes or changes.get("status") == "enabled":
        columns["failing_since"] = None
    return columns


def remove(user_id: UUID, endpoint_id: UUID, *, expect: Expect[WebhookEndpoint] = anything) -> None:
    """Delete an endpoint and drop its pending deliveries. Raises `NotFound`, and what `expect` does."""
    with db.transaction() as session:
        expect(own(session, user_id, endpoint_id, for_update=True))
        failpoints.at("change.checked")
        session.execute(delete(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id))


#: Each part uses the index of its state.
_FORGET_PENDING = text("""
delete from deliveries d using (
  select id from deliveries
   where status = 'pending' and lease_until is null and not parked and user_id = :user and endpoint_id is null
  union all select id from deliveries where parked and user_id = :user and endpoint_id is null
  union all select id from deliveries where lease_until is not null and user_id = :user and endpoint_id is null) p
 where d.id = p.id
""")


def remove_all(session: Session, user_id: UUID) -> None:
    """Delete the account's endpoints and secrets, and what waits to be sent to the URLs of single calls."""
    session.execute(delete(WebhookEndpoint).where(WebhookEndpoint.user_id == user_id))
    session.execute(delete(WebhookDefaultSecret).where(WebhookDefaultSecret.user_id == user_id))
    session.execute(_FORGET_PENDING, {"user": user_id})


def rotate_secret(user_id: UUID, endpoint_id: UUID, *, once: Once = None) -> CreatedEndpoint:
    """Replace the secret and return it once; both sign for 24 hours. Raises `NotFound`, `IdempotencyKeyReused`."""
    secret = signing.new_secret()
    changes = secrets.rotated(WebhookEndpoint, endpoint_id, secret)
    with db.transaction() as session:
        if made := idempotency.claim(session, once, endpoint_id):
            return CreatedEndpoint(own(session, user_id, endpoint_id), made.secret())
        idempotency.remember(session, once, secret=secret)
        return CreatedEndpoint(_update(session, user_id, endpoint_id, changes), secret)


def _update(session: Session, user_id: UUID, endpoint_id: UUID, changes: dict[str, object]) -> WebhookEndpoint:
    owned = (WebhookEndpoint.id == endpoint_id, WebhookEndpoint.user_id == user_id)
    statement = update(WebhookEndpoint).where(*owned).values({**changes, "updated_at": func.now()})
    returned = session.scalars(statement.returning(WebhookEndpoint), execution_options={"populate_existing": True})
    row = returned.one_or_none()
    if row is None:
        raise NotFound("Webhook endpoint not found.")
    return row


def _distinct(events: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(events))
