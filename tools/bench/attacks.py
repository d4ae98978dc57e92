"""What one tenant does to the others: each of these was seen to bring them down once, and is bounded now.

Every attack is a few crowds of connections (`tools/bench/attacker.py`), of one account on the enterprise plan.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from common import boot, webhooks
from common.tools import ListedTool
from dev.platform import local_url
from dev.ports import free_port
from dev.supervisor import Part
from tools.bench import fairness, ground, load
from tools.bench.attacker import Crowd
from tools.bench.ground import Account, Ground, python

SLOW_NAME: Final = "https://n{}.slow.example.com/hook"
#: An account may have as many.
ENDPOINTS: Final = 20
#: Bytes of one input, and how many there are of them.
LARGE, MANY = 930_000, 100
HALF_HEADS: Final = 8_300
STREAMS: Final = 3_000
#: Seconds after which who was refused or cut off comes again. (Streams are reads: an account has 100 of them a second.)
AGAIN, STREAMS_AGAIN = 10.0, 30.0
DEFINITIONS: Final = 31


@dataclass(frozen=True, slots=True)
class Attacker:
    """An account that means ill, what belongs to it, and how it asks."""

    here: Ground
    account: Account
    endpoints: tuple[str, ...]

    @property
    def token(self) -> str:
        return self.here.token(self.account)

    def get(self, path: str, **headers: str) -> bytes:
        return load.request("GET", f"/api/v1{path}", self._headers(headers))

    def send(self, method: str, path: str, body: object, **headers: str) -> bytes:
        return load.request(method, f"/api/v1{path}", self._headers(headers), json.dumps(body).encode())

    def invoke(self, tool: str, **body: object) -> bytes:
        return self.send("POST", f"/tools/{tool}/invoke", {"input": {"text": "x"}, **body})

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", **more}


def tools(here: Ground) -> None:
    """What is attacked with. Before any process of the platform starts, which would remember them."""
    port = free_port()
    here.supervisor.start(Part("their-tool", [*python("tools.bench.outside"), str(port), "elsewhere"]))

    def theirs(slug: str, path: str, **changes: object) -> ListedTool:
        return ground.tool(here, slug, path, **{"endpoint_url": local_url("127.0.0.1", port) + path, **changes})

    many = {"input_schema": {}, "timeout_seconds": 60}
    here.tools |= {
        "large": theirs("large", "/many/1650000", **many),
        "largest": theirs("largest", "/many/190000", **many),
        "unresolved": theirs("unresolved", "/", endpoint_url=SLOW_NAME.format("tool")),
        "listed": ground.tool(here, "listed", "/tool"),
        "never": theirs("never", "/hang", timeout_seconds=600),
    }
    for part in ("input_schema", "output_schema"):  # which are refused today; an older release has accepted them
        made = here.tools[part] = theirs(part.replace("_", "-"), "/tool")
        _become(here, made.current.id, part, heavy())


def heavy() -> dict[str, object]:
    """A schema in which each definition is the next one twice."""
    last = f"d{DEFINITIONS}"
    definitions = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(DEFINITIONS)}
    return {"$defs": {**definitions, last: {"type": "integer"}}, "$ref": "#/$defs/d0"}


def _become(here: Ground, version: UUID, part: str, schema: dict[str, object]) -> None:
    """Versions are not changed otherwise."""
    changed = f"{part} = '{json.dumps(schema)}', as_sent = null"
    here.sql(f"set session_replication_role = replica; update tool_versions set {changed} where id = '{version}'")


def attacker(here: Ground, account: Account) -> Attacker:
    """With large inputs, as many small ones, and endpoints that no name leads to. The platform runs."""
    me = Attacker(here, account, tuple(_endpoint(account, f"e{n}") for n in range(ENDPOINTS)))
    large = me.send("POST", "/tools/listed/invoke", {"input": {"text": "x" * LARGE}})
    load.steady(here.settings.port, [large] * MANY, rate=20, seconds=MANY / 20)
    load.steady(here.settings.port, [me.invoke("quick")], rate=40, seconds=MANY / 40)
    here.supervisor.wait_for(lambda: here.sql(fairness.OPEN, account.user_id)[0][0] == 0, "the attacker's calls")
    here.sql("delete from deliveries")
    return me


def _endpoint(account: Account, name: str) -> str:
    made = webhooks.create(account.user_id, boot.outbound(), url=SLOW_NAME.format(name), events=["completed"])
    return str(made.endpoint.id)


# -- the attacks -------------------------------------------------------------------------------------------------


def slow_names(me: Attacker) -> tuple[Crowd, ...]:
    """48 calls a second, as 120 in 2.5 s, whose webhooks (or whose tool) no name server answers for; and the same by
    endpoints that are tested and changed.
    """
    submits = tuple(me.invoke("quick", webhook_url=SLOW_NAME.format(n)) for n in range(1_000))
    items = [{"tool": "quick", "input": {"text": "x"}, "webhook_url": SLOW_NAME.format(f"b{n}")} for n in range(50)]
    tests = tuple(me.send("POST", f"/webhooks/{each}/test", {}) for each in me.endpoints)
    changes = tuple(
        me.send("PATCH", f"/webhooks/{each}", {"url": SLOW_NAME.format(f"p{n}")}) for n, each in enumerate(me.endpoints)
    )
    return (
        Crowd(5, submits, 0.25),
        Crowd(1, (me.send("POST", "/invocations/batch", {"items": items}),), 2.5),
        Crowd(2, (me.invoke("unresolved"),), 0.25),
        Crowd(ENDPOINTS, tests, 1.0),
        Crowd(1, changes, 0.5),
    )


def ordinary_calls(me: Attacker) -> tuple[Crowd, ...]:
    """No attack: as many calls as `slow_names` submits, without a name."""
    items = [{"tool": "quick", "input": {"text": "x"}}] * 50
    return (
        Crowd(5, (me.invoke("quick"),), 0.25),
        Crowd(1, (me.send("POST", "/invocations/batch", {"items": items}),), 2.5),
        Crowd(2, (me.invoke("quick"),), 0.25),
    )


def large_pages(me: Attacker) -> tuple[Crowd, ...]:
    """40 clients that list 100 calls, over and over: half of them inputs of 0.93 MB, half small ones."""
    return tuple(Crowd(20, (me.get(f"/invocations?limit=100&tool={tool}"),)) for tool in ("listed", "quick"))


def large_answers(me: Attacker) -> tuple[Crowd, ...]:
    """40 calls at once of tools that answer a list of `{}`: half of them 5 MB, half just as much as is accepted."""
    wait = {"Prefer": "wait=30"}
    return tuple(
        Crowd(20, (me.send("POST", f"/tools/{tool}/invoke", {"input": 1}, **wait),), 0.5)
        for tool in ("large", "largest")
    )


def half_heads(_: Attacker) -> tuple[Crowd, ...]:
    """8,300 connections with half a request line each."""
    return (Crowd(HALF_HEADS, (b"GET /api/v1/to",), AGAIN, holding=True),)


def streams(me: Attacker) -> tuple[Crowd, ...]:
    """3,000 event streams of one account, for something that does not end."""
    load.steady(me.here.settings.port, [me.invoke("never")], rate=1, seconds=1)
    [[unfinished]] = me.here.sql("select id from queue where user_id = %s order by id desc limit 1", me.account.user_id)
    return (Crowd(STREAMS, (me.get(f"/invocations/{unfinished}/events"),), STREAMS_AGAIN, holding=True),)


def heavy_schemas(me: Attacker) -> tuple[Crowd, ...]:
    """Four clients that invoke a tool whose `input_schema` takes for ever, four one with such an `output_schema`."""
    return Crowd(4, (me.invoke("input-schema"),)), Crowd(4, (me.invoke("output-schema"),), 0.5)


def public_bodies(_: Attacker) -> tuple[Crowd, ...]:
    """Eight clients that send 1 MiB of `[{},{},…]` to `/auth/login`, over and over."""
    body = b"[" + b"{}," * (2**20 // 3 - 1) + b"{}]"
    return (Crowd(8, (load.request("POST", "/api/v1/auth/login", {}, body),)),)


#: By their names in the table, with the numbers under which they were first seen.
ATTACKS: dict[str, Callable[[Attacker], tuple[Crowd, ...]]] = {
    "slow-names": slow_names,
    "large-pages": large_pages,
    "large-answers": large_answers,
    "half-heads": half_heads,
    "streams": streams,
    "heavy-schemas": heavy_schemas,
    "public-bodies": public_bodies,
}
