"""P14: finished calls from a backlog ÷ procrastinate's, the same tool behind both; and ÷ what a user would build."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from statistics import median
from typing import Final

import psycopg

from dev import servers
from dev.platform import ROOT
from dev.supervisor import Part
from tools.bench import backlog, environments, pairs
from tools.bench.environments import NotInstalled
from tools.bench.goals import Found, ratio, running
from tools.bench.ground import Ground, python

LOCK: Final = ROOT / "tools" / "bench" / "limits" / "procrastinate.txt"
#: Jobs that one process runs at once.
CONCURRENCY: Final = 10
DATABASE: Final = "jobs"
#: Threads that mostly wait for PostgreSQL: more of them than bare tasks need.
NAIVE_TRIED: Final = (2, 4, 8, 16)
CALLS: Final = running.QUICK_CALLS
#: As `defer` leaves them, without a notification and a row of events for each; the last one notifies.
_FILL = """
set session_replication_role = replica;
insert into procrastinate_jobs (queue_name, task_name, args)
select 'jobs', 'run', '{{"text": "some words"}}' from generate_series(1, {count} - 1);
set session_replication_role = origin;
insert into procrastinate_jobs (queue_name, task_name, args) values ('jobs', 'run', '{{"text": "some words"}}');
"""


def p14(ground: Ground) -> dict[str, Found]:
    """Two processes on each side. procrastinate stores that a job was done; no usage, no charges, no events of ours."""
    try:
        where = environments.installed("procrastinate", "--require-hashes", "-r", str(LOCK))
    except NotInstalled as failure:
        print(f"P14: left out, because procrastinate cannot be installed: {failure}", flush=True)
        return {}
    servers.create_database(ground.postgres, DATABASE)
    url = ground.postgres.url(DATABASE)
    quiet = ["--log-level", "warning"]  # two lines for each job otherwise
    command = [str(where / "bin" / "python"), "-m", "procrastinate", *quiet, "--app", "tools.bench.limits.jobs.app"]
    environ = {"JOBS_DATABASE": url, "BARE_TOOL": ground.tool_url()}
    subprocess.run(
        [*command, "schema", "--apply"], cwd=ROOT, env={**os.environ, **environ}, check=True, capture_output=True
    )
    options = ["worker", "--queues", "jobs", "--concurrency", str(CONCURRENCY)]
    workers = [Part(f"jobs-{n + 1}", [*command, *options], environ) for n in range(running.PROCESSES)]
    what = f"procrastinate {environments.version(where, 'procrastinate')}, concurrency {CONCURRENCY}"
    return {"P14": _beside(ground, workers, lambda count: _fill(url, count), what)}


def _fill(url: str, count: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_FILL.format(count=count))


def naive(ground: Ground) -> dict[str, Found]:
    """Celery, Redis, and SQLAlchemy for a row, two UPDATEs and a row of usage, with its best number of threads."""
    subprocess.run(
        python("tools.bench.limits.naive"),
        cwd=ROOT,
        env={**os.environ, **ground.bare_environ()},
        check=True,
    )
    best = running.best_of(
        ground,
        "theirs",
        ground.naive_worker,
        lambda calls: running.drained(ground, "naive-", calls, lambda: backlog.naive(ground, calls), []),
        NAIVE_TRIED,
    )
    return {"naive": _beside(ground, best.workers, lambda count: backlog.naive(ground, count), best.note)}


def _beside(ground: Ground, workers: list[Part], fill: Callable[[int], None], what: str) -> Found:
    """Ours and theirs in turn. What both spent is of their workers and all servers."""
    ground.start(*ground.workers(running.PROCESSES, running.THREADS), *workers)
    prefix = workers[0].name.rpartition("-")[0] + "-"
    spent: dict[str, list[float]] = {"ours": [], "theirs": []}

    def theirs() -> float:
        return running.drained(ground, prefix, CALLS, lambda: fill(CALLS), [])

    theirs()  # all are there, and connected
    running.ours(ground, ["quick"], CALLS, [])
    found = pairs.in_turn(
        lambda: _cpu(ground, spent["ours"], "invocations-", lambda: running.ours(ground, ["quick"], CALLS, [])),
        lambda: _cpu(ground, spent["theirs"], prefix, theirs),
    )
    ground.stop_all()
    mine, other = (1000 * median(spent[name]) / CALLS for name in ("ours", "theirs"))
    cpu = f"CPU of workers, PostgreSQL and Redis, with filling the backlog: {mine:.2f} ms a call, theirs {other:.2f} ms"
    return ratio(found, note=f"{what}; {cpu}")


def _cpu(ground: Ground, spent: list[float], prefix: str, measure: Callable[[], float]) -> float:
    with pairs.cpu(ground.pids(*(name for name in ground.supervisor.children if name.startswith(prefix)))) as cpu:
        rate = measure()
    spent.append(cpu.total)
    return rate
