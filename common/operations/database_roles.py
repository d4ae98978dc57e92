"""What the role that serves may do in the database: read and write rows; neither make nor drop, nor change the ledger.

The tables belong to another role, which runs the migrations. `grant` is said by that one, and again after each
migration that made a table. What is not granted here is refused by PostgreSQL itself, whatever our code is made to say.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from common.kit import db

#: Read only: the migrations are somebody else's, and so is the name of the platform.
READ: Final = {"alembic_version", "instance"}
#: Rows are added, and then they are what they are.
APPENDED: Final = {"audit_log", "grants", "usage_logs"}
#: Rows are added and changed (a call ends, a payload is dropped), but never go.
KEPT: Final = {"attempts", "invocations", "periods", "tool_versions"}
_FUNCTIONS: Final = "usage_logs_add_month(timestamptz), usage_logs_retire_month(timestamptz)"

_EXISTS = text("select exists (select from pg_roles where rolname = :role)")
_QUOTED = text("select quote_ident(:role)")
_TABLES = """
select c.relname as name from pg_class c
 where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
"""
_UNREADABLE = text(f"{_TABLES} and not has_table_privilege(c.oid, 'select') order by 1")
_OWNED = text("""
select has_table_privilege('usage_logs', 'delete') or has_table_privilege('usage_logs', 'truncate')
       or pg_has_role(relowner, 'usage') from pg_class where oid = 'usage_logs'::regclass
""")
_WHO = text("select current_user")


class NoSuchRole(Exception):
    """There is nobody of that name to grant anything to."""


def grant(role: str) -> int:
    """Give `role` what serving needs, and nothing more. Returns for how many tables. May be said again at any time."""
    with db.transaction() as session:
        if not session.scalar(_EXISTS, {"role": role}):
            raise NoSuchRole(role)
        name = session.scalar(_QUOTED, {"role": role})
        tables = sorted(session.scalars(text(_TABLES)))
        for statement in _statements(tables):
            session.execute(text(statement.format(role=name)))
    return len(tables)


def _statements(tables: list[str]) -> list[str]:
    everything = ", ".join(f'"{table}"' for table in tables)
    return [
        "grant usage on schema public to {role}",
        f"revoke all on {everything} from {{role}}",
        *(f'grant {_rights(table)} on "{table}" to {{role}}' for table in tables),
        "grant select on usage_logs_default to {role}",
        # Rows of a restored dump get transaction ids that mean something here; what they say stays.
        "grant update (xid) on usage_logs to {role}",
        "grant usage, select, update on all sequences in schema public to {role}",
        f"revoke execute on function {_FUNCTIONS} from public",
        f"grant execute on function {_FUNCTIONS} to {{role}}",
    ]


def _rights(table: str) -> str:
    if table in READ:
        return "select"
    if table in APPENDED:
        return "select, insert"
    return "select, insert, update" if table in KEPT else "select, insert, update, delete"


def unreadable(session: Session) -> list[str]:
    """Tables that we may not even read: they were made after the last `grant`."""
    return list(session.scalars(_UNREADABLE))


def current(session: Session) -> tuple[str, bool]:
    """Who we are in the database, and whether the ledger is safe from us."""
    return str(session.scalar(_WHO)), not session.scalar(_OWNED)
