"""A call that cost more than its caller allowed ends as `cost_exceeded`, and is charged what was held.

Revision ID: 0008
Revises: 0007
Create Date: 2026-11-28

Each check is replaced by a wider one, so no row can fail it and none is read (NOT VALID); code that does not know the
new end writes nothing that the wider ones refuse.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

CODES = """'tool_error', 'tool_failed', 'tool_timeout', 'tool_unreachable', 'tool_bad_response', 'output_too_large',
 'output_rejected', 'credential_unavailable', 'worker_lost'"""
KNOWN = f"{CODES}, 'cost_exceeded'"
ANSWERS = "tokens_used = 0 or status in ('success', 'canceled')"


def replace(table: str, old: str, new: str, check: str) -> None:
    op.execute(f"alter table {table} drop constraint ck_{table}_{old}")
    op.execute(f"alter table {table} add constraint ck_{table}_{new} check ({check}) not valid")


def upgrade() -> None:
    replace("invocations", "error_code", "error_code", f"error_code in ({KNOWN})")
    replace("attempts", "outcome", "outcome", f"outcome in ('succeeded', 'canceled', {KNOWN})")
    charged = "charged = 0 or status = 'succeeded' or (error_code = 'cost_exceeded' and charged = held)"
    replace("invocations", "only_success_is_charged", "only_answers_are_charged", charged)
    used = f"{ANSWERS} or (status = 'error' and tokens_used = held)"
    replace("usage_logs", "only_answers_are_charged", "only_answers_are_charged", used)


def downgrade() -> None:
    replace("usage_logs", "only_answers_are_charged", "only_answers_are_charged", ANSWERS)
    charged = "charged = 0 or status = 'succeeded'"
    replace("invocations", "only_answers_are_charged", "only_success_is_charged", charged)
    replace("attempts", "outcome", "outcome", f"outcome in ('succeeded', 'canceled', {CODES})")
    replace("invocations", "error_code", "error_code", f"error_code in ({CODES})")
