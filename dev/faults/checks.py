"""What must hold when everything has settled: each check says what it found, and finds nothing when all is well.

From outside: what clients were told (the history), what the tool and the receivers saw (the oracle), what the API says.
From inside: `books verify`, and the invariants as queries. Names (I1 …) are those of docs/faults.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import standardwebhooks
from standardwebhooks import Webhook

from common import books
from common.kit import clock
from dev.faults.load import Account, Client, Order
from dev.faults.world import THREADS, WEB, WORKERS, World

Told = dict[str, Any]
ENDS = ("succeeded", "failed", "canceled", "expired")
PAGE = 100
CLOCKS_MAY_DIFFER = 60
#: Sessions that all pools together may have: 16 and two of the keeper for each process, and our own.
SESSIONS = (WEB + WORKERS + 2) * 20 + 10


@dataclass(slots=True)
class Result:
    """One row of the table. Times in seconds."""

    ids: tuple[str, ...]
    title: str
    injected: str = ""
    accepted: int = 0
    ended: int = 0
    lost: int = 0
    doubled: int = 0
    twice: int = 0
    errors_500: int = 0
    errors_503: int = 0
    cut_off: int = 0
    refused: int = 0
    longest: float = 0.0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.violations


def all_of(world: World, result: Result, began: float) -> None:
    """Check everything that concerns the orders of this row, and the books as a whole."""
    orders = list(world.history.orders)
    told = _told(world, orders, began)
    _figures(world, result, orders, told)
    result.violations += list(_orders(world, orders, told, result))
    result.violations += list(_effects(world, orders, result))
    result.violations += list(_webhooks(world, orders))
    result.violations += list(_charges(world, told, result))
    result.violations += _laws(world)
    result.violations += [f"books: {d.law}: {d.where}: {d.found}" for d in books.verify().differences[:5]]
    result.violations += list(_feeds(world))


# -- what the API says -------------------------------------------------------------------------------------------


def _told(world: World, orders: list[Order], began: float) -> dict[str, Told]:
    """Every invocation of this row as its owner sees it, by id, read page by page."""
    client = Client(world.hub.url, world.history)
    found: dict[str, Told] = {}
    for account in {order.account.key: order.account for order in orders}.values():
        found |= {each["id"]: each for each in _pages(client, account, began)}
    return found


def _pages(client: Client, account: Account, began: float) -> Iterator[Told]:
    cursor = ""
    floor = clock.rfc3339(datetime.fromtimestamp(began - CLOCKS_MAY_DIFFER, UTC))
    while True:
        answer, said = client.ask("list", account, "GET", f"/invocations?limit={PAGE}{cursor}")
        if answer != "200":
            raise RuntimeError(f"the list of invocations cannot be read: {answer} {said}")
        yield from said["data"]
        if not said["meta"]["has_more"] or said["data"][-1]["created_at"] < floor:
            return
        cursor = f"&cursor={said['meta']['next_cursor']}"


def _figures(world: World, result: Result, orders: list[Order], told: dict[str, Told]) -> None:
    history = world.history
    mine = {id_ for order in orders for id_ in order.ids}
    result.accepted = len(mine)
    result.ended = sum(1 for id_ in mine if id_ in told and told[id_]["status"] in ENDS)
    result.lost = result.accepted - result.ended
    result.errors_500 = sum(n for text, n in history.answers.items() if text.split(" ")[1] in ("500", "502", "504"))
    result.errors_503, result.cut_off = history.count("503"), history.count("lost")
    result.refused = history.count("refused")
    query = "select max(extract(epoch from finished_at - created_at)) from invocations where id = any(%s::uuid[])"
    result.longest = float(world.rows(query, list(mine))[0][0] or 0)
    if result.errors_500:
        bad = {text: n for text, n in history.answers.items() if text.split(" ")[1] in ("500", "502", "504")}
        result.violations.append(f"I15 answers that are no honest error: {bad}")


def _orders(world: World, orders: list[Order], told: dict[str, Told], result: Result) -> Iterator[str]:
    """I1 I2 I11: what was promised is there, what was refused is not, one key is one invocation."""
    for order in orders:
        if len(order.ids) > 1:
            result.doubled += 1
            yield f"I11 one key, several invocations: {order.key} {order.ids}"
        for id_ in order.ids:
            if told.get(id_, {}).get("status") not in ENDS:
                yield f"I1 I2 lost: {id_} is {told.get(id_, {}).get('status', 'unknown')}"
    keys = [order.key for order in orders]
    twice = """select metadata->>'key', count(*) from invocations where metadata->>'key' = any(%s)
               group by 1 having count(*) > 1"""
    for key, count in world.rows(twice, keys):
        result.doubled += 1
        yield f"I11 {count} invocations under the key {key}"
    refused = [order.asked[-1][0] for order in orders if order.refused]
    for (request_id,) in world.rows("select request_id from invocations where request_id = any(%s)", refused):
        yield f"I2 refused, and there all the same: {request_id}"
    for order in orders:
        if not order.accepted and not order.refused:
            yield f"I19 nobody answered yes or no: {order.key} {order.asked[-3:]}"


_EXECUTIONS: Final = """
select i.id::text, i.attempts, v.idempotent, v.max_attempts, i.status, i.error_code
  from invocations i join tool_versions v on v.id = i.tool_version_id where i.id = any(%s::uuid[])
"""


def _effects(world: World, orders: list[Order], result: Result) -> Iterator[str]:
    """I8 I9: the tool was called as often as the books say, and what must not be repeated was not."""
    seen = world.log.read()
    ids = [id_ for order in orders for id_ in order.ids]
    for id_, attempts, idempotent, most, status, _code in world.rows(_EXECUTIONS, ids):
        calls = len(seen.started.get(id_, ()))
        executed = calls - seen.refused.get(id_, 0)
        if attempts > most:
            yield f"I8 {attempts} attempts of {most}: {id_}"
        if calls > attempts or (not idempotent and executed > 1):
            result.doubled += 1
            yield f"I9 {calls} calls, {attempts} attempts, idempotent {idempotent}: {id_}"
        if status == "succeeded" and not seen.answered.get(id_):
            yield f"I10 succeeded, and the tool never answered: {id_}"


def _charges(world: World, told: dict[str, Told], result: Result) -> Iterator[str]:
    """I10: what an account is charged is the sum of what its invocations say, and each has one usage row."""
    now = world.charged()
    for account in world.accounts:
        said = _charged_by_api(world, account)
        if said is not None and now[account.user_id] != said:
            result.twice += 1
            yield f"I10 charged {now[account.user_id]} by the usage rows, {said} by the API: {account.email}"
    again = "select invocation_id, count(*) from usage_logs group by 1 having count(*) > 1"
    for id_, count in world.rows(again):
        result.twice += 1
        yield f"I10 {count} usage rows: {id_}"
    twice = """select i.id from invocations i where i.id = any(%s::uuid[]) and i.status = 'succeeded'
               and i.charged not between 1 and i.held"""
    for (id_,) in world.rows(twice, list(told)):
        yield f"I10 charged outside its hold: {id_}"


def _charged_by_api(world: World, account: Account) -> int | None:
    answer, said = Client(world.hub.url, world.history).ask("tokens", account, "GET", "/subscriptions/current")
    if answer != "200":
        raise RuntimeError(f"the subscription cannot be read: {answer} {said}")
    tokens = said["data"]["tokens"]
    if tokens["granted"] != tokens["charged"] + tokens["held"] + tokens["available"]:
        return -1
    return int(tokens["charged"])


# -- webhooks and the feed ---------------------------------------------------------------------------------------


def _webhooks(world: World, orders: list[Order]) -> Iterator[str]:
    """I26 I27: one delivery for each end, delivered and heard; every signature is right over the bytes received."""
    ids = [id_ for order in orders for id_ in order.ids]
    heard = {hook.id for hook in world.log.seen.hooks if 200 <= hook.status < 300}
    query = """select e.id::text, i.id::text, count(d.id), min(d.status), max(d.status)
                 from invocations i
                 left join events e on e.invocation_id = i.id and e.type = 'invocation.' || i.status
                 left join deliveries d on d.event_id = e.id
                where i.id = any(%s::uuid[]) and i.status <> 'open' group by 1, 2"""
    for event, id_, count, low, high in world.rows(query, ids):
        if count != 1 or low != "delivered" or high != "delivered":
            yield f"I26 {count} deliveries ({low}) of the end of {id_}"
        elif event not in heard:
            yield f"I26 delivered, and nobody heard it: {event} of {id_}"
    yield from _signatures(world)


def _signatures(world: World) -> Iterator[str]:
    secrets = {account.path: account.secret for account in world.accounts}
    hooks = world.log.seen.hooks
    for hook in hooks[world.verified :]:
        if (secret := secrets.get(hook.path)) is None:
            continue
        headers = {f"webhook-{name}": getattr(hook, name) for name in ("id", "timestamp", "signature")}
        try:
            Webhook(secret).verify(hook.body, headers)
        except standardwebhooks.WebhookVerificationError as error:
            if "timestamp" not in str(error).lower():
                yield f"I27 a signature that does not hold: {hook.id}: {error}"
        if abs(hook.at - int(hook.timestamp)) > 30:
            yield f"I27 a timestamp {hook.at - int(hook.timestamp):.0f} s away: {hook.id}"
    world.verified = len(hooks)


def _feeds(world: World) -> Iterator[str]:
    """I31: the feed has told every event of the account once."""
    for feed in world.feeds:
        with feed.lock:
            feed.pull()
            seen = list(feed.seen)
        rows = {str(id_) for (id_,) in world.rows("select id from events where user_id = %s", feed.account.user_id)}
        if len(seen) != len(set(seen)):
            again = [id_ for id_, count in Counter(seen).items() if count > 1]
            places = [[n for n, each in enumerate(seen) if each == id_] for id_ in again[:10]]
            yield f"I31 {len(again)} events came twice in the feed, {again[0]} among them, at {places}"
        if missing := rows - set(seen):
            yield f"I31 {len(missing)} events never came in the feed, {min(missing)} among them"


# -- the invariants as queries -----------------------------------------------------------------------------------

_QUERIES: Final[dict[str, str]] = {
    "I3 one token, one attempt": "select token from attempts group by 1 having count(*) > 1",
    "I4 nobody owns what another one owns": """
        select invocation_id, n from (
          select invocation_id, n, started_at, lag(ended_at) over (partition by invocation_id order by n) as before
            from attempts) a where before > started_at""",
    "I5 times are in order": """
        select id from invocations where status <> 'open' and not (
          finished_at >= coalesce(started_at, created_at) and coalesce(started_at, created_at) >= created_at)""",
    "I1 nothing is open at rest": "select id from queue where due_at <= now()",
    "I13 nothing is held at rest": "select q.id from queue q where q.due_at <= now()",
    "I12 amounts are never negative": """
        select invocation_id from usage_logs where tokens_used < 0 or tokens_used > held""",
    "I26 one event, one receiver, one delivery": """
        select event_id from deliveries group by event_id, endpoint_id, url having count(*) > 1""",
    "I16 no transaction is left open": """
        select pid from pg_stat_activity where state like 'idle in transaction%%'
           and state_change < now() - interval '10 s' and pid <> pg_backend_pid()""",
    "I17 at no instant more than was granted": """
        with moves as (
          select period_id, created_at as at, held as amount, 0 as second from invocations
          union all
          select period_id, finished_at, charged - held, 1 from invocations where finished_at is not null),
        sums as (select period_id, sum(amount) over (partition by period_id order by at, second) as taken from moves),
        g as (select period_id, sum(tokens) as granted from grants group by 1)
        select s.period_id, max(s.taken), g.granted from sums s join g using (period_id)
         group by s.period_id, g.granted having max(s.taken) > g.granted""",
}


def _laws(world: World) -> list[str]:
    found = []
    for name, query in _QUERIES.items():
        if rows := world.rows(query.replace("%%", "%")):
            found.append(f"{name}: {len(rows)}, {rows[0]} among them")
    sessions = world.number("select count(*) from pg_stat_activity where backend_type = 'client backend'")
    if sessions > SESSIONS:
        found.append(f"I16 {sessions} sessions in PostgreSQL")
    if world.bells > WORKERS * THREADS + WEB:
        found.append(f"I18 {world.bells} bells waited unheard for {WORKERS * THREADS} threads")
    return found


def canary(world: World) -> str | None:
    """I19: a call runs to its end within 30 s, and every process has a pulse; None when all is well."""
    client = Client(world.hub.url, world.history)
    order = Order(world.accounts[0], "echo", f"canary-{len(world.spans)}-{world.seed}", 0.0)
    headers = {"Prefer": "wait=30", "Idempotency-Key": order.key}
    body = {"input": {}, "metadata": {"key": order.key}}
    answer, said = client.ask(
        "canary", order.account, "POST", "/tools/echo/invoke", json=body, headers=headers, timeout=60
    )
    if answer != "200" or said["data"]["status"] != "succeeded":
        return f"I19 the canary: {answer} {said and said['data']['status'] if answer == '200' else said}"
    return None
