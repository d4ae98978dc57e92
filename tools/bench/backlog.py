"""Work in front of the workers, made quickly and as the platform itself would have left it; for both sides."""

from __future__ import annotations

import json
from base64 import b64encode
from time import perf_counter, sleep
from uuid import uuid4

import redis
from celery import Celery

from common import budgets
from common.tools import ListedTool
from tools.bench.ground import Account, Ground

#: What Celery's protocol says of other tasks that belong to one: none.
_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
#: As `submit` leaves them: the fact, the slot in the queue, the event. The holds are then rebuilt from the rows.
_FILL = """
with made as (
  select uuid7() as id, n from generate_series(1, %(count)s) n),
i as (
  insert into invocations (id, user_id, period_id, tool_id, tool_version_id, input, held, request_id, expires_at)
  select id, %(user)s, %(period)s, (%(tools)s::uuid[])[1 + n %% cardinality(%(tools)s::uuid[])],
         (%(versions)s::uuid[])[1 + n %% cardinality(%(tools)s::uuid[])],
         '{"text": "some words"}', 50, id::text, now() + interval '1 day' from made),
q as (
  insert into queue (id, user_id, period_id, tool_id, tool_version_id, held, timeout_seconds, slot, start_tag,
  expires_at) select id, %(user)s, %(period)s, (%(tools)s::uuid[])[1 + n %% cardinality(%(tools)s::uuid[])],
         (%(versions)s::uuid[])[1 + n %% cardinality(%(tools)s::uuid[])], 50, 30,
         case when n <= %(at_once)s then n end,
         case when n <= %(at_once)s then (select last_value from vt) + n end, now() + interval '1 day' from made)
insert into events (id, user_id, type, invocation_id) select uuid7(), %(user)s, 'invocation.queued', id from made
"""


def ours(ground: Ground, tools: list[ListedTool], each: int, accounts: list[Account], at_once: int) -> None:
    """`each` queued invocations of these accounts, over these tools, with their holds in the gate."""
    values = {"tools": [tool.id for tool in tools], "versions": [tool.current.id for tool in tools]}
    for account in accounts:
        whose = {"user": account.user_id, "period": account.period_id, "count": each, "at_once": at_once}
        ground.sql_named(_FILL, {**values, **whose})
    for account in accounts:
        budgets.rebuild(account.user_id, account.period_id)


def bare(ground: Ground, count: int) -> None:
    """So many messages of the bare run."""
    _publish(ground, "bare", ["-"] * count)


def naive(ground: Ground, count: int) -> None:
    """So many rows of what a user would build, with their messages."""
    made = ground.sql(
        "insert into naive_runs (id, user_id, input, status) select gen_random_uuid()::text, 'bench', %s, 'queued'"
        " from generate_series(1, %s) returning id",
        '{"text": "some words"}',
        count,
    )
    _publish(ground, "naive", [row[0] for row in made])


def bare_at(ground: Ground, rate: float, seconds: float) -> int:
    """So many messages of the bare run a second. Returns how many there were."""
    messages = _messages(ground, "bare", ["-"] * int(rate * seconds))
    begun = perf_counter()
    with redis.Redis.from_url(ground.settings.redis_url) as broker:
        for n, message in enumerate(messages):
            sleep(max(0.0, begun + n / rate - perf_counter()))
            broker.lpush("bare", message)
    return len(messages)


def _publish(ground: Ground, name: str, arguments: list[str]) -> None:
    copies = _messages(ground, name, arguments)
    with redis.Redis.from_url(ground.settings.redis_url) as broker:
        for first in range(0, len(copies), 1000):
            broker.lpush(name, *copies[first : first + 1000])


def _messages(ground: Ground, name: str, arguments: list[str]) -> list[str]:
    """A message with each argument, as `send_task` would publish it."""
    broker = redis.Redis.from_url(ground.settings.redis_url, decode_responses=True)
    celery = Celery(broker=ground.bare_environ()["BARE_BROKER"])
    celery.send_task(f"{name}.run", args=["-"], queue="template", ignore_result=True)
    message = json.loads(str(broker.lpop("template")))
    message["properties"]["delivery_info"]["routing_key"] = name
    copies = []
    for argument in arguments:
        task = str(uuid4())
        message["headers"]["id"] = message["headers"]["root_id"] = message["properties"]["correlation_id"] = task
        message["properties"]["delivery_tag"] = str(uuid4())
        message["body"] = b64encode(json.dumps([[argument], {}, _EMBED]).encode()).decode()
        copies.append(json.dumps(message))
    broker.close()
    return copies
