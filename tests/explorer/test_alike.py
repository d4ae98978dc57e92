"""Which ends of runs are alike: those that differ in nothing that anybody afterwards asks for, and no others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.explorer.world import StateStore, World

STATE = "once-in-hand"
ROW = "(select id from queue order by id limit 1)"


def _sql(statement: str) -> Callable[[StateStore, World], object]:
    return lambda store, _world: store.connection.execute(statement.encode())


def _gate(field: str, by: int) -> Callable[[StateStore, World], object]:
    def change(store: StateStore, world: World) -> None:
        key = f"budget:{{{world.customer.user_id}}}:{world.customer.period_id}"
        store.redis.hincrby(key, field, by)

    return change


TOLD_APART = {
    "an amount that is held": _sql(f"update queue set held = held + 1 where id = {ROW}"),
    "a gate's sum": _gate("held", 1),
    "a gate's epoch": _gate("epoch", 1),
    "a row's epoch": _sql("update periods set epoch = epoch + 1"),
    "a task that is kept": _sql("update queue set lease_expires_at = now() + interval '1 h' where token is not null"),
    "what has been sent": _sql("update queue set dispatched_at = now() where token is not null"),
    "what is due": _sql(f"update queue set due_at = now() + interval '20 s' where id = {ROW}"),
    "the order of work": _sql("update queue set start_tag = -start_tag"),
    "the order of what is due": _sql("update queue set due_at = now() - (interval '1 d' * start_tag)"),
    "a cancel": _sql(f"update invocations set cancel_requested_at = now() where id = {ROW}"),
    "a tool that is gone": _sql("update tools set is_active = false"),
    "a larger grant": _sql("update grants set tokens = tokens + 1"),
    "a lock in Redis": lambda store, _world: store.redis.set("rebuild:a", "b 1", px=5000),
    "a lock that ends soon": lambda store, _world: store.redis.expire("kept", 2),
    "a gate that is gone": lambda store, _world: store.redis.flushall(),
}
ALIKE = {
    "audit": _sql("delete from audit_log"),
    "where numbers begin": _sql("update queue set start_tag = start_tag + 7"),
    "who else runs": _sql("delete from processes"),
    "a message for a worker": lambda store, _world: store.redis.lpush("invocations", "a message"),
    "what is long past": _sql("update invocations set created_at = created_at - interval '10 s'"),
}


def _end(store: StateStore, change: Callable[[StateStore, World], object], seen: str = "") -> bytes:
    world = store.restore(STATE)
    store.redis.set("kept", "x", ex=20)
    change(store, world)
    return store.ends.name(STATE, seen, 0.0)


@pytest.mark.parametrize("change", TOLD_APART.values(), ids=TOLD_APART.keys())
def test_ends_that_differ_are_told_apart(store: StateStore, change: Callable[[StateStore, World], object]) -> None:
    assert _end(store, change) != _end(store, _nothing)


@pytest.mark.parametrize("change", ALIKE.values(), ids=ALIKE.keys())
def test_what_nobody_asks_for_makes_no_difference(
    store: StateStore, change: Callable[[StateStore, World], object]
) -> None:
    changed, unchanged = ({_end(store, each) for _ in range(3)} for each in (change, _nothing))
    assert changed & unchanged


def test_two_runs_of_a_verb_end_alike(store: StateStore) -> None:
    """Although each makes ids of its own. (Not all of them: what is left of a lifetime is rounded, here or there.)"""
    ends = {_end(store, lambda _store, world: world.submit("A")) for _ in range(6)}
    assert len(ends) < 6
    assert _end(store, lambda _store, world: (world.submit("A"), world.submit("B"))) not in ends


def test_what_was_told_is_part_of_an_end(store: StateStore) -> None:
    assert _end(store, _nothing, "told A id x") != _end(store, _nothing, "told A unknown x")


def _nothing(_store: StateStore, _world: World) -> None:
    pass
