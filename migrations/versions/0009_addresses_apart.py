"""Addresses are compared in lower case and not case-folded: `straße@` and `strasse@` are two people's.

Revision ID: 0009
Revises: 0008
Create Date: 2026-11-28

Only keys of addresses that have such letters change. Code before this finds these few accounts again when it is replaced.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from common.identity import email_addresses

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    for id_, email, old in connection.execute(
        sa.text("select id, email, email_key from users where email ~ '[^\\x01-\\x7f]'")
    ):
        new = email_addresses.key(email)
        if new != old:
            connection.execute(sa.text("update users set email_key = :new where id = :id"), {"new": new, "id": id_})
            connection.execute(
                sa.text("update email_verifications set email_key = :new where user_id = :id and email_key = :old"),
                {"new": new, "id": id_, "old": old},
            )


def downgrade() -> None:
    """Both ways of comparing find what is there; two that were one again would not fit the unique key."""
