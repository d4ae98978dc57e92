"""The platform's usage as admins see it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import text

from common import usage
from common.kit import db
from tests.admin.conftest import Admin
from tests.usage.ledger import START, Ledger, rolled_up

HOUR = timedelta(hours=1)
SINCE, UNTIL = START, START + 30 * HOUR


def of_rows() -> tuple[int, int, int]:
    """Entries, failures and tokens of the whole hours around the range, by plain SQL."""
    query = text("""select count(*), count(*) filter (where status in ('error', 'timeout')), sum(tokens_used)::bigint
                    from usage_logs where created_at >= date_trunc('hour', cast(:since as timestamptz))
                     and created_at < date_trunc('hour', cast(:until as timestamptz)) + interval '1 hour'""")
    with db.snapshot() as session:
        n, failed, tokens = session.execute(query, {"since": SINCE, "until": UNTIL}).one()
    return n, failed, tokens


def test_sums_over_all_accounts_are_those_of_the_rows_rolled_up_or_not(admin: Admin) -> None:
    one, other = Ledger(), Ledger()
    for ledger, tokens in ((one, 5), (other, 2)):
        ledger.write(*(ledger.row(START + n * HOUR, tokens, latency_ms=100 * abs(n)) for n in range(-2, 33)))
    rolled_up()
    slow: dict[str, Any] = {
        "tool_id": one.tools["slow"],
        "status": "timeout",
        "tokens_used": 0,
        "held": 0,
        "latency_ms": 30_000,
    }
    one.write(one.row(START + 3 * HOUR, **slow), one.row(START + 4 * HOUR, **{**slow, "latency_ms": None}))

    def shown(**params: str) -> Any:
        given = {"from": SINCE.isoformat(), "to": UNTIL.isoformat(), **params}
        return admin.data("GET", "/admin/usage/stats", params=given)

    found = {bucket: shown(bucket=bucket) for bucket in ("hour", "day", "month")}
    n, failed, tokens = of_rows()
    assert failed == 2
    for stats in found.values():
        totals = stats["totals"]
        assert (totals["invocations"], totals["failed"], totals["tokens_used"]) == (n, failed, tokens)
        assert sum(point["tokens_used"] for point in stats["series"]) == tokens
        assert stats["error_rate"] == failed / n
        assert stats["active_users"] == 2
    stats = found["hour"]
    assert (stats["from"], stats["to"]) == ("2024-10-30T22:00:00.000000Z", "2024-11-01T05:00:00.000000Z")
    assert [user["id"] for user in stats["top_users"]] == [str(one.user_id), str(other.user_id)]
    assert [tool["tokens_used"] for tool in stats["top_tools"]] == [31 * 5, 31 * 2, 0]
    assert stats["top_tools"][2]["failed"] == 2
    latency = stats["latency_ms"]
    assert 0 < latency["p50"] < latency["p95"] <= 3_100 < latency["p99"]
    assert (stats["queue_depth"], stats["oldest_queued_seconds"]) == (0, 0)
    usage.rebuild()
    assert shown(bucket="hour") == stats, "before the next rollup"


def test_a_platform_at_rest_has_stats_too(admin: Admin) -> None:
    stats = admin.data("GET", "/admin/usage/stats")
    assert (stats["error_rate"], stats["active_users"], stats["top_tools"]) == (0, 0, [])
    assert stats["latency_ms"] == {"p50": None, "p95": None, "p99": None}
    assert len(stats["series"]) in (30, 31)
    swapped = {"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}
    admin.call("GET", "/admin/usage/stats", 422, params=swapped)
    admin.call("GET", "/admin/usage/stats", 422, params={"from": "1990-01-01T00:00:00Z", "bucket": "hour"})
