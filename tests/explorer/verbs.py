"""Everything that may happen, as one function each: what an actor does in a world."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from common import budgets, invocations, subscriptions
from common.errors import AlreadyFinished, Conflict, DependencyUnavailable, NotFound, SubscriptionRequired, TokenRevoked
from common.identity import accounts, keys
from common.identity.audit import OPERATOR, Actor
from common.invocations import ClaimOptions, sweeping
from common.kit import db, redis
from common.operations import account_deletion
from common.subscriptions import plans
from common.tools import editing
from tests import factories
from tests.explorer import appointments, deadlines, hooks, people, quotes, streams, sums
from tests.explorer.world import World, add_foreign_gate
from tests.subscriptions.accounts import began
from worker import runner

Verb = Callable[[World, str], object]

#: What a client, an admin or a sweep may meet when servers fail: answered with 503, or tried again by the next sweep.
UNAVAILABLE = (db.Unreachable, redis.RedisUnreachable, DependencyUnavailable)
#: And what an account's own state may answer.
REFUSED = (Conflict, NotFound, SubscriptionRequired, AlreadyFinished, TokenRevoked)


def submit(world: World, name: str) -> None:
    world.submit(name)


def submit_with_key(world: World, name: str) -> None:
    world.submit(f"keyed-{name}", key=name)


def submit_same_key(world: World, _name: str) -> None:
    """The key that the other one uses (its name is A)."""
    world.submit("keyed-A", key="A")


def submit_by_child(world: World, name: str) -> None:
    """By a key that comes from the one with the limits."""
    world.submit(name, customer=world.child)


def batch(world: World, name: str) -> None:
    """Two items, each a submit; when the servers were away at one, the next is not tried."""
    if world.submit(f"{name}-0"):
        world.submit(f"{name}-1")


def claim_and_complete(world: World, _name: str) -> None:
    """A worker that is new to the books takes whatever is due, and runs it."""
    world.work()


def wake(world: World, _name: str) -> None:
    """The worker that has a task goes on with it."""
    if world.task is not None:
        runner.run(world.process(world.me.id), world.task, lambda: ClaimOptions(world.me.id, take_next=False))


def wake_two(world: World, _name: str) -> None:
    """The worker that has two tasks goes on with them, and takes what it can get."""
    options = ClaimOptions(world.me.id, most=2, quick=(world.tool.current.id,))
    process = world.process(world.me.id)
    for task in runner.run_batch(process, world.tasks, lambda: options):
        runner.run(process, task, lambda: ClaimOptions(world.me.id, take_next=False))


def retry(world: World, _name: str) -> None:
    if world.task is not None:
        invocations.retry_later(world.task, factories.BAD, 0.0, ClaimOptions(world.me.id, take_next=False))


def give_back(world: World, _name: str) -> None:
    if world.task is not None:
        invocations.give_back(world.task)


def cancel(world: World, _name: str) -> None:
    first = next(told.id for told in world.seen.told if told.id)
    with suppress(*REFUSED):
        if invocations.cancel(world.customer.caller, first):
            world.seen.canceled.append(first)


def cancel_many(world: World, _name: str) -> None:
    """All that the client knows of, each by itself; a fault in between leaves the rest as it is."""
    known = [told.id for told in world.seen.told if told.id]
    with suppress(*REFUSED):
        invocations.cancel_several(world.customer.caller, known)


def rerun(world: World, name: str) -> None:
    """The first one once more, whatever has become of it."""
    world.rerun(f"again-{name}", next(told.id for told in world.seen.told if told.id))


def take_over(world: World, _name: str) -> None:
    """A process picks up what it has by the books and works on in no thread."""
    invocations.take_over(world.me.id, [row.token for row in invocations.held_by(world.me.id)])


def grant(world: World, _name: str) -> None:
    subscriptions.grant(world.customer.user_id, 10, reason="more", actor=world.admin)


def grant_elsewhere(world: World, _name: str) -> None:
    """To an account from which nobody submits afterwards: what its gate was not told, no refusal brings to light."""
    subscriptions.grant(world.other.user_id, 10, reason="more", actor=world.admin)


def take_back(world: World, _name: str) -> None:
    with suppress(*REFUSED):
        subscriptions.grant(world.customer.user_id, -10, reason="less", actor=world.admin)


def upgrade(world: World, _name: str) -> None:
    with suppress(*REFUSED):
        subscriptions.subscribe(world.customer.user_id, world.bigger)


def revoke_key(world: World, _name: str) -> None:
    key_id = world.customer.caller.api_key_id
    assert key_id is not None
    with suppress(*REFUSED):
        keys.revoke(world.customer.user_id, key_id, actor=OPERATOR)


def downgrade(world: World, _name: str) -> None:
    with suppress(*REFUSED):
        subscriptions.subscribe(world.customer.user_id, world.smaller)


def unsubscribe(world: World, _name: str) -> None:
    with suppress(*REFUSED):
        subscriptions.cancel(world.customer.user_id, at_period_end=False)


def leave(world: World, _name: str) -> None:
    """The customer deletes the account (its password was checked already), and the beat does what is left of that."""
    user_id = world.customer.user_id
    with suppress(*REFUSED):
        account_deletion.close(accounts.get(user_id), actor=Actor("session", user_id))
    account_deletion.finish()


def edit_tool(world: World, _name: str) -> None:
    with suppress(*REFUSED):
        editing.change(OPERATOR, world.tool.id, {"timeout_seconds": 29})


def archive_tool(world: World, _name: str) -> None:
    with suppress(*REFUSED):
        editing.archive(OPERATOR, world.tool.id)


def edit_plan(world: World, _name: str) -> None:
    plans.edit(world.customer.plan, {"max_concurrency": 2}, actor=OPERATOR)


def wipe(_world: World, _name: str) -> None:
    """Redis has lost everything. (No exchange: nobody does it.)"""
    redis.client().flushall()


def wipe_and_submit(world: World, name: str) -> None:
    redis.client().flushall()
    world.submit(name)


def foreign_gate(_world: World, _name: str) -> None:
    add_foreign_gate()


def rebuild(world: World, _name: str) -> None:
    budgets.rebuild(world.customer.user_id, world.customer.period_id)


def free_orphans(_world: World, _name: str) -> None:
    budgets.free_orphans(older_than=-1)


def take_back_lost(_world: World, _name: str) -> None:
    sweeping.reap_dead_processes()


def place(_world: World, _name: str) -> None:
    sweeping.place_waiting([])


def admit(_world: World, _name: str) -> None:
    sweeping.admit_waiting([])


def park(world: World, _name: str) -> None:
    sweeping.unplace_paused([world.tool.id])


def thresholds(_world: World, _name: str) -> None:
    sweeping.record_missed_thresholds()


def period_end(world: World, _name: str) -> None:
    """The account's month is over, and the beat opens the next."""
    began(world.customer.user_id, datetime.now(UTC) - timedelta(days=32))
    subscriptions.renew_due()


VERBS: dict[str, Verb] = {
    **people.VERBS,
    **hooks.VERBS,
    **appointments.VERBS,
    **streams.VERBS,
    **deadlines.VERBS,
    **quotes.VERBS,
    **sums.VERBS,
    "period end": period_end,
    "submit": submit,
    "submit+key": submit_with_key,
    "same key": submit_same_key,
    "child submit": submit_by_child,
    "batch": batch,
    "work": claim_and_complete,
    "wake": wake,
    "wake two": wake_two,
    "retry": retry,
    "give back": give_back,
    "cancel": cancel,
    "cancel many": cancel_many,
    "rerun": rerun,
    "take over": take_over,
    "grant": grant,
    "grant elsewhere": grant_elsewhere,
    "take back": take_back,
    "upgrade": upgrade,
    "downgrade": downgrade,
    "unsubscribe": unsubscribe,
    "revoke key": revoke_key,
    "leave": leave,
    "tool edit": edit_tool,
    "tool archive": archive_tool,
    "plan edit": edit_plan,
    "wipe": wipe,
    "wipe+submit": wipe_and_submit,
    "foreign gate": foreign_gate,
    "rebuild": rebuild,
    "free orphans": free_orphans,
    "lost": take_back_lost,
    "place": place,
    "admit": admit,
    "park": park,
    "thresholds": thresholds,
}
#: Verbs that need a task in hand; the others make sense everywhere.
WITH_TASK = {"wake", "wake two", "retry", "give back", "take over", *streams.VERBS}
