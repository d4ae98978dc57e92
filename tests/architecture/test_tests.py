"""Tests keep to their rules: each can fail, none replaces our own code, none compares a duration with a plain number.

The rules are in CONTRIBUTING.md. Each check is tried on code that breaks it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
SOURCES = {str(file.relative_to(TESTS)): file.read_text(encoding="utf-8") for file in sorted(TESTS.rglob("*.py"))}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}
OURS = ("common", "web", "worker", "dev", "tools")


def calls(node: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Each call below `node`, by the last part of its name."""
    for each in ast.walk(node):
        if isinstance(each, ast.Call):
            function = each.func
            yield (function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")), each


# -- every test can fail -------------------------------------------------------------------------------------------

#: `run_state_machine_as_test` checks the invariants and the asserts of its machine.
ASSERTING = ("raises", "fail", "run_state_machine_as_test")


def asserts(node: ast.AST, helpers: frozenset[str] = frozenset()) -> bool:
    """Whether it asserts something, or calls one of `helpers` or a function whose name says that it does."""
    return any(isinstance(each, ast.Assert) for each in ast.walk(node)) or any(
        name in ASSERTING or name.startswith(("assert_", "expect_", "check_")) or (name in helpers and is_plain(call))
        for name, call in calls(node)
    )


def is_plain(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name)


#: Functions of modules, which tests call by their plain name.
HELPERS = frozenset(
    each.name
    for tree in TREES.values()
    for each in tree.body
    if isinstance(each, ast.FunctionDef) and not each.name.startswith("test_") and asserts(each)
)


def without_assertion(tree: ast.Module) -> list[str]:
    return [
        each.name
        for each in ast.walk(tree)
        if isinstance(each, ast.FunctionDef) and each.name.startswith("test_") and not asserts(each, HELPERS)
    ]


def test_every_test_asserts_something() -> None:
    found = {name: without_assertion(tree) for name, tree in TREES.items() if "/test_" in name}

    assert {name: tests for name, tests in found.items() if tests} == {}


def test_a_test_without_assertion_is_found() -> None:
    tree = ast.parse(
        "def test_bad(): client.call('GET', '/')\n"
        "def test_method(): client.eventually()\n"
        "def test_good(): assert 1\n"
        "def test_raises():\n    with pytest.raises(ValueError): f()\n"
        "def test_helped(): eventually('x', 1, f)\n"
    )

    assert "eventually" in HELPERS
    assert without_assertion(tree) == ["test_bad", "test_method"]


# -- our own code is not replaced ----------------------------------------------------------------------------------

SIZE = "a size: as many rows or bytes as in production would take minutes"
WAIT = "a duration that no operator sets, and that a test need not sit out, or that a slow machine must not exceed"
HOST = "a property of the machine, which a test cannot change"
WATCHED = "counts what is done, and does it"
#: What may be patched, and why no failpoint, setting or real situation takes its place.
PATCHED = {
    "accounts/test_deletion.py": {"account_deletion.CANCEL_SECONDS": WAIT},
    "accounts/test_login.py": {"hashing.matches": WATCHED},
    "accounts/test_sessions.py": {"authorization_cache.AWAIT_SECONDS": WAIT},
    "admin/test_heavy_schemas.py": {"drafts._schema_fault": "an older release accepted what this one refuses"},
    "admin/test_import.py": {"reader.SMALL": SIZE, "reader.WAIT_SECONDS": WAIT},
    "budgets/model/booking.py": {"account_deletion.CANCEL_SECONDS": WAIT},
    "budgets/test_gate.py": {"placing.BATCH": SIZE},
    "budgets/test_repair.py": {
        "comparing.WHOLE_MOST": SIZE,
        "gathering.PIECE": SIZE,
        "rebuild_lock.LOCK_MS": WAIT,
        "rebuilding.OWN_SECONDS": WAIT,
        "rebuilding.WAIT_SECONDS": WAIT,
    },
    "budgets/world.py": dict.fromkeys(
        ("budgets.settle", "budgets.moved"), "a model decides when each message to the gate arrives, or whether"
    ),
    "console/test_large_inputs.py": {"large_reads.WAIT_SECONDS": WAIT},
    "dev/test_servers.py": {"process._namespaces_allowed": HOST},
    "explorer/conftest.py": {
        "partitions._LOCK_TIMEOUT": WAIT,
        "pool.LOCK_TIMEOUT_MS": WAIT,
        "watching.LOOK_AGAIN_SECONDS": WAIT,
    },
    "keys/test_at_once.py": {"admitting.BEHIND": WAIT, "placing.BEHIND": WAIT},
    "keys/test_delegation.py": {"delegation.MAX_ALIVE": SIZE},
    "keys/test_usage_of_keys.py": {"wanted.MOST": SIZE},
    "kit/test_checker.py": {
        **dict.fromkeys(
            ("checker.first", "checker.second"), "this process has two children, which other tests have kept busy"
        ),
        "checker.PAUSES_BEFORE": WAIT,
        "checker.TURN_SECONDS": WAIT,
    },
    "kit/test_names.py": {
        "resolving.LOOKUP_SECONDS": WAIT,
        "resolving.HOSTS": HOST,
        "resolving.RESOLV_CONF": HOST,
        "resolving._changed": HOST,
    },
    "kit/test_outbound.py": {"pools.MAX_IDLE": WAIT},
    "kit/test_silent_database.py": {"connection.ANSWER_TIMEOUT": WAIT},
    "kit/test_sse.py": {"parser._LINE_END": "counts in how much it is searched for: no time"},
    "mcp/test_long_calls.py": {"calls.WAIT_SECONDS": WAIT},
    "openai/test_readers.py": dict.fromkeys(
        (
            "stream_readers.EVERY",
            "reader_watch.LOOK_EVERY",
            "reader_watch.UNREAD_SECONDS",
            "status_changes.HEARTBEAT_SECONDS",
        ),
        WAIT,
    ),
    "openai/test_streams.py": {"chunks.STATUS_SECONDS": WAIT, "status_changes.HEARTBEAT_SECONDS": WAIT},
    "openai/test_whole_answers.py": {
        "calling.WAIT_SECONDS": WAIT,
        "large_reads.BYTES_PER_SECOND": SIZE,
        "large_reads.SMALL_BYTES": SIZE,
    },
    "queue/test_idempotency.py": {"sweeping.BATCH": SIZE},
    "queue/test_lost_answers.py": {"pool.LOCK_TIMEOUT_MS": WAIT, "heartbeat.ORPHANED_SECONDS": WAIT},
    "queue/test_plans.py": {"database.fetch_anywhere": "takes down the statement that would be sent"},
    "queue/test_threads.py": {"admitting.BEHIND": WAIT, "placing.BEHIND": WAIT},
    "queue/test_round_trips.py": {"concurrency.SLOW": WAIT, "running.LONGEST": WAIT},
    "queue/test_turns.py": {"heartbeat.ORPHANED_SECONDS": WAIT},
    "runs/test_cancel_many.py": {"canceling.MOST_AT_ONCE": SIZE},
    "runs/test_filters.py": {"filters.LABELED": SIZE},
    "runs/test_stream_log.py": dict.fromkeys(
        (
            "stream_publisher.SNAPSHOT_EVERY",
            "streams.FULL",
            "streams.MAX_PART",
            "streams.MAX_TEXT",
            "streams.READ_MOST",
        ),
        SIZE,
    )
    | {"stream_publisher.TICK": WAIT},
    "runs/test_stream_outages.py": {"stream_publisher.PAUSE": WAIT},
    "runs/test_streams.py": {"stream_publisher.SNAPSHOT_EVERY": SIZE},
    "schedules/test_refused_or_made.py": {"firing.HOUR": WAIT},
    "stream_server.py": {"output_waiting.readers": "this process has one, of the server that it began with"},
    "subscriptions/test_expiry.py": {"pool.STATEMENT_TIMEOUT_MS": WAIT},
    "subscriptions/test_statement.py": {"statements.MOST_HOLDS": SIZE},
    "usage/test_retention.py": {"submitting.uuid7": "an id of forty days ago is made by no clock that a test can set"},
    "web/test_lean_reads.py": {"quotas.reads.quota": SIZE},
    "web/test_large_bodies.py": {"large_bodies.WAIT_SECONDS": WAIT},
    "web/test_paced_reads.py": {"large_reads.BYTES_PER_SECOND": SIZE},
    "web/test_pieces.py": {"hashing.WAIT_SECONDS": WAIT},
    "webhooks/test_pulling.py": {"pulling.LOOKED_THROUGH": SIZE},
    "web/test_streams.py": {"status_changes.HEARTBEAT_SECONDS": WAIT},
    "web/test_waiter_registry.py": {
        "WaiterRegistry._start": "its steps are called one by one, without its threads",
        "invocations.states": "no server answers with an error of our own code",
    },
    "webhooks/test_delivery.py": {"history.MAX_REPLAY": SIZE},
    "webhooks/test_faults.py": {
        "sender._lanes.room": "a lane is full for a moment that no receiver can be made to hit",
        "delivery.PARK_EVERY": WAIT,
        "delivery.PARK_SECONDS": WAIT,
        "webhooks.park": "the database goes away for one statement, between two others, or a queue has no end",
    },
    "webhooks/test_isolation.py": {"sending.TIMEOUT": WAIT},
    "worker/test_batches.py": dict.fromkeys(
        ("checker.TURN_SECONDS", "concurrency.SLOW", "running.LONGEST", "running.STALLED"), WAIT
    ),
    "worker/test_background.py": {"watchdog.SWEEP_SECONDS": WAIT},
    "worker/test_breakers.py": {"breakers.RESET_SECONDS": WAIT},
    "worker/test_leases.py": {"checker.TURN_SECONDS": WAIT, "concurrency.SLOW": WAIT, "running.LONGEST": WAIT},
    "worker/test_silence.py": {"apart.SECONDS": WAIT},
    "worker/test_watchdog.py": {"watchdog.UNRESPONSIVE_CHECKS": WAIT, "watchdog.WARM_SECONDS": WAIT},
}


def foreign(tree: ast.Module) -> set[str]:
    """The names that imports bind to modules and objects that are not ours."""
    bound: set[str] = set()
    for each in ast.walk(tree):
        if isinstance(each, ast.Import):
            bound |= {(it.asname or it.name).partition(".")[0] for it in each.names if not it.name.startswith(OURS)}
        elif isinstance(each, ast.ImportFrom) and not (each.module or "").startswith(OURS):
            bound |= {it.asname or it.name for it in each.names}
    return bound


def patched(tree: ast.Module) -> set[str]:
    """What of ours this module replaces: `setattr(module, "name", …)`, `setitem(…)`, `setattr("module.name", …)`."""
    others, found = foreign(tree), set()
    for name, call in calls(tree):
        if name not in ("setattr", "setitem", "delattr") or not call.args or is_plain(call):
            continue
        target = ast.unparse(call.args[0])
        if isinstance(call.args[0], ast.Constant):
            target = str(call.args[0].value)
            found |= {target} if target.startswith(OURS) else set()
        elif target.partition(".")[0] not in others:
            part = f".{call.args[1].value!s}" if name != "setitem" and isinstance(call.args[1], ast.Constant) else ""
            found.add(f"{target}{part}")
    return found


def test_only_what_has_a_reason_is_patched() -> None:
    found = {name: patched(tree) for name, tree in TREES.items()}

    assert {name: targets for name, targets in found.items() if targets} == {
        name: set(reasons) for name, reasons in PATCHED.items()
    }


def test_nothing_is_mocked() -> None:
    imported = {
        f"{name}: {each.module}"
        for name, tree in TREES.items()
        for each in ast.walk(tree)
        if isinstance(each, ast.ImportFrom) and each.module in ("unittest", "unittest.mock", "mock", "pytest_mock")
    }

    assert imported == set()


def test_a_patch_is_found() -> None:
    tree = ast.parse(
        "import psycopg\n"
        "from common.kit import db as database\n"
        "monkeypatch.setattr(database, 'execute', f)\n"
        "with monkeypatch.context() as away: away.setattr(database.pool, 'MAX', 1)\n"
        "monkeypatch.setattr(psycopg.Cursor, 'execute', f)\n"
        "monkeypatch.setattr('web.app.create_app', f)\n"
        "monkeypatch.setattr('argon2.hash', f)\n"
        "monkeypatch.setitem(database.known, 'x', 1)\n"
        "monkeypatch.setenv('PATH', '')\n"
    )

    assert patched(tree) == {"database.execute", "database.pool.MAX", "web.app.create_app", "database.known"}


# -- time ----------------------------------------------------------------------------------------------------------

CLOCKS = ("monotonic", "perf_counter", "time")


def is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def bounds_on_durations(tree: ast.Module) -> list[int]:
    """The lines that assert that something took less than a number of seconds."""
    return [
        each.lineno
        for statement in ast.walk(tree)
        if isinstance(statement, ast.Assert)
        for each in ast.walk(statement)
        if isinstance(each, ast.Compare)
        and any(isinstance(operator, ast.Lt | ast.LtE) for operator in each.ops)
        and is_number(each.comparators[-1])
        and any(name in CLOCKS for name, _ in calls(each.left))
    ]


def unexplained_sleeps(source: str) -> list[int]:
    """The lines that sleep for a time instead of waiting for a condition (in a `while`), and do not say why."""
    tree, lines = ast.parse(source), source.splitlines()
    waiting = {call for each in ast.walk(tree) if isinstance(each, ast.While) for _, call in calls(each)}
    return [
        call.lineno
        for name, call in calls(tree)
        if name == "sleep" and ast.unparse(call.func) == "time.sleep" and call not in waiting
        if "#" not in lines[call.lineno - 1]
    ]


def test_no_duration_is_compared_with_a_number() -> None:
    """A busy machine takes longer: compare with another duration, or wait for a condition."""
    found = {name: bounds_on_durations(tree) for name, tree in TREES.items()}

    assert {name: lines for name, lines in found.items() if lines} == {}


def test_a_sleep_outside_of_a_waiting_loop_says_why() -> None:
    found = {name: unexplained_sleeps(source) for name, source in SOURCES.items()}

    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("assert time.monotonic() - began < 3", True),
        ("assert 0 < time.time() - began <= 3.5", False),
        ("assert time.monotonic() - began < 4 * alone", False),
        ("assert time.monotonic() - began >= 1", False),
        ("assert time.monotonic() < give_up", False),
    ],
)
def test_a_bound_on_a_duration_is_found(source: str, found: bool) -> None:
    assert bool(bounds_on_durations(ast.parse(source))) is found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("time.sleep(1)", True),
        ("for _ in range(3):\n    time.sleep(1)", True),
        ("time.sleep(1)  # the deadline is over then", False),
        ("while not done():\n    time.sleep(0.01)", False),
        ("clock.sleep(1)", False),
    ],
)
def test_a_sleep_is_found(source: str, found: bool) -> None:
    assert bool(unexplained_sleeps(source)) is found
