"""Attempts, counted in PostgreSQL: a wiped Redis does not reopen guessing.

An attempt is counted before it is looked at, so that a hundred at once are a hundred; a login that succeeds gives its
count back. Windows do not move: whoever is refused knows when it ends. The account's own window is shared by all
networks it has never been logged into from; a network where its owner has been before has one of its own. So a
stranger can use up the strangers' attempts, over and over, and never the owner's.
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
class Limit:
    """So many attempts in a window; what comes after them is refused in these words."""

    name: str
    attempts: int
    window: timedelta
    refusal: type[TooMany] = TooManyAttempts


LOGINS_PER_ACCOUNT = Limit("login-account", 10, timedelta(minutes=15))
LOGINS_PER_IP = Limit("login-ip", 100, timedelta(minutes=15))
REGISTRATIONS_PER_IP = Limit("register-ip", 100, timedelta(hours=1))
RESETS_PER_IP = Limit("reset-ip", 20, timedelta(hours=1))
VERIFICATIONS_PER_IP = Limit("verify-ip", 20, timedelta(hours=1))
#: Links that a stranger can have mailed to somebody. As long as a link lives: the last one stays good that long.
RESETS_PER_ACCOUNT = Limit("reset-account", 5, timedelta(minutes=30))
VERIFICATIONS_PER_ACCOUNT = Limit("verify-account", 5, timedelta(minutes=30))
#: Mails of one kind about what was done in an account: its address may be that of somebody who never opened it.
NOTICES_PER_ACCOUNT = Limit("notice-account", 20, timedelta(hours=1))
#: Webhooks sent because somebody asked for it, not because something happened. Those to a host, and all of an account:
#: endpoints can be deleted and made anew.
WEBHOOK_TESTS = Limit("webhook-test", 10, timedelta(minutes=1), RateLimited)
WEBHOOK_RESENDS = Limit("webhook-resend", 60, timedelta(minutes=1), RateLimited)
WEBHOOK_REPLAYS = Limit("webhook-replay", 10, timedelta(minutes=1), RateLimited)
WEBHOOKS_TO_A_HOST = Limit("webhook-host", 60, timedelta(minutes=1), RateLimited)
WEBHOOKS_BY_HAND = Limit("webhook-account", 120, timedelta(minutes=1), RateLimited)

Counter = tuple[Limit, str]
_WITH_PORT = re.compile(r"([0-9.]+):\d+|\[([0-9A-Fa-f:.]+)\](?::\d+)?")
_log = log.get(__name__)


def login(email_key: str, ip: str, *, known: bool) -> tuple[Counter, ...]:
    """What a login counts against; `known` when the account has been logged into from this network."""
    account = _at(email_key, place(ip)) if known else email_key
    return per_account(LOGINS_PER_ACCOUNT, account), per_ip(LOGINS_PER_IP, ip)


def _at(email_key: str, place: str) -> str:
    """The account, as it is attempted from a network that its owner has been in."""
    return f"{email_key} {place}"


def per_ip(limit: Limit, ip: str) -> Counter:
    """The counter of one client network."""
    return limit, bucket(limit.name, place(ip))


def per_account(limit: Limit, email_key: str) -> Counter:
    """The counter of one address, whether or not anybody has it."""
    return limit, bucket(limit.name, email_key)


def per(limit: Limit, *subject: object) -> Counter:
    """The counter of something of our own."""
    return limit, bucket(limit.name, " ".join(map(str, subject)))


def attempt(*counters: Counter) -> None:
    """Count an attempt. Raises the limit's refusal until the window ends; a refused attempt is not counted."""
    with db.transaction() as session:
        count(session, *counters)


def count(session: Session, *counters: Counter) -> None:
    """`attempt` inside your transaction, whose rollback takes it back."""
    for limit, name in counters:
        attempts, left = _add(session, limit, name)
        if attempts > limit.attempts:
            _log.warning("too many attempts", limit=limit.name, bucket=name)
            raise limit.refusal(retry_after=ceil(left))


def give_back(session: Session, *counters: Counter) -> None:
    """Take one attempt off each: it was no failure. In the order of `count`, so that the two cannot deadlock."""
    for _, name in counters:
        session.execute(
            update(Throttle)
            .where(Throttle.bucket == name, Throttle.attempts > 0)
            .values(attempts=Throttle.attempts - 1)
        )


def forget_logins(session: Session, user_id: UUID, email_key: str) -> None:
    """Start over, wherever the failures were: the owner has proved that the mailbox is his."""
    known = session.scalars(select(KnownPlace.place).where(KnownPlace.user_id == user_id))
    subjects = (email_key, *(_at(email_key, place) for place in known))
    names = [bucket(LOGINS_PER_ACCOUNT.name, subject) for subject in subjects]
    session.execute(delete(Throttle).where(Throttle.bucket.in_(names)))


def remember_place(session: Session, user_id: UUID, place: str) -> None:
    """This account's owner was here."""
    statement = insert(KnownPlace).values(user_id=user_id, place=place)
    session.execute(statement.on_conflict_do_update(constraint="pk_known_places", set_={"seen_at": func.now()}))


def place(ip: str) -> str:
    """A client network, unrecognisable: one IPv4 address, or the /64 that one IPv6 customer has."""
    try:
        address = ip_address(_without_port(ip))
    except ValueError:
        return bucket("place", ip)
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return bucket("place", str(mapped or ip_network((address, 64), strict=False)))
    return bucket("place", str(address))


def _without_port(ip: str) -> str:
    """Some proxies name the client's port as well: each connection would be a network of its own."""
    found = _WITH_PORT.fullmatch(ip)
    return (found[1] or found[2]) if found else ip


def bucket(kind: str, subject: str) -> str:
    """A name for what is counted that tells nothing about it."""
    return crypto.macs("throttles", f"{kind} {subject}")[0]


def _add(session: Session, limit: Limit, name: str) -> tuple[int, float]:
    """Attempts in the present window with this one, and the seconds that it has left."""
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
