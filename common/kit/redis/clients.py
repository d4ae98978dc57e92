"""The client of this process, and how a script is run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from common.kit import redis_urls, seam
from common.kit.redis import cluster, nodes, sentinel
from common.kit.redis.failing import reachable

CONNECT_TIMEOUT = 1.0
SOCKET_TIMEOUT = 2.0
MAX_CONNECTIONS = 64
LUA = Path(__file__).resolve().parents[2] / "lua"

Client = redis.Redis
Pipeline = redis.client.Pipeline


class _Pipeline(redis.client.Pipeline):
    def execute(self, raise_on_error: bool = True) -> list[object]:
        return seam.passing("redis", self.command_stack, self, partial(super().execute, raise_on_error))


class _Client(redis.Redis):
    def execute_command(self, *args: object, **options: object) -> object:
        return seam.passing("redis", args, self, partial(super().execute_command, *args, **options))

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> _Pipeline:
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _RedisState:
    client: Client | None = None
    url: str | None = None


def connect(url: str) -> Client:
    """Create this process's client."""
    dispose()
    _RedisState.url = url
    _RedisState.client = make_client(url)
    return _RedisState.client


def make_client(
    url: str, *, socket_timeout: float | None = SOCKET_TIMEOUT, max_connections: int = MAX_CONNECTIONS
) -> Client:
    """A client with its own connection pool. `socket_timeout=None` is for blocking reads (pub/sub) only."""
    options: dict[str, object] = {
        "max_connections": max_connections,
        "timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": socket_timeout,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "decode_responses": True,
    }
    if not url.startswith("unix:"):
        options["socket_keepalive"] = True
    if not redis_urls.has_hosts(url):
        return _Client(connection_pool=redis.BlockingConnectionPool.from_url(url, **options))
    hosts = redis_urls.parse(url)
    if redis_urls.is_cluster(url):
        return cast("Client", cluster.Cluster(hosts, options))  # it passes every command on
    return _Client(connection_pool=sentinel.pool(hosts, _sentinels(hosts), **options))


def _sentinels(hosts: redis_urls.Hosts) -> sentinel.Sentinels:
    return sentinel.sentinels(hosts, connect_timeout=CONNECT_TIMEOUT, socket_timeout=SOCKET_TIMEOUT)


def watched(url: str) -> sentinel.Watched:
    """What the Sentinels of `url` say of their primary."""
    hosts = redis_urls.parse(url)
    return sentinel.watched(hosts, _sentinels(hosts))


def shards(url: str) -> nodes.Shards:
    """What the nodes of the cluster at `url` say of its slots. Raises `RedisUnreachable`."""
    with reachable(), make_client(url) as known:
        return nodes.shards(cast("cluster.Cluster", known))


def subscriber(url: str | None = None) -> Client:
    """A separate client for blocking reads (pub/sub) on the same server, or on the one at `url`."""
    if (url or _RedisState.url) is None:
        raise RuntimeError("common.boot.connect(settings) has not been called in this process")
    return make_client(str(url or _RedisState.url), socket_timeout=None, max_connections=4)


def client() -> Client:
    """This process's client. Raises `RuntimeError` before `connect`."""
    if _RedisState.client is None:
        raise RuntimeError("common.boot.connect(settings) has not been called in this process")
    return _RedisState.client


def is_connected_to(url: str) -> bool:
    """Whether this process's client is one of this server."""
    return url == _RedisState.url


def dispose() -> None:
    """Close every connection of this process's client. Fork before connecting."""
    if _RedisState.client is not None:
        _RedisState.client.close()
        if not isinstance(_RedisState.client, cluster.Cluster):
            _RedisState.client.connection_pool.disconnect()
        _RedisState.client = None


@cache
def source(name: str) -> tuple[str, str]:
    """The text of `common/lua/<name>.lua`, and its SHA-1 in hexadecimal digits."""
    text = (LUA / f"{name}.lua").read_text(encoding="utf-8")
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


# Any: each script answers in a type of its own, which the header of its file names.
def run(name: str, keys: Sequence[str], args: Sequence[str | int], on: Client | None = None) -> Any:
    """Run `common/lua/<name>.lua` once; loads the script again after a restart or SCRIPT FLUSH.

    A key that there is not is `-`; in a cluster the script is given `-{tag}` of the first key.

    `on`: a client of another server than this process's own.

    Raises:
        RedisUnreachable: no answer; the script may or may not have run.
        UnreadableKey: one of the keys is not as the script expects it; it has run up to there.
    """
    text, sha = source(name)
    with reachable(keys[0]):
        server = on or client()
        if isinstance(server, cluster.Cluster):
            keys = cluster.together(keys)
        try:
            return server.evalsha(sha, len(keys), *keys, *args)
        except NoScriptError:
            return server.eval(text, len(keys), *keys, *args)


def scan(place: str, match: str, count: int) -> tuple[str, list[str]]:
    """Some keys of this process's Redis, from where a scan was: at "0" it begins, and with "0" it is at its end.

    Raises `NodeUnreachable` in a `sparing` block when a node of a cluster is away: `past` goes on behind it.
    """
    with reachable():
        if isinstance(known := client(), cluster.Cluster):
            return nodes.scan(known, place, match, count)
        cursor, keys = known.scan(int(place) if place.isdecimal() else 0, match=match, count=count)
    return str(cursor), [str(key) for key in keys]


def past(place: str) -> str:
    """Where a scan goes on without the node of a cluster that does not answer; "0": it is at its end."""
    with reachable():
        return nodes.past(known, place) if isinstance(known := client(), cluster.Cluster) else "0"


def infos(section: str) -> list[dict[str, str]]:
    """That section of INFO, of this process's Redis or of each of its primaries. Raises `RedisUnreachable`."""
    with reachable():
        known = client()
        return nodes.info(known, section) if isinstance(known, cluster.Cluster) else [known.info(section)]


def run_id(key: str) -> str:
    """Which run of which server has this key now. Raises `RedisUnreachable`."""
    with reachable():
        known = client()
        if isinstance(known, cluster.Cluster):
            return str(known.info("server", target_nodes=nodes.serving(known, key))["run_id"])
        return str(known.info("server")["run_id"])


def mapping(fields: Any) -> dict[str, str]:  # Any: redis-py types a hash as bytes or text, awaitable or not
    """A hash as returned by redis-py with `decode_responses`, correctly typed."""
    return dict(fields)
