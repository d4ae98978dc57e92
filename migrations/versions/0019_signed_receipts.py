"""Signed receipts and quotes: keys, the receipts that were issued, which quote an invocation used, who wants receipts.

Revision ID: 0019
Revises: 0018
Create Date: 2026-11-29

New tables, and columns that are null or have a constant default: no row is rewritten, and code that does not know them
leaves them as they are. Of an invocation it makes, the quote is null: it refuses a submit that names one.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

CHECKS = {
    "is_current": "is_current is not false",
    "retired": "(is_current is null) = (retired_at is not null)",
    "private_key": "(is_current is null) = (private_key is null)",
}
INCLUDE = "include <@ array['receipt']"


def upgrade() -> None:
    created = ("created_at", sa.DateTime(timezone=True))
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("private_key", sa.String(), nullable=True),
        sa.Column("is_current", sa.Boolean(), nullable=True),
        sa.Column(*created, server_default=sa.text("now()"), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        *(sa.CheckConstraint(condition, name=op.f(f"ck_signing_keys_{name}")) for name, condition in CHECKS.items()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signing_keys")),
        sa.UniqueConstraint("kid", name=op.f("uq_signing_keys_kid")),
        sa.UniqueConstraint("is_current", name=op.f("uq_signing_keys_is_current")),
    )
    op.create_table(
        "receipts",
        sa.Column("invocation_id", sa.Uuid(), nullable=False),
        sa.Column("jws", sa.Text(), nullable=False),
        sa.Column(*created, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["invocation_id"], ["invocations.id"], name=op.f("fk_receipts_invocation_id")),
        sa.PrimaryKeyConstraint("invocation_id", name=op.f("pk_receipts")),
    )
    op.add_column("invocations", sa.Column("quote_id", sa.Uuid(), nullable=True))
    texts = postgresql.ARRAY(sa.Text())
    op.add_column("webhook_endpoints", sa.Column("include", texts, server_default=sa.text("'{}'"), nullable=False))
    op.create_check_constraint(op.f("ck_webhook_endpoints_include"), "webhook_endpoints", INCLUDE)


def downgrade() -> None:
    op.drop_column("webhook_endpoints", "include")
    op.drop_column("invocations", "quote_id")
    op.drop_table("receipts")
    op.drop_table("signing_keys")
