"""One fault after the other on one platform: load, break, heal, settle, check."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psycopg

from common.kit import db, redis
from common.operations import ledger
from dev.servers import ServerError
from tools.faults import checks
from tools.faults.checks import Result
from tools.faults.rows import Row
from tools.faults.shown import SHOWN
from tools.faults.tight import Spender
from tools.faults.world import ROOT, Span, Violation, World

#: A hold without a row, or a settlement that was lost, is put right by the books' own watchman within this time.
BOOKS_SECONDS = 120.0
Tell = Callable[[str], None]


def one(world: World, row: Row, tell: Tell) -> Result:
    """Run one row of the matrix. Whatever goes wrong is in the result."""
    result, began, clock = Result(row.ids, row.title), time.time(), time.monotonic()
    world.history.fresh()
    world.messages = 0
    with _blaming(result):
        checks.baseline(world)
    spender = Spender(world.hub.url, world.hook_url, world.history)
    with _blaming(result), _counting_messages(world, row), _spending(spender), world.under_load(row.rate):
        world.sleep(2)
        with _blaming(result):
            _break(world, row, result)
        world.heal()
        world.sleep(row.after)
    steps: tuple[Callable[[], None], ...] = (
        lambda: settle(world, row.settle),
        lambda: _blame(result, spender.exhaust(lambda: world.quiet(spender.account), world.sleep)),
        lambda: _blame(result, checks.canary(world)),
        lambda: settle(world, row.settle),
        lambda: checks.all_of(world, result, began),
    )
    for step in steps:
        with _blaming(result):
            step()
    result.seconds = time.monotonic() - clock
    tell(line(result))
    return result


@contextmanager
def _spending(spender: Spender) -> Iterator[None]:
    spender.start()
    try:
        yield
    finally:
        spender.stop()


def _break(world: World, row: Row, result: Result) -> None:
    fault = time.time()
    try:
        result.injected = row.fault(world)
    finally:
        world.spans.append(Span(" ".join(row.ids), fault, time.time()))


def _blame(result: Result, failure: str | None) -> None:
    if failure:
        result.violations.append(failure)


@contextmanager
def _blaming(result: Result) -> Iterator[None]:
    """What goes wrong in the block is a violation; the row goes on, so that everything is looked at all the same."""
    try:
        yield
    except (
        Violation,
        ServerError,
        OSError,
        psycopg.Error,
        RuntimeError,
        db.Unreachable,
        redis.RedisUnreachable,
    ) as error:
        result.violations.append(f"{type(error).__name__}: {error}")


def line(result: Result) -> str:
    """One row for the terminal."""
    verdict = "ok    " if result.passed else "FAILED"
    figures = (
        f"accepted {result.accepted:4d}  ended {result.ended:4d}  lost {result.lost}  doubled {result.doubled}  "
        f"charged twice {result.twice}  500: {result.errors_500}  503: {result.errors_503}  "
        f"cut off {result.cut_off}  refused {result.refused}  longest {result.longest:5.1f} s  ({result.seconds:.0f} s)"
    )
    wrong = "".join(f"\n         {each}" for each in result.violations)
    return f"{verdict} {'+'.join(result.ids):12} {figures}  {result.title}{wrong}"


@contextmanager
def _counting_messages(world: World, row: Row) -> Iterator[None]:
    """Look at how many messages wait, twice a second, unless the fault sends some too."""
    over = threading.Event()

    def look() -> None:
        box = world.broker_client()
        while not over.wait(0.5):
            with contextlib.suppress(Exception):
                world.messages = max(world.messages, int(box.llen("invocations")))

    if not row.sends_messages:
        threading.Thread(target=look, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def settle(world: World, limit: float) -> None:
    """Until nothing is open, every delivery has ended, every process has a heartbeat, and the books agree."""

    def at_rest() -> bool:
        with contextlib.suppress(psycopg.Error):
            open_ = world.number("select count(*) from queue")
            pending = world.number("select count(*) from deliveries where status = 'pending'")
            return not open_ and not pending and world.all_alive() and world.serving()
        return False

    try:
        world.wait_until("everything at rest", at_rest, limit)
    except Violation as error:
        left = world.rows("""select q.id, t.slug, q.slot, q.token is not null, q.due_at, q.attempts, q.crash_count
                               from queue q join tools t on t.id = q.tool_id limit 3""")
        query = "select id, status, due_at, lease_until, parked, tries from deliveries where status = 'pending' limit 2"
        raise Violation(f"{error}; open: {left}; deliveries: {world.rows(query)}; alive: {world.all_alive()}") from None
    world.wait_until("the books to agree", _books_agree, BOOKS_SECONDS)


def _books_agree() -> bool:
    with contextlib.suppress(db.Unreachable, redis.RedisUnreachable):
        return not ledger.verify().differences
    return False


def tests(ids: Sequence[str], tell: Tell) -> tuple[bool, str]:
    """The tests that show the rest of the matrix. Returns whether they passed, and their last line."""
    named = sorted({test for id_ in ids for test in SHOWN[id_][1]})
    if not named:
        return True, ""
    tell(f"       running {len(named)} tests and files of the suite for {', '.join(ids)} ...")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--show-capture=no", *named],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    last = f"{len(named)} tests and files {'failed' if done.returncode else 'passed'}"
    if done.returncode:
        tell(done.stdout[-3000:])
    return done.returncode == 0, last
