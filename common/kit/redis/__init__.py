"""Redis: one client per process with every wait bounded and no retries, and running the Lua scripts.

The client never retries: a script that timed out may have run (redis-py would run it again). A caller that needs a
retry makes the script idempotent and retries explicitly. Every failure raises `RedisUnreachable`; that of one key, or
of one node of a cluster, a subclass of it: who works on many goes on with the others.
"""

from common.kit.redis.clients import (
    LUA,
    Client,
    Pipeline,
    client,
    connect,
    dispose,
    infos,
    is_connected_to,
    make_client,
    mapping,
    past,
    run,
    run_id,
    scan,
    shards,
    source,
    subscriber,
    watched,
)
from common.kit.redis.cluster import is_spared, spare, sparing
from common.kit.redis.failing import NodeUnreachable, RedisUnreachable, UnreadableKey, reachable
from common.kit.redis.several import Answer, Answers, each, readable, run_each

__all__ = [
    "LUA",
    "Answer",
    "Answers",
    "Client",
    "NodeUnreachable",
    "Pipeline",
    "RedisUnreachable",
    "UnreadableKey",
    "client",
    "connect",
    "dispose",
    "each",
    "infos",
    "is_connected_to",
    "is_spared",
    "make_client",
    "mapping",
    "past",
    "reachable",
    "readable",
    "run",
    "run_each",
    "run_id",
    "scan",
    "shards",
    "source",
    "spare",
    "sparing",
    "subscriber",
    "watched",
]
