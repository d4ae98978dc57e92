"""Rate limits on attempts, counted in PostgreSQL so that a Redis wipe does not reset them.

An attempt is counted before it is examined, so a hundred concurrent attempts count as a hundred; a successful login
gives its count back. Windows are fixed, so a refused client knows when to come back. All client networks from which an
account has never logged in share one window; a network from which its owner has logged in has a window of its own. An
attacker can exhaust the shared window, but not the owner's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil
from uuid import UUID

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from common.errors import RateLimited, TooMany, TooManyAttempts
from common.kit import crypto, db, log
from common.models.accounts import KnownPlace, Throttle


@dataclass(frozen=True, slots=True)
class AttemptLimit:
    """At most `attempts` per `window`; further ones raise `refusal`."""

    name: str
    attempts: int
    window: timedelta
    refusal: type[TooMany] = TooManyAttempts


LOGINS_PER_ACCOUNT = AttemptLimit("login-account", 10, timedelta(minutes=15))
LOGINS_PER_IP = AttemptLimit("login-ip", 100, timedelta(minutes=15))
REGISTRATIONS_PER_IP = AttemptLimit("register-ip", 100, timedelta(hours=1))
RESETS_PER_IP = AttemptLimit("reset-ip", 20, timedelta(hours=1))
VERIFICATIONS_PER_IP = AttemptLimit("verify-ip", 20, timedelta(hours=1))
#: Links that a stranger can have mailed to an address. The window is a reset link's lifetime.
RESETS_PER_ACCOUNT = AttemptLimit("reset-account", 5, timedelta(minutes=30))
VERIFICATIONS_PER_ACCOUNT = AttemptLimit("verify-account", 5, timedelta(minutes=30))
#: Notices of one kind to an account: its address may belong to a person who never opened it.
NOTICES_PER_ACCOUNT = AttemptLimit("notice-account", 20, timedelta(hours=1))
#: Webhooks sent on request (tests, resends, replays). Also limited per host and per account, because endpoints can be
#: deleted and created again.
WEBHOOK_TESTS = AttemptLimit("webhook-test", 10, timedelta(minutes=1), RateLimited)
WEBHOOK_RESENDS = AttemptLimit("webhook-resend", 60, timedelta(minutes=1), RateLimited)
WEBHOOK_REPLAYS = AttemptLimit("webhook-replay", 10, timedelta(minutes=1), RateLimited)
WEBHOOKS_PER_HOST = AttemptLimit("webhook-host", 60, timedelta(minutes=1), RateLimited)
MANUAL_WEBHOOKS = AttemptLimit("webhook-account", 120, timedelta(minutes=1), RateLimited)

Counter = tuple[AttemptLimit, str]
_WITH_PORT = re.compile(r"([0-9.]+):\d+|\[([0-9A-Fa-f:.]+)\](?::\d+)?")
_log = log.get(__name__)


def login(email_key: str, ip: str, *, known: bool) -> tuple[Counter, ...]:
    """The counters of a login; `known` if the account has logged in from this network before."""
    account = _at_network(email_key, client_network(ip)) if known else email_key
    return per_account(LOGINS_PER_ACCOUNT, account), per_ip(LOGINS_PER_IP, ip)


def _at_network(email_key: str, network: str) -> str:
    """Names the account's own window for a network from which its owner has logged in."""
    return f"{email_key} {network}"


def per_ip(limit: AttemptLimit, ip: str) -> Counter:
    """The counter of one client network."""
    return limit, bucket(limit.name, client_network(ip))


def per_account(limit: AttemptLimit, email_key: str) -> Counter:
    """The counter of one e-mail address, whether or not an account has it."""
    return limit, bucket(limit.name, email_key)


def per(limit: AttemptLimit, *subject: object) -> Counter:
    """The counter of any other subject."""
    return limit, bucket(limit.name, " ".join(map(str, subject)))


def attempt(*counters: Counter) -> None:
    """Count an attempt. Raises the limit's `refusal` until the window ends; a refused attempt is not counted."""
    with db.transaction() as session:
        count(session, *counters)


def count(session: Session, *counters: Counter) -> None:
    """Like `attempt`, in your transaction: a rollback undoes the count."""
    for limit, name in counters:
        attempts, left = _add(session, limit, name)
        if attempts > limit.attempts:
            _log.warning("too many attempts", limit=limit.name, bucket=name)
            raise limit.refusal(retry_after=ceil(left))


def give_back(session: Session, *counters: Counter) -> None:
    """Undo one attempt on each counter: it was not a failure. Locks in the order of `count`, to avoid deadlocks."""
    for _, name in counters:
        session.execute(
            update(Throttle)
            .where(Throttle.bucket == name, Throttle.attempts > 0)
            .values(attempts=Throttle.attempts - 1)
        )


def forget_logins(session: Session, user_id: UUID, email_key: str) -> None:
    """Reset the login counters of all networks: the owner has proved that the mailbox is theirs."""
    known = session.scalars(select(KnownPlace.place).where(KnownPlace.user_id == user_id))
    subjects = (email_key, *(_at_network(email_key, network) for network in known))
    names = [bucket(LOGINS_PER_ACCOUNT.name, subject) for subject in subjects]
    session.execute(delete(Throttle).where(Throttle.bucket.in_(names)))


def remember_network(session: Session, user_id: UUID, network: str) -> None:
    """Record that the account's owner has logged in from this network."""
    statement = insert(KnownPlace).values(user_id=user_id, place=network)
    session.execute(statement.on_conflict_do_update(constraint="pk_known_places", set_={"seen_at": func.now()}))


def client_network(ip: str) -> str:
    """A client network as a MAC, not readable."""
    return bucket("place", network_of(ip))


def network_of(ip: str) -> str:
    """The network of a client as people read it: one IPv4 address, or the /64 of one IPv6 customer."""
    try:
        address = ip_address(_without_port(ip))
    except ValueError:
        return ip
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or ip_network((address, 64), strict=False))
    return str(address)


def _without_port(ip: str) -> str:
    """Strip the client's port, which some proxies add: each connection would count as a network of its own."""
    found = _WITH_PORT.fullmatch(ip)
    return (found[1] or found[2]) if found else ip


def bucket(kind: str, subject: str) -> str:
    """The key of a counter: a MAC that reveals nothing about its subject."""
    return crypto.macs("throttles", f"{kind} {subject}")[0]


def _add(session: Session, limit: AttemptLimit, name: str) -> tuple[int, float]:
    """Attempts in the current window including this one, and the seconds until it ends."""
    statement = insert(Throttle).values(bucket=name, attempts=1, ends_at=func.now() + limit.window)
    ended = Throttle.ends_at <= func.now()
    statement = statement.on_conflict_do_update(
        index_elements=[Throttle.bucket],
        set_={
            "attempts": case((ended, 1), else_=Throttle.attempts + 1),
            "ends_at": case((ended, statement.excluded.ends_at), else_=Throttle.ends_at),
        },
    )
    left = func.extract("epoch", Throttle.ends_at - func.now())
    attempts, seconds = session.execute(statement.returning(Throttle.attempts, left)).one()
    return attempts, float(seconds)
