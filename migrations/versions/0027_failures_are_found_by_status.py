"""Failures are found by their status first, in indexes that a success does not touch.

Revision ID: 0027
Revises: 0026
Create Date: 2026-11-29

Code that is already running survives it: it asks for the same rows, and until it is replaced, its lists of failures are
read from the other indexes of the account. The indexes of before go at once, because as long as one has `status`, no
update of an invocation is done in place.

Rows from before are filled in small transactions, by the old index, while everything goes on. New indexes are built while
inserts wait; allow a second for each million rows. Where that takes long, stop at `0026`, run `FILL` until it returns
nothing, and build them with `create index concurrently` under the same names: what is there is left alone.
"""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

BATCH = 5_000
FILL = sa.text("""
with batch as materialized (
  select status, id from invocations
   where is_failure and (status, id) > (:status, cast(:id as uuid)) order by status, id limit :batch),
filled as (
  update invocations i set failure = i.status from batch b where i.id = b.id and i.failure is null)
select status, id from batch order by status desc, id desc limit 1
""")
DESCENDING = [sa.text("created_at desc"), sa.text("id desc")]
FAILED, UNSUCCESSFUL = sa.text("failure is not null"), sa.text("status <> 'success'")
#: Name: table, columns, condition.
INDEXES = {
    "ix_invocations_user_id_failure_id": ("invocations", ["user_id", "failure", "id"], FAILED),
    "ix_invocations_failure_id": ("invocations", ["failure", "id"], FAILED),
    "ix_usage_logs_failures": ("usage_logs", ["user_id", "status", *DESCENDING], UNSUCCESSFUL),
}
IS_FAILURE = sa.text("is_failure")
INDEXES_BEFORE = {
    "ix_invocations_failure": ("invocations", ["user_id", "status", "id"], IS_FAILURE),
    "ix_invocations_all_failure": ("invocations", ["status", "id"], IS_FAILURE),
    "ix_usage_logs_trouble": ("usage_logs", ["user_id", *DESCENDING, "status"], UNSUCCESSFUL),
}


def upgrade() -> None:
    _fill()
    for name, (table, columns, condition) in INDEXES.items():
        op.create_index(name, table, columns, postgresql_where=condition, if_not_exists=True)
    for name, (table, _, _) in INDEXES_BEFORE.items():
        op.drop_index(name, table)


def _fill() -> None:
    """On a connection of its own: the transaction of this migration has not begun to do anything, and holds nothing up.

    What was interrupted begins anew, and finds what is filled already.
    """
    status, last = "", UUID(int=0)
    with op.get_bind().engine.connect() as connection:
        while row := connection.execute(FILL, {"status": status, "id": last, "batch": BATCH}).one_or_none():
            status, last = row.status, row.id
            connection.commit()


def downgrade() -> None:
    for name, (table, columns, condition) in INDEXES_BEFORE.items():
        op.create_index(name, table, columns, postgresql_where=condition)
    for name, (table, _, _) in INDEXES.items():
        op.drop_index(name, table)
