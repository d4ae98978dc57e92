"""What `doctor` checks of Redis beyond its clock."""

from __future__ import annotations

from common.kit import redis, redis_urls


class CheckFailed(Exception):
    """A check found a problem; the message says what is wrong and how to fix it."""


def eviction() -> str:
    """An evicted budget gate is rebuilt, but an evicted queue message is lost silently."""
    policies = {memory["maxmemory_policy"] for memory in redis.infos("memory")}
    if others := policies - {"noeviction"}:
        raise CheckFailed(f"Redis may evict keys: set maxmemory-policy to noeviction (it is {', '.join(others)}).")
    return "noeviction"


def failover(url: str) -> str:
    """Sentinels that do not answer, or have no replica to promote, are noticed when the primary dies."""
    if not redis_urls.has_hosts(url):
        return "one server: while it is gone, no invocation is accepted"
    if redis_urls.is_cluster(url):
        return _shards(url)
    seen = redis.watched(url)
    if seen.answering < seen.sentinels:
        missing = seen.sentinels - seen.answering
        raise CheckFailed(f"{missing} of {seen.sentinels} Sentinels do not answer, or do not know this primary.")
    if not seen.replicas:
        raise CheckFailed("The primary has no replica that could take its place: add one, or check its logs.")
    return f"{seen.sentinels} Sentinel(s), {seen.replicas} replica(s)"


def _shards(url: str) -> str:
    seen = redis.shards(url)
    if seen.uncovered:
        raise CheckFailed(f"No node has {seen.uncovered} of the cluster's slots: accounts in them cannot submit.")
    if seen.alone:
        raise CheckFailed(f"{seen.alone} of {seen.primaries} primaries have no replica that could take their slots.")
    return f"{seen.primaries} primaries, each with a replica"
