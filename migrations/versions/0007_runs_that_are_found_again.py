"""Invocations remember whom they were made for and what they repeat, and are found by more than their time.

Revision ID: 0007
Create Date: 2026-11-29

Columns without a default: no row is rewritten, and code that does not know them leaves them null. Every index covers the
rows alone that have what it is about (docs/decisions/finding-invocations.md), and none has a column that a completion
changes but for failures. Building them reads the table a few times, while submits wait. Where that takes long, they can
be built before, with `create index concurrently` under the same names: what is there is left alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TERMS_UP = """
create function invocation_terms(account uuid, metadata jsonb) returns bigint[] language sql immutable parallel safe
  cost 1000 as $$
  select array(select hashtextextended(account::text || e.key || chr(31) || e.value, 0)
                 from jsonb_each_text(metadata) e)
$$
"""
TERMS_DOWN = "drop function invocation_terms(uuid, jsonb)"

#: Name: columns, condition, further options.
INDEXES = {
    "ix_invocations_api_key_id_id": (["api_key_id", "id"], "api_key_id is not null", {}),
    "ix_invocations_user_id_end_user_id": (["user_id", "end_user", "id"], "end_user is not null", {}),
    "ix_invocations_rerun_of_id": (["rerun_of", "id"], "rerun_of is not null", {}),
    "ix_invocations_user_id_error_code_id": (
        ["user_id", "error_code", "id"],
        "error_code is not null",
        {"postgresql_include": ["tool_id", "created_at"]},
    ),
    "ix_invocations_request_id_id": (["request_id", "id"], "left(request_id, 8) <> left(id::text, 8)", {}),
    "ix_invocations_terms": (
        [sa.text("invocation_terms(user_id, metadata)")],
        "metadata <> '{}'",
        {"postgresql_using": "gin"},
    ),
}


def upgrade() -> None:
    op.add_column("invocations", sa.Column("end_user", sa.String(), nullable=True))
    op.add_column("invocations", sa.Column("rerun_of", sa.Uuid(), nullable=True))
    op.execute(TERMS_UP)
    for name, (columns, condition, options) in INDEXES.items():
        op.create_index(
            name, "invocations", columns, postgresql_where=sa.text(condition), if_not_exists=True, **options
        )


def downgrade() -> None:
    for name in reversed(INDEXES):
        op.drop_index(name, "invocations")
    op.execute(TERMS_DOWN)
    op.drop_column("invocations", "rerun_of")
    op.drop_column("invocations", "end_user")
