"""Other statement timeouts than those of `pool`, for one transaction: on the server, and later on the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from common.kit.db.connection import TimedConnection

#: So much longer than a statement may take, an answer is waited for.
ANSWER_MARGIN: Final = 2.0
_SET: Final = text("select set_config('statement_timeout', :milliseconds, true)")
_READ_ALL: Final = text("select set_config('enable_seqscan', 'on', true), set_config('enable_bitmapscan', 'on', true)")


def without_timeout(session: Session) -> None:
    """Remove the statement timeout for this transaction, on the server and on the client: it may read whole tables."""
    _set_timeout(session, 0, None)
    session.execute(_READ_ALL)


def with_timeout(session: Session, seconds: float) -> None:
    """Another statement timeout for this transaction, on the server and a moment later on the client."""
    _set_timeout(session, max(1, round(1000 * seconds)), seconds + ANSWER_MARGIN)


def _set_timeout(session: Session, server_ms: int, answer: float | None) -> None:
    session.execute(_SET, {"milliseconds": str(server_ms)})
    cast("TimedConnection", session.connection().connection.driver_connection).answer_timeout = answer
