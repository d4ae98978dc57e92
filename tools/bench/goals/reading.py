"""P6: reading one invocation ÷ one view that verifies and reads a row by its primary key; and what a 304 costs."""

from __future__ import annotations

from statistics import median
from urllib.request import Request, urlopen

from tools.bench import growth, load, pairs
from tools.bench.goals import Found, ratio
from tools.bench.ground import Ground, bare_headers

SECONDS = 3.0
CLIENTS = 16
EACH = 20


def p6(ground: Ground) -> dict[str, Found]:
    growth.fill(ground, EACH * len(ground.accounts))
    ground.start(ground.web(), ground.bare_web())
    requests, unchanged = _ours(ground), _ours(ground, etags=True)
    theirs = _bare(ground)
    spent: dict[str, list[float]] = {"200": [], "304": [], "bare": []}
    found = pairs.in_turn(
        lambda: _measured(ground, "web", requests, 200, spent["200"]),
        lambda: _measured(ground, "bare-web", theirs, 200, spent["bare"]),
    )
    same = pairs.in_turn(
        lambda: _cpu(ground, unchanged, 304, spent["304"]), lambda: _cpu(ground, requests, 200, spent["200"])
    )
    ground.stop("web", "bare-web")
    read, unmodified, bare = (1000 * median(spent[name]) for name in ("200", "304", "bare"))
    note = f"CPU of the web process: {read:.2f} ms a read, {unmodified:.2f} ms a 304, bare {bare:.2f} ms"
    return {"P6": ratio(found, note=note), "P6_304": ratio(same, unit="CPU of a 304 ÷ of a 200")}


def _ours(ground: Ground, *, etags: bool = False) -> list[bytes]:
    tokens, requests = ground.tokens(), []
    for account, token in zip(ground.accounts, tokens, strict=True):
        query = "select id from invocations where user_id = %s and status <> 'open' order by id desc limit %s"
        for (invocation_id,) in ground.sql(query, account.user_id, 4 if etags else EACH):
            headers, path = {"Authorization": f"Bearer {token}"}, f"/api/v1/invocations/{invocation_id}"
            if etags:
                with urlopen(Request(f"{ground.url}{path}", headers=headers), timeout=10) as answer:
                    headers["If-None-Match"] = answer.headers["ETag"]
            requests.append(load.request("GET", path, headers))
    return requests


def _bare(ground: Ground) -> list[bytes]:
    rows = EACH * len(ground.accounts)
    ground.sql(
        "insert into bare (id, user_id, input) select gen_random_uuid(), 'bench', '{\"text\": \"some words\"}'"
        f" from generate_series(1, {rows})"
    )
    ids = ground.sql("select id from bare limit %s", rows)
    return [load.request("GET", f"/rows/{row_id}", bare_headers()) for (row_id,) in ids]


def _cpu(ground: Ground, requests: list[bytes], status: int, spent: list[float]) -> float:
    """Milliseconds of the web process for one answer."""
    _measured(ground, "web", requests, status, spent)
    return 1000 * spent[-1]


def _measured(ground: Ground, part: str, requests: list[bytes], status: int, spent: list[float]) -> float:
    port = ground.settings.port if part == "web" else ground.bare_port
    with pairs.cpu([ground.supervisor.children[part].pid]) as cpu:
        found = load.closed(port, requests, clients=CLIENTS, seconds=SECONDS)
    if set(found.statuses) != {status}:
        raise RuntimeError(f"{part} answered {dict(found.statuses)}")
    spent.append(cpu.total / (found.good * 1.2))
    return found.rate
