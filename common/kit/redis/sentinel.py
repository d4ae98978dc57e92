"""The primary that Sentinels name: each new connection asks them where it is, so that a failover is followed.

A connection to the primary before ends with that server. One that is still open to a server that was demoted is
answered READONLY at its first write and then goes to the new primary; Sentinels end such connections themselves too.
"""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import BlockingConnectionPool
from redis.exceptions import ConnectionError as Unconnected
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as Late
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from common.kit.redis_urls import Hosts


class Pool(SentinelConnectionPool, BlockingConnectionPool):
    """Connections to the primary; who finds none free waits, as with one server."""


class Sentinels(Sentinel):
    """All Sentinels of a URL. Who answers is asked first the next time.

    redis-py reorders its list in place, and threads that do so at once lose a Sentinel; here each call has its own.
    """

    def discover_master(self, service_name: str) -> tuple[str, int]:
        mine = copy(self)
        mine.sentinels = list(self.sentinels)
        address: tuple[str, int] = Sentinel.discover_master(mine, service_name)
        self.sentinels = mine.sentinels
        return address


class Watched(NamedTuple):
    """What Sentinels say of a primary: how many there are, how many know it, how many replicas are in step with it."""

    sentinels: int
    answering: int
    replicas: int


def watched(hosts: Hosts, known: Sentinels) -> Watched:
    """Ask each of them. Raises none of redis-py's errors."""
    seen = [_replicas(sentinel, hosts.service) for sentinel in known.sentinels]
    answering = [replicas for replicas in seen if replicas is not None]
    return Watched(len(seen), len(answering), max(answering, default=0))


def _replicas(sentinel: Redis, service: str) -> int | None:
    """None: this Sentinel does not answer, or does not know the primary."""
    try:
        states: list[dict[str, object]] = sentinel.sentinel_slaves(service)
    except (Unconnected, Late, ResponseError):
        return None
    return len([state for state in states if state["master-link-status"] == "ok" and not state["is_disconnected"]])


def sentinels(hosts: Hosts, *, connect_timeout: float, socket_timeout: float) -> Sentinels:
    """Clients of the Sentinels of a URL. Opens no connection."""
    own: dict[str, object] = {
        "socket_connect_timeout": connect_timeout,
        "socket_timeout": socket_timeout,
        "username": hosts.sentinel_username,
        "password": hosts.sentinel_password,
        "decode_responses": True,
        "retry": Retry(NoBackoff(), 0),
        **hosts.tls_options,
    }
    return Sentinels(hosts.addresses, sentinel_kwargs=own)


def pool(hosts: Hosts, known: Sentinels, **options: object) -> Pool:
    """Connections to the primary of `hosts`, wherever `known` say it is. Opens none."""
    own = {"db": hosts.db, "username": hosts.username, "password": hosts.password, **hosts.tls_options}
    return Pool(hosts.service, known, **own, **options)
