"""A cluster: a client that finds the node of each key, and follows slots to the replica that takes them over.

The nodes are asked for their slots at the first command, since a process may start while they are down. No command is
sent twice, except those of a pipeline whose connection is lost: redis-py does that, so they must be idempotent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeVar, cast

from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import BlockingConnectionPool
from redis.exceptions import ConnectionError as Unconnected
from redis.retry import Retry

from common.kit.pause import Pause
from common.kit.redis_urls import Hosts

T = TypeVar("T")
SLOTS: Final = 16_384
#: How long nobody asks for the slots after no node has answered: each try may take a second for each node.
BACKOFF_SECONDS: Final = 1.0
#: How long slots are good that were just asked for, however many commands fail at a node that is gone.
FRESH_SECONDS: Final = 0.1
#: In a script's keys: there is none. On a cluster it gets the tag of the first key, so that all are in one slot.
NO_KEY = "-"


class _Asking:
    """Asking for the slots: one thread does, and those that wait for it share what came of it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._failed, self._done = Pause(BACKOFF_SECONDS), Pause(FRESH_SECONDS)

    def __call__(self, do: Callable[[], None]) -> None:
        """Do it, unless it was done a moment ago. Raises redis-py's errors, also if it failed a moment ago."""
        with self._lock:
            if self._failed.active():
                raise Unconnected("no node of the cluster has answered a moment ago")
            if self._done.active():
                return
            try:
                do()
            except Exception:
                self._failed.begin()
                raise
            self._done.begin()


class _Nodes(RedisCluster):
    def execute_command(self, *args: object, **options: object) -> object:
        """Send it to the node that has taken over, if none could be sent to the node that had the key's slot."""
        try:
            return super().execute_command(*args, **options)
        except Unconnected as error:
            node = getattr(error, "connection", None)
            if not isinstance(node, ClusterNode) or not self._is_elsewhere(args, node):
                raise  # there was a connection: it may have been carried out
        return super().execute_command(*args, **options)

    def _is_elsewhere(self, args: tuple[object, ...], node: ClusterNode) -> bool:
        """By the slots as they are now: redis-py has just asked for them."""
        if not hasattr(self, "commands_parser"):  # it is being made, and asks a node, any, which commands there are
            self.replace_default_node()
            return True
        slot = self.determine_slot(*args)
        return slot is not None and bool(self.nodes_manager.get_node_from_slot(slot).name != node.name)


class Cluster:
    """The commands of `redis.Redis`, each at the node that has its key."""

    def __init__(self, hosts: Hosts, options: Mapping[str, object]) -> None:
        self._hosts = hosts
        self._options = {name: value for name, value in options.items() if name not in {"retry", "retry_on_error"}}
        self._made: RedisCluster | None = None
        self._asking = _Asking()

    def __getattr__(self, name: str) -> object:
        return getattr(self.nodes(), name)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def nodes(self) -> RedisCluster:
        """The client that knows the slots. Raises redis-py's errors if no node answers."""
        if self._made is None:
            self._asking(self._connect)
        if (made := self._made) is None:
            raise Unconnected("closed meanwhile")
        return made

    def close(self) -> None:
        """Close every connection; the next command opens new ones."""
        made, self._made, self._asking = self._made, None, _Asking()
        if made is not None:
            made.disconnect_connection_pools()
            made.close()

    def _connect(self) -> None:
        (host, port), *others = self._hosts.addresses
        make: Callable[..., RedisCluster] = _Nodes
        made = make(
            url=f"{'redis' if self._hosts.tls is None else 'rediss'}://{host}:{port}",
            startup_nodes=[ClusterNode(*address) for address in others],
            username=self._hosts.username,
            password=self._hosts.password,
            connection_pool_class=BlockingConnectionPool,
            retry=Retry(NoBackoff(), 0),
            require_full_coverage=False,
            dynamic_startup_nodes=False,
            **(self._hosts.tls or {}),
            **self._options,
        )
        ask = made.nodes_manager.initialize
        made.nodes_manager.initialize = lambda *args, **more: self._asking(  # type: ignore[method-assign]
            partial(ask, *args, **more)
        )
        self._made = made


# -- several nodes ---------------------------------------------------------------------------------------------------


def primaries(known: Cluster) -> list[ClusterNode]:
    """The nodes that have slots, in the order of their names. Raises redis-py's errors if none answers."""
    return sorted(known.nodes().get_primaries(), key=lambda node: str(node.name))


def scan(known: Cluster, place: str, match: str, count: int) -> tuple[str, list[str]]:
    """As SCAN, one primary after the other. `place`: "0" at the start and at the end, else a node and its cursor."""
    nodes = primaries(known)
    name, _, cursor = place.rpartition("/")
    at = next((i for i, node in enumerate(nodes) if node.name == name), None)
    node, cursor = (nodes[0], "0") if at is None else (nodes[at], cursor)  # that node may have no slots any more
    more, found = known.nodes().get_redis_connection(node).scan(int(cursor), match=match, count=count)
    keys = [str(key) for key in found]
    if more:
        return f"{node.name}/{more}", keys
    following = nodes[(at or 0) + 1 :]
    return f"{following[0].name}/0" if following else "0", keys


def info(known: Cluster, section: str) -> list[dict[str, str]]:
    """INFO of each primary."""
    return [known.nodes().info(section, target_nodes=node) for node in primaries(known)]


def serving(known: Cluster, key: str) -> ClusterNode:
    """The node that has this key."""
    node: ClusterNode = known.nodes().get_node_from_key(key)
    return node


def together(keys: Sequence[str]) -> list[str]:
    """The keys of a script, those that there are not in the slot of the first."""
    return [f"{NO_KEY}{_tag(keys[0])}" if key == NO_KEY else key for key in keys]


def _tag(key: str) -> str:
    start = key.find("{")
    return key[start : key.find("}", start) + 1] if start >= 0 else f"{{{key}}}"


class Shards(NamedTuple):
    """`primaries` have slots; `alone`: those of them without a replica; `uncovered`: slots that no node has."""

    primaries: int
    alone: int
    uncovered: int


def shards(known: Cluster) -> Shards:
    """As a node of it says now. Raises redis-py's errors if none answers."""
    said: Mapping[str, Mapping[str, object]] = known.nodes().cluster_nodes()
    up = [node for node in said.values() if "fail" not in str(node["flags"])]
    ranges = [(node["node_id"], slots) for node in up for slots in cast("list[list[str]]", node["slots"])]
    primaries, followed = {id_ for id_, _ in ranges}, {node["master_id"] for node in up}
    covered = sum(int(slots[-1]) - int(slots[0]) + 1 for _, slots in ranges)
    return Shards(len(primaries), len(primaries - followed), SLOTS - covered)
