"""Redis: one client per process with every wait bounded and no retries, and running the Lua scripts.

The client never retries: a script that timed out may have run (redis-py would run it again). A caller that needs a
retry makes the script idempotent and retries explicitly. Every failure raises one exception, `RedisUnreachable`.
"""

from common.kit.redis.clients import (
    LUA,
    Client,
    Pipeline,
    RedisUnreachable,
    client,
    connect,
    dispose,
    infos,
    make_client,
    mapping,
    reachable,
    run,
    run_each,
    run_id,
    scan,
    shards,
    source,
    subscriber,
    watched,
)

__all__ = [
    "LUA",
    "Client",
    "Pipeline",
    "RedisUnreachable",
    "client",
    "connect",
    "dispose",
    "infos",
    "make_client",
    "mapping",
    "reachable",
    "run",
    "run_each",
    "run_id",
    "scan",
    "shards",
    "source",
    "subscriber",
    "watched",
]
