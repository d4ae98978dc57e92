"""Aliases of tables that several threads use."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import inspect
from sqlalchemy.orm import aliased

T = TypeVar("T")


def shared(entity: type[T], name: str) -> type[T]:
    """An alias of a mapped class, ready to be a constant of a module.

    SQLAlchemy makes the columns of an alias when they are first read. Two threads that read them first at the same
    moment get different ones, and a statement that has both fails with `NoSuchColumnError`.
    """
    alias = aliased(entity, name=name)
    _ = inspect(alias).selectable.c
    return alias
