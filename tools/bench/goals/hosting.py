"""Two web and two worker hosts, as processes that share nothing but PostgreSQL and the broker.

Each host has its own data directory, name, port and metrics. Every submit goes to one web host, and its result is asked
for at the other. On one Redis and one PostgreSQL; with RabbitMQ as the broker, where it is installed; and with a Redis
Cluster, a read replica and PgBouncer together.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from common.operations import ledger
from dev import platform
from dev.ports import free_port
from dev.rabbitmq import RabbitMQ
from dev.servers import ServerError
from dev.supervisor import Part
from tools.bench import load
from tools.bench.goals import Found, answering
from tools.bench.ground import Ground, prepared
from tools.bench.past_one_machine import past_one_machine

CALLS = 400


def hosts(_: Ground) -> dict[str, Found]:
    told, least = [], 1.0
    with ExitStack() as stack:
        for name, environ in _brokers(stack):
            with prepared(**environ) as ground:
                shares = _measured(ground, [ground.settings.port, free_port()])
            least = min(least, *shares)
            told.append(_shares(name, shares))
    with prepared() as ground, past_one_machine(ground) as servers:
        ports = [ground.settings.port, free_port()]
        shares = _measured(ground, ports)
        least = min(least, *shares)
        told.append(_shares(servers.used(ground, ports), shares))
        ground.stop_all()
    note = "; ".join(told) + "; every result was read from the other web host, and found in its lists; the books agree"
    return {"hosts": Found(least, "share", note=note)}


def _shares(name: str, shares: tuple[float, float]) -> str:
    return f"{name}: the two worker hosts ran {shares[0]:.0%} and {shares[1]:.0%} of the calls"


def _brokers(stack: ExitStack) -> Iterator[tuple[str, dict[str, str]]]:
    yield "Redis", {}
    directory = stack.enter_context(TemporaryDirectory(prefix="joyfull-bench-"))
    try:
        server = RabbitMQ(Path(directory))
    except ServerError as reason:
        print(f"     without RabbitMQ: {reason}", flush=True)
        return
    server.start()
    stack.callback(server.stop)
    server.wait()
    yield "RabbitMQ", {"BROKER_URL": server.url()}


def _measured(ground: Ground, ports: list[int]) -> tuple[float, float]:
    parts = [part for n, port in enumerate(ports) for part in _host(ground, n, port)]
    ground.supervisor.start(*parts)
    for port in ports:
        ground.supervisor.wait_for(lambda at=port: platform.serving(f"http://127.0.0.1:{at}/ready"), "web")  # type: ignore[misc]
    ground.start()
    requests = ground.submits("quick")
    made = [load.closed(port, requests, clients=8, seconds=3, keep_bodies=True) for port in ports]
    answers = [[json.loads(body) for body in one.bodies] for one in made]
    ids = [[it["data"]["id"] for it in each if "data" in it][: CALLS // 2] for each in answers]
    if not all(ids):
        raise RuntimeError(f"a web host accepted nothing: {[each[:1] for each in answers]}")
    for port, others in zip(ports, reversed(ids), strict=True):
        _read(ground, port, others)
        _listed(ground, port, others)
    ground.supervisor.wait_for(lambda: not ground.sql("select 1 from queue limit 1"), "the last calls")
    if differences := ledger.verify().differences:
        raise RuntimeError(f"the books differ: {differences[:3]}")
    rows = ground.sql("select count(*)::float8 from attempts group by worker order by 1")
    counts = [row[0] for row in rows] + [0.0]
    return counts[0] / sum(counts), counts[1] / sum(counts)


def _host(ground: Ground, number: int, port: int) -> list[Part]:
    """What one web host and one worker host run."""
    mine = {}
    for kind in ("web", "worker"):
        data = ground.directory / f"{kind}-host-{number}"
        (data / "metrics").mkdir(parents=True)
        mine[kind] = {"DATA_DIR": str(data), "PROMETHEUS_MULTIPROC_DIR": str(data / "metrics"), "PORT": str(port)}
        mine[kind] |= {"PUBLIC_URL": ground.settings.public_url}  # that of the proxy in front of them all
    web, worker = ground.web(), platform.worker("invocations", 8, number + 1)
    return [
        replace(web, name=f"web-{number + 1}", environ={**web.environ, **mine["web"]}),
        replace(worker, environ={**worker.environ, **mine["worker"]}),
    ]


def _read(ground: Ground, port: int, ids: list[str]) -> None:
    """Each result, from a web host that did not take the call."""
    owners = dict(ground.sql("select id::text, user_id from invocations where id::text = any(%s)", ids))
    tokens = {each.user_id: token for each, token in zip(ground.accounts, ground.tokens(), strict=True)}
    requests = [
        load.request("GET", f"/api/v1/invocations/{one}?wait=30", {"Authorization": f"Bearer {tokens[owners[one]]}"})
        for one in ids
    ]
    answering.good(load.closed(port, requests, clients=8, seconds=2))


def _listed(ground: Ground, port: int, ids: list[str]) -> None:
    """All of them are in their accounts' lists, at a web host that did not take the calls. Raises `RuntimeError`."""
    listed = set[str]()
    for token in ground.tokens():
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/v1/invocations?limit=100", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(asked, timeout=30) as response:
            listed |= {one["id"] for one in json.load(response)["data"]}
    if missing := set(ids) - listed:
        raise RuntimeError(f"{len(missing)} of {len(ids)} are in no list")
