"""Types of events are a list in the code, so that a new one needs no migration.

Revision ID: 0012
Create Date: 2026-11-29

Constraints become wider: what code that is already running writes still fits. The one on `events` is checked without a
lock that writers would wait for.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TYPES = (
    "invocation.queued",
    "invocation.running",
    "invocation.succeeded",
    "invocation.failed",
    "invocation.canceled",
    "invocation.expired",
    "budget.threshold",
    "webhook.test",
)


def upgrade() -> None:
    op.drop_constraint(op.f("ck_events_type"), "events")
    op.execute(r"alter table events add constraint ck_events_type check (type ~ '^[a-z_]+\.[a-z_]+$') not valid")
    op.execute("alter table events validate constraint ck_events_type")
    op.drop_constraint(op.f("ck_webhook_endpoints_events"), "webhook_endpoints")
    op.create_check_constraint(op.f("ck_webhook_endpoints_events"), "webhook_endpoints", "cardinality(events) > 0")


def downgrade() -> None:
    """What only newer code knows is forgotten."""
    known = ", ".join(repr(kind) for kind in TYPES)
    filters = f"array['completed', {known}]"
    op.execute(sa.text(f"delete from deliveries d using events e where e.id = d.event_id and e.type not in ({known})"))
    op.execute(sa.text(f"delete from events where type not in ({known})"))
    op.execute(
        sa.text(
            "update webhook_endpoints set events = coalesce((select array_agg(e) from unnest(events) e "
            f"where e = any({filters})), array['completed']) where not events <@ {filters}"
        )
    )
    op.drop_constraint(op.f("ck_webhook_endpoints_events"), "webhook_endpoints")
    op.create_check_constraint(
        op.f("ck_webhook_endpoints_events"), "webhook_endpoints", f"cardinality(events) > 0 and events <@ {filters}"
    )
    op.drop_constraint(op.f("ck_events_type"), "events")
    op.create_check_constraint(op.f("ck_events_type"), "events", f"type in ({known})")
