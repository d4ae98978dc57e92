"""API keys have allowances and limits of their own, and may delegate.

Revision ID: 0013
Revises: 0012
Create Date: 2026-11-29

Code that is already running survives it: the columns are nullable or filled, and it reads and writes none of them. Make
no keys with limits before it is replaced, because it does not know that they have any.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_SCOPES = [
    "tools:read", "invocations:read", "invocations:write", "usage:read", "webhooks:manage", "subscriptions:read", "admin",
]  # fmt: skip


def upgrade() -> None:
    _add_columns()
    op.create_check_constraint(
        op.f("ck_api_keys_allowance_window"), "api_keys", "allowance_window in ('total', 'day', 'month')"
    )
    op.create_check_constraint(
        op.f("ck_api_keys_allowance_tokens"), "api_keys", f"allowance_tokens between 0 and {2**53 - 1}"
    )
    op.create_check_constraint(
        op.f("ck_api_keys_allowance"), "api_keys", "(allowance_tokens is null) = (allowance_window is null)"
    )
    op.create_check_constraint(op.f("ck_api_keys_rate_limit"), "api_keys", "rate_limit_per_minute > 0")
    op.create_check_constraint(op.f("ck_api_keys_delegated"), "api_keys", "not is_delegated or expires_at is not null")
    op.create_check_constraint(op.f("ck_api_keys_ancestors"), "api_keys", "(root_id is null) = (ancestors is null)")
    delegated = sa.text("is_delegated")
    op.create_index("ix_api_keys_delegated", "api_keys", ["user_id", "expires_at"], postgresql_where=delegated)
    op.create_index("ix_api_keys_delegated_ends", "api_keys", ["expires_at"], postgresql_where=delegated)
    op.create_index(
        "ix_api_keys_allowance", "api_keys", ["user_id"], postgresql_where=sa.text("allowance_tokens is not null")
    )
    op.create_index("ix_queue_api_keys", "queue", ["user_id", "id"], postgresql_where=sa.text("api_keys is not null"))
    _scopes([*_SCOPES, "keys:delegate"])


def _add_columns() -> None:
    for name, type_ in (
        ("allowance_tokens", sa.BigInteger()),
        ("allowance_window", sa.Text()),
        ("allowance_reached_in", sa.DateTime(timezone=True)),
        ("rate_limit_per_minute", sa.Integer()),
        ("tools", postgresql.ARRAY(sa.Text())),
        ("root_id", sa.Uuid()),
        ("ancestors", postgresql.ARRAY(sa.Uuid())),
        ("end_user", sa.Text()),
        ("metadata", postgresql.JSONB()),
    ):
        op.add_column("api_keys", sa.Column(name, type_, nullable=True))
    op.add_column("api_keys", sa.Column("is_delegated", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    for table in ("invocations", "usage_logs", "usage_rollups"):
        op.add_column(table, sa.Column("api_key_root_id", sa.Uuid(), nullable=True))
    op.add_column("queue", sa.Column("api_keys", postgresql.ARRAY(sa.Uuid()), nullable=True))


def _scopes(scopes: list[str]) -> None:
    """Put the check in another form. What is there met the narrower one, so it need not be read again."""
    op.drop_constraint(op.f("ck_api_keys_scopes"), "api_keys", type_="check")
    check = f"check (scopes <@ array{scopes}::text[])"
    op.execute(f"alter table api_keys add constraint ck_api_keys_scopes {check} not valid")


def downgrade() -> None:
    _scopes(_SCOPES)
    op.drop_index("ix_queue_api_keys", table_name="queue")
    for index in ("allowance", "delegated_ends", "delegated"):
        op.drop_index(f"ix_api_keys_{index}", table_name="api_keys")
    op.drop_column("queue", "api_keys")
    for table in ("usage_rollups", "usage_logs", "invocations"):
        op.drop_column(table, "api_key_root_id")
    for check in ("ancestors", "delegated", "rate_limit", "allowance", "allowance_tokens", "allowance_window"):
        op.drop_constraint(op.f(f"ck_api_keys_{check}"), "api_keys", type_="check")
    for column in (
        "metadata", "end_user", "ancestors", "root_id", "is_delegated", "tools", "rate_limit_per_minute",
        "allowance_reached_in", "allowance_window", "allowance_tokens",
    ):  # fmt: skip
        op.drop_column("api_keys", column)
