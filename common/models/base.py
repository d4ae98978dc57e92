"""What all tables share: one metadata with predictable constraint names, UUIDv7 keys, UTC times."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, MetaData, Text, Uuid, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import UserDefinedType

from common.kit.clock import uuid7

#: Token amounts on the wire are integers that a JSON number can carry exactly (RFC 8259 §6).
MAX_TOKENS = 2**53 - 1

Id = Annotated[UUID, mapped_column(Uuid, primary_key=True, default=uuid7)]
Tokens = Annotated[int, mapped_column(BigInteger)]
Instant = Annotated[datetime, mapped_column(DateTime(timezone=True))]
Created = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
Json = Annotated[dict[str, object], mapped_column(JSONB)]
Word = Annotated[str, mapped_column(Text)]


class Xid8(UserDefinedType[str]):
    """PostgreSQL's 64-bit transaction id, which never wraps. Compared in SQL, read as text."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


class Base(DeclarativeBase):
    """Every table; constraints are named, so that errors and migrations can speak of them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def one_of(column: str, words: tuple[str, ...]) -> str:
    """The SQL of a CHECK that a column holds one of a few words (cheaper to change than an enum type)."""
    return f"{column} in ({', '.join(repr(w) for w in words)})"
