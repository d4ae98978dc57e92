"""What a failure of Redis means: that the server is away, or one node of a cluster, or that one key cannot be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisClusterException, RedisError, ResponseError

from common.kit import metrics
from common.kit.redis import cluster

FAILURES = metrics.Counter("joyfull_redis_failures", "Redis commands that failed or timed out")


class RedisUnreachable(Exception):
    """Redis did not answer in time, or cannot serve (loading, read-only, out of memory)."""


class NodeUnreachable(RedisUnreachable):
    """One node of a cluster does not serve its keys; the others may serve theirs."""


class UnreadableKey(RedisUnreachable):
    """Redis serves, but not this key: it is of another type, or a script cannot read what is in it."""


#: The words of a pipeline before what was wrong with one of its commands.
_IN_PIPELINE = re.compile(r"^Command # \d+ .* of pipeline caused error: ", re.DOTALL)
#: What the whole server is in begins with a word of its own (MISCONF, BUSY, NOREPLICAS, …). Other errors have none.
_OF_KEY = re.compile(
    r"WRONGTYPE |(?![A-Z]+ ).*(script|is not an integer|is not a valid float|would overflow)", re.DOTALL
)


def failure(error: Exception, key: str = "") -> RedisUnreachable:
    """An error of redis-py as one of ours; counts it. `key`: what was asked for."""
    FAILURES.inc()
    if isinstance(error, cluster.NodeAway):
        return NodeUnreachable(str(error))
    if type(error) is ResponseError and _OF_KEY.match(_IN_PIPELINE.sub("", str(error))):
        return UnreadableKey(f"{key}: {error}" if key else str(error))
    return RedisUnreachable(str(error))


@contextmanager
def reachable(key: str = "") -> Iterator[None]:
    """Raise `RedisUnreachable` for any redis-py error inside the block. `key`: what is asked for."""
    try:
        yield
    except (RedisError, RedisClusterException) as error:
        raise failure(error, key) from error
