"""Summaries by end user, or of one end user or API key, from single entries: sums are kept of neither.

So they take as long as there are such entries in the range, and go back as far as entries are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from common.kit import db
from common.kit.query import Query
from common.models.usage import NO_KEY
from common.usage import keyed
from common.usage.figures import StatusRow
from common.usage.parts import ENTRIES, IN_RANGE, KEYS
from common.usage.wanted import MOST, Parts, Wanted


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose usage: of one end user, of one API key and those that come from it (None: any)."""

    end_user: str | None = None
    api_key: UUID | None = None


ALL: Final = Whose()
_END_USER = "end_user = cast(:end_user as text)"
#: As in the index of usage by API key; `:api_key` is another key than `:root` if it was delegated.
_LINE = "api_key_id is not null and coalesce(api_key_root_id, api_key_id) = cast(:root as uuid)"
_WHOSE: Final = {
    "": "",
    "line": f" and {_LINE} and (api_key_id = cast(:api_key as uuid) or cast(:api_key as uuid) = cast(:root as uuid))",
    "forgotten": " and api_key_id = cast(:api_key as uuid)",
}


def _query(key: str, whose: str, *, by_user: bool) -> Query[StatusRow]:
    which = f"{IN_RANGE}{whose}{f' and {_END_USER}' if by_user else ''}"
    return Query(f"{ENTRIES.format(key=key, most=MOST + 1).format(which=which)}", StatusRow)


_QUERIES: Final = {
    (by, kind, by_user): _query(key, whose, by_user=by_user)
    for (by, key), (kind, whose), by_user in product(
        {**KEYS, "end_user": "coalesce(end_user, '')"}.items(), _WHOSE.items(), (False, True)
    )
}


def read(session: Session, wanted: Wanted, whose: Whose) -> Parts:
    """The parts of a summary: entries alone. Raises `Invalid` as `Parts.require_few` does."""
    root = whose.api_key and keyed.root(session, whose.api_key)
    kind = "" if whose.api_key is None else "line" if root else "forgotten"
    where = {"user": wanted.user_id, "since": wanted.since, "until": wanted.until, "bucket": wanted.bucket}
    asked = {**where, "end_user": whose.end_user, "api_key": whose.api_key, "root": root, "no_key": NO_KEY}
    parts = Parts(db.fetch(session, _QUERIES[wanted.group_by, kind, whose.end_user is not None], asked))
    parts.require_few()
    return parts
