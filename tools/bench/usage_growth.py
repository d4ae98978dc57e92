"""Does looking at usage get slower as it grows? The same questions at 10,000 and at 1,000,000 rows of one account.

`python -m tools.bench.usage_growth [SMALL LARGE]` starts servers of its own with a database for each size and fills
both
with 400 days of usage through the real rollup (no rollup has seen the last rows, as on a running platform). It checks
that every sum equals the rows to the token, then asks in turns (whatever else the machine does falls on both).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from uuid import UUID

import psycopg
from flask_migrate import upgrade

from common import boot, usage
from common.kit import clock, db
from common.kit.paging import Window
from common.settings import load
from dev import servers
from tests.usage.ledger import Ledger, total
from tools.bench import asking
from web.app import create_app
from web.cli import MIGRATIONS

SIZES = tuple(int(size) for size in sys.argv[1:]) or (10_000, 1_000_000)
SPAN = timedelta(days=400)
BATCH = ROLL_UP = 100_000
#: Rows that no rollup has seen yet: ten seconds of a busy account.
TAIL = 200
PAGE = 10  # small enough that the 1,000th exists at both sizes
#: Warm-ups: enough for the server to have settled on a plan of each prepared statement.
ROUNDS, WARM_UPS, TIMINGS = 5, 6, 3

Question = Callable[[], object]
Timings = dict[str, list[float]]

#: Row `n` of `of`, evenly over the span: 94 % good calls, two tools, a third with an API key, latencies up to 2 s.
_FILL = """
insert into usage_logs (invocation_id, id, user_id, period_id, tool_id, tool_version_id, api_key_id, status,
                        tokens_used, held, latency_ms, http_status, created_at)
select overlay(uuid7_floor(at)::text placing right(md5(n::text)::uuid::text, 22) from 15)::uuid,
       overlay(uuid7_floor(at)::text placing right(md5('id' || n)::uuid::text, 22) from 15)::uuid,
       %(user)s, %(period)s, tool, tool, case when n %% 3 = 0 then %(key)s::uuid end, status,
       case when status = 'success' then 1 + n %% 97 else 0 end, 100, abs(hashint8(n)) %% 2000, 200, at
  from generate_series(%(first)s::bigint, %(last)s::bigint) n,
       lateral (select %(since)s::timestamptz + n * (%(span)s::interval / %(of)s::float8) as at,
                       (%(tools)s::uuid[])[1 + n %% 2] as tool,
                       case when n %% 50 < 47 then 'success' when n %% 50 < 49 then 'error'
                            else 'timeout' end as status) x
"""
_MONTHS = "select usage_logs_add_month(generate_series(%s::timestamptz, %s::timestamptz + '1 month', '1 month'))"


@dataclass(frozen=True, slots=True)
class Account:
    """One account in a database of its own, and what its usage page asks for."""

    url: str
    questions: Mapping[str, Question]


def prepare(environ: Mapping[str, str], rows: int, until: datetime) -> Account:
    """Migrate, fill and roll up one database, and prove that what is rolled up is what was written."""
    begun, settings = perf_counter(), load(environ)
    with create_app(settings).app_context():
        upgrade(directory=str(MIGRATIONS))
    it = Ledger()
    whose = {"user": it.user_id, "period": it.period_id, "key": it.key, "tools": list(it.tools.values())}
    values = {**whose, "since": until - SPAN, "span": SPAN, "of": rows}
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(_MONTHS, (until - SPAN, until))
        for first in range(0, rows - TAIL, BATCH):
            connection.execute(_FILL, {**values, "first": first, "last": min(first + BATCH, rows - TAIL) - 1})
        written = perf_counter()
        rolled = roll_up()
        connection.execute(_FILL, {**values, "first": rows - TAIL, "last": rows - 1})
        connection.execute("vacuum (analyze) usage_logs, usage_rollups, usage_points")
    assert rolled == rows - TAIL
    print(
        f"{rows:>10,} rows written in {written - begun:.0f} s, rolled up in {perf_counter() - written:.0f} s",
        flush=True,
    )
    check(it.user_id, rows, until)
    print(f"{rows:>10,} rows verified, {perf_counter() - begun:.0f} s in all", flush=True)
    return Account(settings.database_url, questions(it.user_id, until))


def roll_up() -> int:
    """All that can be, in batches large enough for a day's worth of rows to be added to its sums once."""
    total = 0
    while rolled := usage.rollup(ROLL_UP):
        total += rolled
    return total


def check(user: UUID, rows: int, until: datetime) -> None:
    """Every rollup equals its rows, and summaries the history: of everything, and of ranges that cut hours and days."""
    assert usage.differences() == []
    for days, seconds in ((400, 0), (365, 1), (30, 0), (30, 1799.5), (1, 61.25), (0.01, 0)):
        since, end = until - timedelta(days=days), until - timedelta(seconds=seconds)
        found = usage.summary(user, since, end).totals
        assert (found.invocations, found.tokens_used) == total(user, since, end), (since, end)
    assert usage.summary(user, until - SPAN, until, bucket="month").totals.invocations == rows


def questions(user: UUID, until: datetime) -> dict[str, Question]:
    month, year = until - timedelta(days=30), until - timedelta(days=365)
    deep = usage.history(user, Window(999 * PAGE)).next
    rare = usage.Filter(statuses=frozenset({"timeout"}))
    return {
        "summary, 30 days by day": lambda: usage.summary(user, month, until),
        "summary, 30 days by hour": lambda: usage.summary(user, month, until, bucket="hour"),
        "summary, 30 days by tool": lambda: usage.summary(user, month, until, group_by="tool"),
        "summary, 30 days by key": lambda: usage.summary(user, month, until, group_by="api_key"),
        "summary, a year by month": lambda: usage.summary(user, year, until, bucket="month"),
        "history, first page": lambda: usage.history(user, Window(PAGE)),
        "history, 1,000th page": lambda: usage.history(user, Window(PAGE, deep)),
        "history, timeouts only": lambda: usage.history(user, Window(PAGE), rare),
    }


def ask(account: Account, timings: Timings) -> None:
    db.connect(account.url, pool_size=1, application_name="joyfull-bench")
    asking.ask(account.questions, timings, WARM_UPS, TIMINGS)


def tell(small: Timings, large: Timings) -> None:
    print("milliseconds, median (p95)  {:>13,} rows {:>13,} rows   ratio (p95)".format(*SIZES))
    for name in small:
        (m, p), (n, q) = ((median(t[name]), quantiles(t[name], n=20)[-1]) for t in (small, large))
        print(f"{name:<27} {m:>9.2f} ({p:>6.2f}) {n:>9.2f} ({q:>6.2f})   {n / m:.2f} ({q / p:.2f})")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="joyfull-growth-") as name:
        postgres = servers.Postgres(Path(name), durable=False)
        with servers.running(Path(name), {}, durable=False) as urls:
            environ, accounts = {**urls.environment(), "DATA_DIR": name, "LOG_LEVEL": "ERROR"}, []
            for rows in SIZES:
                servers.create_database(postgres, f"rows_{rows}")
                url = postgres.url(f"rows_{rows}")
                accounts.append(prepare({**environ, "DATABASE_URL": url}, rows, clock.now()))
            timings: tuple[Timings, Timings] = ({}, {})
            for n in range(ROUNDS):
                for which in (n % 2, 1 - n % 2):
                    ask(accounts[which], timings[which])
            tell(*timings)
            boot.disconnect()


if __name__ == "__main__":
    main()
