"""What is asked of the nodes of a cluster, one after the other, or of the one that has a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, cast

from redis.cluster import ClusterNode
from redis.exceptions import SlotNotCoveredError

from common.kit.redis.cluster import Cluster

SLOTS: Final = 16_384


def primaries(known: Cluster) -> list[ClusterNode]:
    """The nodes that have slots, in the order of their names. Raises redis-py's errors if none answers."""
    return sorted(known.nodes().get_primaries(), key=lambda node: str(node.name))


def scan(known: Cluster, place: str, match: str, count: int) -> tuple[str, list[str]]:
    """As SCAN, one primary after the other. `place`: "0" at the start and at the end, else a node and its cursor."""
    nodes = primaries(known)
    name, _, cursor = place.rpartition("/")
    at = next((i for i, node in enumerate(nodes) if node.name == name), None)
    node, cursor = (nodes[0], "0") if at is None else (nodes[at], cursor)  # that node may have no slots any more
    with known.at(node):
        more, found = known.nodes().get_redis_connection(node).scan(int(cursor), match=match, count=count)
    return f"{node.name}/{more}" if more else _following(nodes, at or 0), [str(key) for key in found]


def past(known: Cluster, place: str) -> str:
    """Where a scan goes on without the rest of the node at which it is; "0": nowhere."""
    nodes, name = primaries(known), place.rpartition("/")[0]
    return _following(nodes, next((i for i, node in enumerate(nodes) if node.name == name), 0))


def _following(nodes: Sequence[ClusterNode], at: int) -> str:
    return f"{nodes[at + 1].name}/0" if at + 1 < len(nodes) else "0"


def info(known: Cluster, section: str) -> list[dict[str, str]]:
    """INFO of each primary."""
    return [known.nodes().info(section, target_nodes=node) for node in primaries(known)]


def serving(known: Cluster, key: str) -> ClusterNode:
    """The node that has this key."""
    node: ClusterNode = known.nodes().get_node_from_key(key)
    return node


def by_node(known: Cluster, keys: Sequence[str]) -> list[tuple[ClusterNode | None, list[str]]]:
    """The keys of each node (None: of none), each once."""
    nodes: dict[str, ClusterNode | None] = {}
    found: dict[str, dict[str, None]] = {}
    for key in keys:
        try:
            node = known.nodes().get_node_from_key(key)
        except SlotNotCoveredError:
            node = None
        name = "" if node is None else str(node.name)
        nodes[name] = node
        found.setdefault(name, {})[key] = None
    return [(nodes[name], list(keys)) for name, keys in found.items()]


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
