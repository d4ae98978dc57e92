"""A cluster: a client that finds the node of each key, and follows slots to the replica that takes them over.

The nodes are asked for their slots at the first command, since a process may start while they are down. No command is
sent twice, except those of a pipeline whose connection is lost: redis-py does that, so they must be idempotent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Final, cast

from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import BlockingConnectionPool
from redis.exceptions import ClusterDownError, RedisClusterException, SlotNotCoveredError
from redis.exceptions import ConnectionError as Unconnected
from redis.exceptions import TimeoutError as Late
from redis.retry import Retry

from common.kit.pause import Pause
from common.kit.redis_urls import Hosts

#: How long nobody asks for the slots after no node has answered: each try may take a second for each node.
BACKOFF_SECONDS: Final = 1.0
#: How long slots are good that were just asked for, however many commands fail at a node that is gone.
FRESH_SECONDS: Final = 0.1
#: In a script's keys: there is none. On a cluster it gets the tag of the first key, so that all are in one slot.
NO_KEY = "-"
_ERRORS: Final = (Unconnected, Late, ClusterDownError, SlotNotCoveredError)


class NodeAway(Unconnected):
    """One of several nodes does not answer, or nobody has its slots."""


class _NobodyAnswers(Unconnected):
    """No node has said which has which slots."""


#: Among them: Redis as a whole.
_ALL: Final = "*"
#: The nodes that have failed in this thread's `sparing` block.
_away: ContextVar[set[str] | None] = ContextVar("away", default=None)


@contextmanager
def sparing() -> Iterator[None]:
    """In the block, the failure of one node is told from that of most: `NodeAway`, and redis-py's errors.

    A node that has failed is not asked again, so a walk over many keys waits for it once. The same for Redis as a whole
    with those who ask `is_spared`.
    """
    if _away.get() is not None:
        yield
        return
    token = _away.set(set())
    try:
        yield
    finally:
        _away.reset(token)


def spare() -> None:
    """Redis has not answered: it need not be asked again in this thread's `sparing` block."""
    if (away := _away.get()) is not None:
        away.add(_ALL)


def is_spared() -> bool:
    """Whether it has not answered in this thread's `sparing` block."""
    return _ALL in (_away.get() or ())


class _Asking:
    """Asking for the slots: one thread does, and those that wait for it share what came of it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._failed, self._done = Pause(BACKOFF_SECONDS), Pause(FRESH_SECONDS)

    def __call__(self, do: Callable[[], None]) -> None:
        """Do it, unless it was done a moment ago. Raises redis-py's errors, also if it failed a moment ago."""
        with self._lock:
            if self._failed.active():
                raise _NobodyAnswers("no node of the cluster has answered a moment ago")
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
        """Raises redis-py's errors; in a `sparing` block, `NodeAway` for a key whose node has failed."""
        if _away.get() is None or not hasattr(self, "commands_parser"):  # (it is being made)
            return self._sent(*args, **options)
        with self.at(self._node_of(args, options)):
            return self._sent(*args, **options)

    @contextmanager
    def at(self, name: str) -> Iterator[None]:
        """Something is asked of that node ("": not of a certain one). In a `sparing` block, raises `NodeAway`."""
        away = _away.get()
        if away is not None and name in away:
            raise NodeAway(f"{name} is away")
        try:
            yield
        except _ERRORS as error:
            if away is None or not name or isinstance(error, NodeAway | _NobodyAnswers):
                raise
            away.add(name)
            if 2 * len(away) > len(self.get_primaries()):
                raise
            raise NodeAway(f"{name}: {error}") from error

    def _node_of(self, args: tuple[object, ...], options: Mapping[str, object]) -> str:
        if "target_nodes" in options:
            return str(getattr(options["target_nodes"], "name", ""))
        try:
            slot = self.determine_slot(*args)
            return "" if slot is None else str(self.nodes_manager.get_node_from_slot(slot).name)
        except SlotNotCoveredError:
            return "a node without a name"
        except RedisClusterException:  # a command without a key
            return ""

    def _sent(self, *args: object, **options: object) -> object:
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

    def at(self, node: ClusterNode) -> AbstractContextManager[None]:
        """Something is asked of that node. Raises redis-py's errors; in a `sparing` block, `NodeAway`."""
        return cast("_Nodes", self.nodes()).at(str(node.name))

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


def together(keys: Sequence[str]) -> list[str]:
    """The keys of a script, those that there are not in the slot of the first."""
    return [f"{NO_KEY}{_tag(keys[0])}" if key == NO_KEY else key for key in keys]


def _tag(key: str) -> str:
    start = key.find("{")
    return key[start : key.find("}", start) + 1] if start >= 0 else f"{{{key}}}"
