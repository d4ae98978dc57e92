"""Issue receipts. The first one that is asked for is stored: later requests get the same bytes.

It would not come out the same from the row alone: payloads are dropped in time, tools are renamed, keys are rotated,
and a later release may have more to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert

from common import invocations
from common.errors import Conflict, DependencyUnavailable
from common.identity import signatures
from common.invocations import ENDS, Invocation
from common.invocations.receipts.claims import TYPE, booked, claims
from common.kit import db, log
from common.kit.query import Query
from common.models.signatures import StoredReceipt

logger = log.get(__name__)


class ReceiptRow(NamedTuple):
    """A receipt that was issued."""

    jws: str


_OF: Final = Query(
    """
select r.jws from receipts r join invocations i on i.id = r.invocation_id
 where r.invocation_id = :id and (cast(:user_id as uuid) is null or i.user_id = :user_id)
""",
    ReceiptRow,
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A compact JWS. `bytes_read`: of input and output, if it was made just now."""

    receipt: str
    bytes_read: int = 0

    @property
    def claims(self) -> dict[str, object]:
        return signatures.claims_of(self.receipt)


def issue(invocation_id: UUID, owner: UUID | None) -> Receipt:
    """The receipt of an ended invocation of `owner` (None: of any account).

    Raises `NotFound`, `Conflict` (it has not ended), `DependencyUnavailable` (the signing key is not readable, or
    too many large payloads are being hashed).
    """
    given = {"id": invocation_id, "user_id": owner}
    if stored := db.execute(_OF, given):
        return Receipt(stored[0].jws)
    invocation = invocations.get(invocation_id, owner)
    if invocation.finished_at is None:
        raise Conflict("The invocation has not ended, so there is no receipt yet.")
    said = claims(invocation, invocation.finished_at, booked(invocation_id))
    with db.transaction() as session:
        jws = signatures.sign(session, TYPE, said)
        made = insert(StoredReceipt).values(invocation_id=invocation_id, jws=jws)
        session.execute(made.on_conflict_do_nothing())
        return Receipt(db.fetch(session, _OF, given)[0].jws, invocation.payload_bytes)


def add_to(invocation: Mapping[str, object]) -> Mapping[str, object]:
    """A represented invocation with `billing.receipt`, if it has ended; null if none can be signed just now."""
    billing = invocation.get("billing")
    if invocation.get("status") not in ENDS or not isinstance(billing, Mapping):
        return invocation
    return {**invocation, "billing": {**billing, "receipt": _at_hand(UUID(str(invocation["id"])))}}


def bill(invocation: Invocation) -> dict[str, object]:
    """What an ended invocation cost, and the receipt of it, for answers in the shapes of other APIs."""
    return {
        "invocation": str(invocation.id),
        "held": invocation.held,
        "charged": invocation.charged or 0,
        "basis": invocations.billed(invocation)["basis"],
        "receipt": _at_hand(invocation.id, db.Unreachable),
    }


def _at_hand(invocation_id: UUID, *tolerated: type[Exception]) -> str | None:
    """The receipt of an ended invocation; None if none can be signed just now, or for what is `tolerated`."""
    excused: tuple[type[Exception], ...] = (DependencyUnavailable, *tolerated)
    try:
        return issue(invocation_id, None).receipt
    except excused:
        logger.warning("sent without a receipt", invocation_id=str(invocation_id))
        return None
