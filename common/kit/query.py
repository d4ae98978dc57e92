"""A SQL statement together with the type of its rows, for `db.execute` (alone) and `db.fetch` (in your transaction).

    class Stored(NamedTuple):
        id: UUID
        created_at: datetime

    STORED: Final = Query("select id, created_at from invocations where id = :id", Stored)

    for row in db.execute(STORED, {"id": id_}):   # row: Stored
        ...

The columns must have the names of the fields, in the same order. This is checked when a statement first runs, so that a
renamed or missing column shows as a type error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

R = TypeVar("R")
A = TypeVar("A", bound=tuple[object, ...])
B = TypeVar("B", bound=tuple[object, ...])


class Query(Generic[R]):
    """One constant statement with named parameters (`:name`) whose rows are the NamedTuple `row`."""

    def __init__(self, text: str, row: type[R]) -> None:
        self.text = text
        self._columns: tuple[str, ...] = _fields(row)
        self.make: Callable[[Sequence[object]], R] = _maker(row)
        self.is_checked = False

    @classmethod
    def pair(cls, text: str, first: type[A], second: type[B]) -> Query[tuple[A, B]]:
        """A statement whose rows are pairs of NamedTuples."""
        query: Query[tuple[A, B]] = Query.__new__(Query)
        width, make_first, make_second = len(_fields(first)), _maker(first), _maker(second)
        query.text = text
        query._columns = (*_fields(first), *_fields(second))
        query.make = lambda values: (make_first(values[:width]), make_second(values[width:]))
        query.is_checked = False
        return query

    def check(self, columns: Sequence[str]) -> None:
        """Check the columns of a result. Raises `TypeError` if they are not the declared ones."""
        if tuple(columns) != self._columns:
            raise TypeError(f"the statement has the columns {tuple(columns)}, its type {self._columns}")
        self.is_checked = True


def _fields(row: type[R]) -> tuple[str, ...]:
    fields: tuple[str, ...] = row._fields  # type: ignore[attr-defined]  # every NamedTuple has it
    return fields


def _maker(row: type[R]) -> Callable[[Sequence[object]], R]:
    maker: Callable[[Sequence[object]], R] = row._make  # type: ignore[attr-defined]  # every NamedTuple has it
    return maker
