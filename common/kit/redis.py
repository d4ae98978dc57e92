"""Redis: one client per process with every wait bounded and no retries, and the Lua scripts beside it.

Clients never retry on their own: a script that timed out may have run (redis-py would run it again). Whoever
needs a second try makes the script idempotent and says so. What is down is one exception, `Unreachable`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from common.kit import metrics, seam

CONNECT_TIMEOUT = 1.0
SOCKET_TIMEOUT = 2.0
MAX_CONNECTIONS = 64
LUA = Path(__file__).resolve().parent.parent / "lua"
FAILURES = metrics.Counter("joyfull_redis_failures", "Exchanges with Redis that brought no answer")

Client = redis.Redis


class _Pipeline(redis.client.Pipeline):
    def execute(self, raise_on_error: bool = True) -> list[Any]:
        return seam.passing("redis", self.command_stack, self, partial(super().execute, raise_on_error))


class _Client(redis.Redis):
    def execute_command(self, *args: Any, **options: Any) -> Any:
        return seam.passing("redis", args, self, partial(super().execute_command, *args, **options))

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> _Pipeline:
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class Unreachable(Exception):
    """Redis did not answer in time, or said that it cannot serve (loading, read-only, out of memory)."""


class _State:
    client: Client | None = None
    url: str | None = None


def connect(url: str) -> Client:
    """Make this process's client."""
    dispose()
    _State.url = url
    _State.client = make_client(url)
    return _State.client


def make_client(
    url: str, *, socket_timeout: float | None = SOCKET_TIMEOUT, max_connections: int = MAX_CONNECTIONS
) -> Client:
    """A client on its own pool. `socket_timeout=None` is for blocking reads (pub/sub) only."""
    tcp_only = {} if url.startswith("unix:") else {"socket_keepalive": True}
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=SOCKET_TIMEOUT,
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=socket_timeout,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        decode_responses=True,
        **tcp_only,
    )
    return _Client(connection_pool=pool)


def subscriber() -> Client:
    """A client of its own for blocking reads (pub/sub), on the same server."""
    if _State.url is None:
        raise RuntimeError("common.boot.connect(settings) has not been called in this process")
    return make_client(_State.url, socket_timeout=None, max_connections=4)


def client() -> Client:
    """This process's client; `connect` has been called at start."""
    if _State.client is None:
        raise RuntimeError("common.boot.connect(settings) has not been called in this process")
    return _State.client


def dispose() -> None:
    if _State.client is not None:
        _State.client.close()
        _State.client.connection_pool.disconnect()
        _State.client = None


@contextmanager
def reachable() -> Iterator[None]:
    """Turn whatever redis-py raises inside the block into `Unreachable`."""
    try:
        yield
    except RedisError as error:
        FAILURES.inc()
        raise Unreachable(str(error)) from error


@cache
def _source(name: str) -> tuple[str, str]:
    text = (LUA / f"{name}.lua").read_text(encoding="utf-8")
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def run(name: str, keys: Sequence[str], args: Sequence[str | int], on: Client | None = None) -> Any:
    """Run `common/lua/<name>.lua` once. A server that forgot the script (restart, SCRIPT FLUSH) is taught it again.

    `on`: another server than this process's own.

    Raises:
        Unreachable: no verified answer; the script may or may not have run.
    """
    text, sha = _source(name)
    with reachable():
        try:
            return (on or client()).evalsha(sha, len(keys), *keys, *args)
        except NoScriptError:
            return (on or client()).eval(text, len(keys), *keys, *args)


def mapping(fields: Any) -> dict[str, str]:
    """A hash as redis-py returns it under `decode_responses`, with the types that it then really has."""
    return dict(fields)
