"""Privileges of the application's database role: read and write rows, but no DDL and no changes to the ledger.

The tables are owned by a separate role, which runs the migrations. Run `grant` as that owner, and again after each
migration that creates a table. PostgreSQL enforces the privileges even if the application is compromised.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from common.kit import db

#: Read-only: written by migrations and by operator commands.
READ: Final = {"alembic_version", "instance"}
#: Append-only: rows are inserted and never changed.
APPENDED: Final = {"audit_log", "grants", "ledger_verifications", "metadata_terms", "receipts", "usage_logs"}
#: Rows are inserted and updated (a call completes, a payload is dropped, a key is retired), but never deleted.
KEPT: Final = {"attempts", "invocations", "periods", "remainders", "signing_keys", "tool_versions"}
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
_CURRENT_USER = text("select current_user")


class NoSuchRole(Exception):
    """The database role does not exist."""


def grant(role: str) -> int:
    """Grant `role` exactly the privileges that the application needs; idempotent. Returns the number of tables.

    Raises:
        NoSuchRole: the role does not exist.
    """
    with db.transaction() as session:
        if not session.scalar(_EXISTS, {"role": role}):
            raise NoSuchRole(role)
        name = session.scalar(_QUOTED, {"role": role})
        tables = sorted(session.scalars(text(_TABLES)))
        for statement in _statements(tables):
            session.execute(text(statement.format(role=name)))
    return len(tables)


def _statements(tables: list[str]) -> list[str]:
    all_tables = ", ".join(f'"{table}"' for table in tables)
    return [
        "grant usage on schema public to {role}",
        f"revoke all on {all_tables} from {{role}}",
        *(f'grant {_rights(table)} on "{table}" to {{role}}' for table in tables),
        "grant select on usage_logs_default to {role}",
        # Rows of a restored dump get new transaction ids that are valid in this cluster; their content stays as it is.
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
    """Tables that the current role cannot read: they were created after the last `grant`."""
    return list(session.scalars(_UNREADABLE))


def current(session: Session) -> tuple[str, bool]:
    """The current role, and whether it is unable to delete from or drop the ledger."""
    return str(session.scalar(_CURRENT_USER)), not session.scalar(_OWNED)
