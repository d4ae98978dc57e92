"""The steps of `docs/scaling.md`, and the stations and routes that the platform has at each of them.

What can be multiplied at will (web, workers, nodes of a Redis Cluster, cells) has as many as the load needs; everything
else has one of each. The kinds of places: see `KINDS`.
"""

from __future__ import annotations

import heapq
import math
from binascii import crc_hqx
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tools.cells.costs import Costs
from tools.cells.engine import Place, Route, Station, Visit

SLOTS: Final = 16_384  # of a Redis Cluster
#: The kinds of places as they are named in tables. Processes are too few only for want of connections to PostgreSQL.
KINDS: Final = {
    "cores": "cores",
    "web": "connections",
    "workers": "connections",
    "redis": "Redis",
    "gate": "gate",
    "node": "node of a gate",
    "broker": "broker",
    "postgres": "PostgreSQL",
    "replicas": "replicas",
    "wal": "WAL",
    "row": "period of an account",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One way to run the platform."""

    name: str
    hosts: bool = True  # web and workers have hosts of their own
    broker: bool = False  # on a server of its own
    cluster: bool = False  # the gate
    replicas: bool = False  # for lists and usage
    pooled: bool = False  # PgBouncer in transaction mode: any number of processes, no prepared statements
    raised: bool = False  # more connections
    cells: bool = False
    placed: bool = False  # accounts are put into cells by their load, not by a hash
    split: bool = False  # large customers have several accounts


_BROKER: Final = Step("the broker on a server of its own", broker=True)
_RAISED: Final = replace(_BROKER, name="instead: 2,000 connections", raised=True)
_CLUSTER: Final = replace(_RAISED, name="a Redis Cluster for the gate", cluster=True)
_REPLICAS: Final = replace(_CLUSTER, name="lists and usage from replicas", replicas=True)
_CELLS: Final = replace(_REPLICAS, name="cells, accounts hashed to them", cells=True)
_PLACED: Final = replace(_CELLS, name="cells, accounts placed by load", placed=True)
STEPS: Final = (
    Step("one machine", hosts=False),
    Step("hosts for web and workers"),
    _BROKER,
    replace(_BROKER, name="PgBouncer in transaction mode", pooled=True),
    _RAISED,
    _CLUSTER,
    _REPLICAS,
    _CELLS,
    _PLACED,
    replace(_PLACED, name="large customers with several accounts", split=True),
)


@dataclass(frozen=True, slots=True)
class Platform:
    """A step at one rate: its stations, and each route with the share of all invocations that take it."""

    stations: Mapping[Place, Station]
    routes: Mapping[Route, float]

    def loads(self, rate: float) -> dict[Place, float]:
        """Offered work ÷ what each station can do, at so many invocations a second; calculated."""
        work = defaultdict[Place, float](float)
        for route, share in self.routes.items():
            for visit in route:
                work[visit.place] += rate * share * visit.seconds
        return {place: work[place] / at.servers + at.background for place, at in self.stations.items()}


def shares(costs: Costs, rate: float, *, split: bool) -> list[float]:
    """Of each account, the largest first; they add up to 1. `split`: into equal ones below the largest allowed."""
    weights = [1 / rank**costs.skew for rank in range(1, int(costs.accounts) + 1)]
    whole = sum(weights)
    all_shares = [weight / whole for weight in weights]
    if not split:
        return all_shares
    parts = [math.ceil(rate * share / costs.account_rate) for share in all_shares]
    return sorted((share / n for share, n in zip(all_shares, parts, strict=True) for _ in range(n)), reverse=True)


def cells(step: Step, costs: Costs, rate: float, of: Sequence[float]) -> list[int]:
    """Which cell each account is in. Placed: each, the largest first, into the one that has least."""
    number = max(1, math.ceil(rate / costs.cell_rate)) if step.cells else 1
    if not step.placed:
        return [slot(f"cell of {account}") * number // SLOTS for account in range(len(of))]
    free, found = [(0.0, cell) for cell in range(number)], list[int]()
    for share in of:
        load, cell = free[0]
        found.append(cell)
        heapq.heapreplace(free, (load + share, cell))
    return found


def slot(key: str) -> int:
    """The hash slot of a key: CRC16 as Redis Cluster has it."""
    return crc_hqx(key.encode(), 0) % SLOTS


def platform(step: Step, costs: Costs, rate: float) -> Platform:
    """The platform at this step, sized for so many invocations a second."""
    of = shares(costs, rate, split=step.split)
    where = cells(step, costs, rate, of)
    parts = defaultdict[int, float](float)
    for share, cell in zip(of, where, strict=True):
        parts[cell] += share
    nodes = {cell: _nodes(step, costs, rate * part) for cell, part in parts.items()}
    ways = defaultdict[tuple[int, int, bool], float](float)  # cell, node, and whether it is the hottest account's
    for account, (share, cell) in enumerate(zip(of, where, strict=True)):
        ways[cell, slot(f"user {account}") * nodes[cell] // SLOTS, account == 0] += share
    stations: dict[Place, Station] = {("row", 0): Station()}
    for cell, part in parts.items():
        stations |= _stations(step, costs, rate * part, cell, nodes[cell])
    return Platform(stations, {_route(step, costs, *way): share for way, share in ways.items()})


# -- one cell ------------------------------------------------------------------------------------------------------


def _nodes(step: Step, costs: Costs, rate: float) -> int:
    return _sized(costs, rate * (costs.gate_hold + costs.gate_settle)) if step.cluster else 1


def _sized(costs: Costs, work: float) -> int:
    """How many servers for so many seconds of work a second."""
    return max(1, math.ceil(work / costs.filled))


def _stations(step: Step, costs: Costs, rate: float, cell: int, nodes: int) -> dict[Place, Station]:
    wal = {("wal", cell): Station(flush=costs.wal_flush)}
    if not step.hosts:
        return {("cores", cell): Station(int(costs.machine_cores) - 1), ("redis", cell): Station(), **wal}
    web, workers = _processes(step, costs, rate)
    found = {("web", cell): Station(web), ("workers", cell): Station(workers), **wal}
    found["postgres", cell] = Station(int(costs.postgres_cores))
    if step.replicas:
        found["replicas", cell] = Station(_sized(costs, rate * costs.reads * costs.postgres_read))
    if not step.broker:
        return found | {("redis", cell): Station()}
    announced = rate * costs.gate_announced * (nodes - 1) / nodes
    kind = "node" if step.cluster else "gate"
    gates = {_gate(kind, cell, node): Station(background=announced) for node in range(nodes)}
    return found | gates | {("broker", cell): Station()}


def _gate(kind: str, cell: int, node: int) -> Place:
    return kind, cell * SLOTS + node


def _processes(step: Step, costs: Costs, rate: float) -> tuple[int, int]:
    """Of web and of workers: as many as are needed, or as PostgreSQL has connections for."""
    web = _sized(costs, rate * (costs.web_submit + costs.web_result + costs.reads * costs.web_read))
    workers = _sized(costs, rate * costs.worker)
    connections = costs.connections_raised if step.raised else costs.connections
    most = int(connections // costs.process_connections) - 1  # one for beat, the sweeps and people
    if step.pooled or web + workers <= most:
        return web, workers
    web = round(most * web / (web + workers))
    return web, most - web


def _route(step: Step, costs: Costs, cell: int, node: int, hottest: bool) -> Route:
    """The way of an invocation: submit, message, call, end, settlement, result, and its part of other reads."""
    web, workers, postgres = ((kind if step.hosts else "cores", cell) for kind in ("web", "workers", "postgres"))
    gate, broker, wal = ("redis", cell), ("redis", cell), ("wal", cell)
    if step.broker:
        gate, broker = _gate("node" if step.cluster else "gate", cell, node), ("broker", cell)
    plan = float(step.pooled)
    return (
        Visit(web, costs.web_submit),
        Visit(gate, costs.gate_hold),
        *([Visit(("row", 0), costs.row)] if hottest else []),
        Visit(postgres, costs.postgres_submit + plan * costs.plan_submit),
        Visit(wal, costs.wal_submit / costs.wal_rate),
        Visit(broker, costs.broker),
        Visit(workers, costs.worker),
        Visit(postgres, costs.postgres_end + plan * costs.plan_end),
        Visit(wal, costs.wal_end / costs.wal_rate),
        Visit(gate, costs.gate_settle),
        Visit(web, costs.web_result + costs.reads * costs.web_read),
        Visit(postgres, costs.postgres_result + plan * costs.plan_result),
        Visit(("replicas", cell) if step.replicas else postgres, costs.reads * costs.postgres_read),
    )
