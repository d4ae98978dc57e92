"""Can a stranger tell by the clock who has an account? Compares answers for known and unknown addresses.

`python -m tools.bench.timing_of_accounts [N]` starts servers of its own and takes N timings of each kind, in turns
(so that
whatever else the machine does falls on both), of a failed login and of a request for a reset link. Prints medians, and
the two-sided p-value of the Mann-Whitney U test: small means that the two can be told apart.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter_ns

import psycopg
from flask_migrate import upgrade

from common import boot
from common.settings import Settings, load
from dev import servers
from web.app import create_app
from web.cli import MIGRATIONS

KNOWN, UNKNOWN = "known@example.com", "unkno@example.com"
PASSWORD = "the heron waits in grey water"


def mann_whitney(left: list[int], right: list[int]) -> float:
    """The two-sided p-value, by the normal approximation (ties are rare in nanoseconds)."""
    ranked = sorted([(x, 0) for x in left] + [(x, 1) for x in right])
    rank_sum = sum(rank for rank, (_, side) in enumerate(ranked, 1) if side == 0)
    n, m = len(left), len(right)
    u = rank_sum - n * (n + 1) / 2
    z = (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    return math.erfc(abs(z) / math.sqrt(2))


def compare(name: str, ask: Callable[[str], None], reset: Callable[[], None], count: int) -> None:
    timings: dict[str, list[int]] = {KNOWN: [], UNKNOWN: []}
    for n in range(2 * count + 20):
        email = (KNOWN, UNKNOWN)[(n + n // 2) % 2]
        reset()
        begun = perf_counter_ns()
        ask(email)
        if n >= 20:
            timings[email].append(perf_counter_ns() - begun)
    known, unknown = timings[KNOWN], timings[UNKNOWN]
    medians = f"median known {median(known) / 1e6:.3f} ms, unknown {median(unknown) / 1e6:.3f} ms"
    print(f"{name}: {len(known)} each; {medians}; p = {mann_whitney(known, unknown):.3f}")


def main(count: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="joyfull-timing-") as directory,
        servers.running(Path(directory), {}) as urls,
    ):
        run(load({**urls.environment(), "DATA_DIR": directory, "LOG_LEVEL": "ERROR"}), count)


def run(settings: Settings, count: int) -> None:
    app = create_app(settings)
    with app.app_context():
        upgrade(directory=str(MIGRATIONS))
    client = app.test_client()
    client.post("/api/v1/auth/register", json={"email": KNOWN, "password": PASSWORD, "name": "K"})

    def post(path: str, body: dict[str, str], expected: int) -> None:
        assert client.post(f"/api/v1/auth/{path}", json=body).status_code == expected

    with psycopg.connect(settings.database_url, autocommit=True) as connection:

        def reset() -> None:
            connection.execute("update throttles set attempts = 0")

        compare("login", lambda email: post("login", {"email": email, "password": "wrong, surely"}, 401), reset, count)
        compare("reset", lambda email: post("password-reset", {"email": email}, 202), reset, count)
    boot.disconnect()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
