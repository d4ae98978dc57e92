"""What must hold when everything has settled: each check says what it found, and finds nothing when all is well.

From outside: what clients were told (the history), what the tool and the receivers saw (the oracle), what the API says.
From inside: `books verify`, and the invariants as queries. Names (I1 …) are those of docs/faults.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import standardwebhooks
from standardwebhooks import Webhook

from common.kit import clock
from common.operations import ledger
from tools.faults import charges, laws
from tools.faults.load import Account, Client, Order
from tools.faults.memory import Told
from tools.faults.people import PRICES
from tools.faults.world import World

ENDS = ("succeeded", "failed", "canceled", "expired")
PAGE = 100
CLOCKS_MAY_DIFFER = 60


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
    result.violations += list(_over_time(world, told))
    result.violations += list(_bills(world, orders, told, result))
    result.violations += list(_charges(world, result))
    result.violations += laws.broken(world)
    result.violations += [f"books: {d.invariant}: {d.where}: {d.found}" for d in ledger.verify().differences[:5]]
    result.violations += list(_feeds(world))


# -- what the API says -------------------------------------------------------------------------------------------


def _told(world: World, orders: list[Order], began: float) -> dict[str, Told]:
    """Every invocation of this row as its owner sees it, by id, read page by page."""
    client = Client(world.hub.url, world.history)
    found: dict[str, Told] = {}
    for account in {each.key: each for each in (*world.accounts, *(order.account for order in orders))}.values():
        found |= {each["id"]: {**each, "account": account.key} for each in _pages(client, account, began)}
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
        if not order.accepted and not order.refused and not order.without_key:
            yield f"I19 nobody answered yes or no: {order.key} {order.asked[-3:]}"


_EXECUTIONS: Final = """
select i.id::text, i.attempts, v.idempotent, v.max_attempts
  from invocations i join tool_versions v on v.id = i.tool_version_id where i.id = any(%s::uuid[])
"""


def _effects(world: World, orders: list[Order], result: Result) -> Iterator[str]:
    """I8 I9: the tool was called as often as the books say, and what must not be repeated was not."""
    seen = world.log.read()
    ids = [id_ for order in orders for id_ in order.ids]
    for id_, attempts, idempotent, most in world.rows(_EXECUTIONS, ids):
        calls = len(seen.started.get(id_, ()))
        if attempts > most:
            yield f"I8 {attempts} attempts of {most}: {id_}"
        if calls > attempts or (not idempotent and seen.executed(id_) > 1):
            result.doubled += 1
            yield f"I9 {calls} calls, {attempts} attempts, idempotent {idempotent}: {id_}"


def _over_time(world: World, told: dict[str, Told]) -> Iterator[str]:
    """I5 I31: nothing that a client was told, by an answer, the feed or a webhook, was taken back later."""
    memory = world.history.memory
    for hook in world.log.read().hooks[world.verified :]:
        memory.hooked(hook.body)
    yield from memory.violations()
    for id_, status in world.history.canceled.items():
        if (now := told.get(id_, {}).get("status")) != status:
            yield f"I5 canceled, it was said of {id_}: {status}, and now it is {now}"


def _bills(world: World, orders: list[Order], told: dict[str, Told], result: Result) -> Iterator[str]:
    """I10: each invocation costs what the tool's answer costs at the tool's price; together that is what is charged."""
    seen, limits = world.log.read(), {id_: order.max_tokens for order in orders for id_ in order.ids}
    due: Counter[str] = Counter()
    for id_, each in told.items():
        if each["created_at"] <= world.row_began:
            continue
        due[each["account"]] += each["billing"]["charged"]
        slug = each["tool"]["slug"]
        if id_ in limits and slug in PRICES:
            for failure in charges.wrong(each, PRICES[slug], limits[id_], seen):
                result.twice += 1
                yield failure
    for account in {order.account.key: order.account for order in orders}.values():
        charged = _charged_by_api(world, account) - world.known_charges.get(account.key, 0)
        if world.sums_known and charged != due[account.key]:
            result.twice += 1
            yield f"I10 charged {charged}, the invocations together cost {due[account.key]}: {account.email}"


def baseline(world: World) -> None:
    """Before a row: what has been charged so far, and the database's time."""
    world.sums_known = True
    world.known_charges = {account.key: _charged_by_api(world, account) for account in world.accounts}
    world.row_began = clock.rfc3339(world.rows("select clock_timestamp()")[0][0])


def _charges(world: World, result: Result) -> Iterator[str]:
    """I10: what an account is charged is what its usage rows say, and each end has one."""
    now = world.charged()
    for account in world.accounts:
        if now[account.user_id] != (said := _charged_by_api(world, account)):
            result.twice += 1
            yield f"I10 charged {now[account.user_id]} by the usage rows, {said} by the API: {account.email}"
    again = "select invocation_id, count(*) from usage_logs group by 1 having count(*) > 1"
    for id_, count in world.rows(again):
        result.twice += 1
        yield f"I10 {count} usage rows: {id_}"


def _charged_by_api(world: World, account: Account) -> int:
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


def canary(world: World) -> str | None:
    """I19: a call runs to its end within 30 s, and every process has a heartbeat; None when all is well."""
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
