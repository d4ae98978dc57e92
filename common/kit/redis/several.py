"""The same of several keys, in one round trip (in a cluster, to each of its nodes): the failure of one is its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from redis.cluster import ClusterNode
from redis.exceptions import MovedError, NoScriptError, RedisError

from common.kit.redis import cluster, nodes
from common.kit.redis.clients import Client, Pipeline, client, run, source
from common.kit.redis.failing import NodeUnreachable, RedisUnreachable, UnreadableKey, failure, reachable

Answer = Any  # each command answers in a type of its own
#: The answers to the commands of one key, or why there are none.
Answers = list[Answer] | RedisUnreachable
Call = tuple[Sequence[str], Sequence[str | int]]
_Add = Callable[[Pipeline, str], object]


class _Elsewhere(Exception):
    """A slot is at another node now; a client of the whole cluster finds it."""


def each(keys: Sequence[str], add: _Add, on: Client | None = None) -> list[Answers]:
    """The answers to what `add` puts into a pipeline for each key: as many idempotent commands for one as for another.

    `NodeUnreachable` or `UnreadableKey` in place of those to one key. `on`: a client of another server than this
    process's own. Raises `RedisUnreachable` when Redis does not serve at all.
    """
    if not keys:
        return []
    server = on or client()
    if isinstance(server, cluster.Cluster):
        return _each_of_nodes(server, keys, add)
    with reachable():
        return _asked(server, keys, add)


def readable(keys: Sequence[str], add: _Add) -> dict[str, list[Answer]]:
    """As `each`, of the keys that can be read. Raises `NodeUnreachable` too."""
    found = {}
    for key, answers in zip(keys, each(keys, add), strict=True):
        if isinstance(answers, list):
            found[key] = answers
        elif not isinstance(answers, UnreadableKey):
            raise answers
    return found


def _each_of_nodes(server: cluster.Cluster, keys: Sequence[str], add: _Add) -> list[Answers]:
    answers: dict[str, Answers] = {}
    with cluster.sparing():
        with reachable():
            by_node = nodes.by_node(server, keys)
        for node, those in by_node:
            try:
                answers.update(zip(those, _of_node(server, node, those, add), strict=True))
            except NodeUnreachable as error:
                answers.update(dict.fromkeys(those, error))
    return [answers[key] for key in keys]


def _of_node(server: cluster.Cluster, node: ClusterNode | None, keys: Sequence[str], add: _Add) -> list[Answers]:
    if node is None:
        raise NodeUnreachable("no node has the slots of these keys")
    with reachable(), server.at(node):
        try:
            return _asked(server.nodes().get_redis_connection(node), keys, add)
        except _Elsewhere:
            return _asked(cast("Client", server), keys, add)


def _asked(server: Client, keys: Sequence[str], add: _Add) -> list[Answers]:
    with server.pipeline(transaction=False) as pipeline:
        for key in keys:
            add(pipeline, key)
        found = pipeline.execute(raise_on_error=False)
    size = len(found) // len(keys)
    return [_answers(key, found[at * size : (at + 1) * size]) for at, key in enumerate(keys)]


def _answers(key: str, found: list[Answer]) -> Answers:
    for answer in found:
        if isinstance(answer, MovedError):
            raise _Elsewhere
        if isinstance(answer, RedisError):
            error = failure(answer, key)
            if isinstance(error, UnreadableKey):
                return error
            raise answer
    return found


def run_each(name: str, calls: Sequence[Call]) -> list[Sequence[str | int] | RedisUnreachable]:
    """Run a script once for each (keys, arguments), in one round trip; in a cluster, one after the other.

    Returns the answers. An error in place of one: that call may or may not have run.

    Raises:
        RedisUnreachable: Redis does not serve at all; any may or may not have run.
    """
    if len(calls) == 1 or isinstance(known := client(), cluster.Cluster):
        with cluster.sparing():
            return [_run(name, call) for call in calls]
    _, sha = source(name)
    with reachable(), known.pipeline(transaction=False) as pipeline:
        for keys, args in calls:
            pipeline.evalsha(sha, len(keys), *keys, *args)
        found = pipeline.execute(raise_on_error=False)
    return [_answer(name, call, answer) for call, answer in zip(calls, found, strict=True)]


def _answer(name: str, call: Call, answer: Answer) -> Sequence[str | int] | RedisUnreachable:
    if isinstance(answer, NoScriptError):  # then it has not run
        return _run(name, call)
    if isinstance(answer, RedisError):
        return failure(answer, call[0][0])
    return cast("Sequence[str | int]", answer)


def _run(name: str, call: Call) -> Sequence[str | int] | RedisUnreachable:
    try:
        return cast("Sequence[str | int]", run(name, *call))
    except (NodeUnreachable, UnreadableKey) as error:
        return error
