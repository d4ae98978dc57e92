"""What a receipt says of an ended invocation."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from common.identity import signatures
from common.invocations import Invocation, billed, hashing
from common.kit import db
from common.kit.clock import rfc3339
from common.kit.query import Query

#: `typ` of its header.
TYPE: Final = "joyfull-receipt+jwt"
#: Members of `billing` that are claims of the same name.
BILLED: Final = ("held", "charged", "price", "units", "basis", "reason")


class BookedRow(NamedTuple):
    """The period that it is booked on, and the quote that it was submitted with."""

    id: UUID
    starts_at: datetime
    ends_at: datetime
    quote_id: UUID | None


_BOOKED: Final = Query(
    """
select p.id, p.starts_at, p.ends_at, i.quote_id from invocations i join periods p on p.id = i.period_id where i.id = :id
""",
    BookedRow,
)


def booked(invocation_id: UUID) -> BookedRow:
    """What the claims say beside the invocation as it is shown."""
    return db.execute(_BOOKED, {"id": invocation_id})[0]


def claims(invocation: Invocation, finished_at: datetime, period: BookedRow) -> dict[str, object]:
    """The claims for an invocation that ended then, read with its payloads."""
    billing = billed(invocation)
    return {
        "iss": signatures.issuer(),
        "sub": str(invocation.user_id),
        "jti": str(invocation.id),
        "iat": int(finished_at.timestamp()),
        "tool": {"id": str(invocation.tool_id), "slug": invocation.tool_slug, "version": invocation.tool_version},
        "status": invocation.status,
        **{name: billing[name] for name in BILLED},
        "period": {
            "id": str(period.id),
            "starts_at": rfc3339(period.starts_at),
            "ends_at": rfc3339(period.ends_at),
        },
        "input_sha256": hashing.of_text(invocation.input, invocation.user_id),
        "output_sha256": hashing.of_text(invocation.output, invocation.user_id),
        "request_id": invocation.request_id,
        "quote": None if period.quote_id is None else str(period.quote_id),
    }
