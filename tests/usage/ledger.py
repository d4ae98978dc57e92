"""An account with usage, written straight into the tables: the moments of rows are ours to choose."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.orm import Session

from common import usage
from common.kit import db
from common.kit.clock import uuid7, uuid7_floor
from tests.plain import plain

#: Long past on every clock: a series ends with the present.
START = datetime(2024, 10, 30, 22, 15, 30, tzinfo=UTC)
END = START + timedelta(days=4)
STATUSES = ("success", "error", "timeout", "canceled", "expired")

INSERT = text("""
insert into usage_logs (invocation_id, id, user_id, period_id, tool_id, tool_version_id, api_key_id, status,
                        tokens_used, held, latency_ms, http_status, created_at)
values (:invocation_id, :id, :user_id, :period_id, :tool_id, :tool_id, :api_key_id, :status,
        :tokens_used, :held, :latency_ms, :http_status, :created_at)
""")
_USER = text("insert into users (id, email, email_key, name, password_hash) values (:id, :mail, :mail, 'Ada', '-')")
_TOOL = text("insert into tools (id, slug, name, version) values (:id, :slug, :slug, 1)")
_SUBSCRIPTION = text("""
insert into subscriptions (id, user_id, plan_id, anchor)
select :id, :user, id, :anchor from plans where slug = 'free'
""")
_PERIOD = text("""
insert into periods (id, subscription_id, user_id, plan_id, starts_at, ends_at)
select :id, :subscription, :user, id, :starts_at, :ends_at from plans where slug = 'free'
""")


class Ledger:
    """One account with one period and two tools."""

    def __init__(self) -> None:
        self.user_id, self.period_id, self.key = uuid4(), uuid4(), uuid4()
        self.tools = {"echo": uuid7(), "slow": uuid7()}
        subscription = uuid4()
        with db.transaction() as session:
            session.execute(_USER, {"id": self.user_id, "mail": f"{self.user_id}@example.com"})
            values = {"user": self.user_id, "anchor": START, "starts_at": START, "ends_at": END}
            session.execute(_SUBSCRIPTION, {**values, "id": subscription})
            session.execute(_PERIOD, {**values, "id": self.period_id, "subscription": subscription})
            for slug, tool_id in self.tools.items():
                session.execute(_TOOL, {"id": tool_id, "slug": f"{slug}-{str(tool_id)[-12:]}"})

    def row(self, at: datetime, tokens: int = 1, **changes: Any) -> dict[str, Any]:
        """The columns of one entry."""
        return {
            "invocation_id": UUID(int=uuid7_floor(at).int | uuid4().int >> 56),
            "id": uuid7(),
            "user_id": self.user_id,
            "period_id": self.period_id,
            "tool_id": self.tools["echo"],
            "api_key_id": None,
            "status": "success",
            "tokens_used": tokens,
            "held": tokens,
            "latency_ms": 20,
            "http_status": 200,
            "created_at": at,
            **changes,
        }

    def write(self, *rows: dict[str, Any]) -> None:
        """Commit these rows in one transaction."""
        with db.transaction() as session:
            session.execute(INSERT, list(rows))


_BEHIND = text("select exists (select from usage_logs where xid > coalesce(usage_mark(), '0'))")


def rolled_up(limit: int = 5_000, within: float = 60.0) -> list[int]:
    """Roll up until every row is; how many rows each rollup took.

    One rollup may leave rows for the next: it waits for every older transaction of the whole cluster, and others work
    on this PostgreSQL too (the databases of other test processes, autoanalyze).
    """
    give_up, taken = time.monotonic() + within, []
    while plain(_BEHIND, {})[0][0]:
        assert time.monotonic() < give_up, "a transaction stays open"
        if rows := usage.rollup(limit):
            taken.append(rows)
        else:
            time.sleep(0.02)
    return taken


def total(user_id: UUID, since: datetime, until: datetime) -> tuple[int, int]:
    """The sum of the history by plain SQL: entries and tokens."""
    query = text("""select count(*), coalesce(sum(tokens_used), 0)::bigint from usage_logs
                    where user_id = :user and created_at >= :since and created_at < :until""")
    with db.snapshot() as session:
        n, tokens = session.execute(query, {"user": user_id, "since": since, "until": until}).one()
    return n, tokens


def partitions(session: Session) -> list[str]:
    return list(session.scalars(text("select distinct tableoid::regclass::text from usage_logs order by 1")))


_BLOCKED = text("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")


def beside_a_new_month(month: datetime, work: Callable[[], object]) -> None:
    """Do the work in a thread that comes to its rows while the partition of the month is being added."""
    give_up = time.monotonic() + 30
    with ThreadPoolExecutor(1) as pool, db.transaction() as session:
        assert session.execute(text("select usage_logs_add_month(:month)"), {"month": month}).scalar_one()
        running = pool.submit(work)
        while not plain(_BLOCKED, {})[0][0]:
            assert time.monotonic() < give_up, "it did not come to the rows that are moved"
            time.sleep(0.01)
        session.commit()
        running.result()
