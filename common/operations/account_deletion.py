"""Deleting an account: at once what gives access, durably what is left of it, and nothing of what was billed.

One transaction ends the subscription, keys, sessions, schedules and webhooks, and forgets the person
(`accounts.forget`). What the account has in the queue is canceled after it; what runs is settled as if nothing had
happened. `finish`, a sweep, goes on with what the first request did not come to: queued work, calls that go back to the
queue, inputs and outputs.
"""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from common import invocations, subscriptions, webhooks
from common.identity import accounts, audit, authorization_cache, rate_limits
from common.invocations import schedules
from common.kit import apart, db, failpoints, log, redis
from common.kit.expecting import Expect, anything
from common.models.accounts import User
from common.notifications import mails

#: How long a request cancels queued work; the sweep does the rest.
CANCEL_SECONDS = 1.0
#: How long the sweep works for one account at a time.
FINISH_SECONDS = 5.0

_log = log.get(__name__)


def delete(user_id: UUID, password: str, *, actor: audit.Actor, expect: Expect[User] = anything) -> None:
    """Delete the account, with its password.

    Raises:
        Forbidden: the password is wrong.
        TooManyAttempts: it was wrong too often.
        Conflict: it is the last active admin, or the password was changed concurrently.
        PreconditionFailed: `expect` does.
        DependencyUnavailable: Redis is unreachable; nothing was deleted.
    """
    seen, counter = accounts.confirmed(user_id, password)
    close(seen, actor=actor, counter=counter, expect=expect)


def close(
    seen: User,
    *,
    actor: audit.Actor,
    counter: rate_limits.Counter | None = None,
    expect: Expect[User] = anything,
) -> None:
    """Delete an account that was `seen` in this state; gives `counter` back with it. Raises like `delete`."""
    with authorization_cache.changing(seen.id) as session:
        if counter is not None:
            rate_limits.give_back(session, counter)
        expect(accounts.lock_for_closing(session, seen))
        failpoints.at("change.checked")
        subscriptions.end(session, seen.id)
        webhooks.remove_all(session, seen.id)
        schedules.remove_all(session, seen.id)
        invocations.forget_urls(session, seen.id)
        accounts.forget(session, seen, actor=actor)
    _log.info("account deleted", user_id=str(seen.id))
    subscriptions.forget_terms(seen.id)
    mails.notify()
    with suppress(db.Unreachable, redis.RedisUnreachable):
        invocations.cancel_queued(seen.id, seconds=CANCEL_SECONDS)


def finish() -> int:
    """For the beat: cancel queued work of deleted accounts, and drop their inputs and outputs.

    Returns how many accounts nothing is left of.
    """
    return apart.total("forget accounts", accounts.being_forgotten(), _finish, lambda user_id: user_id)


def _finish(user_id: UUID) -> int:
    ended = invocations.cancel_queued(user_id, seconds=FINISH_SECONDS)
    if not invocations.drop_payloads_of(user_id, seconds=FINISH_SECONDS) or not ended:
        return 0
    accounts.forgotten(user_id)
    return 1
