"""`joyfull listen` and `trigger`: what a receiver on this machine is sent, and what is said of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from tests.clients import processes
from tests.clients.canned import DONE, Canned
from tests.clients.conftest import Run
from tests.clients.scripted import Reply, ok, problem
from tests.clients.test_webhooks import SECRET
from tests.outside.receiver import Receiver


def feed(*numbers: int, cursor: str) -> Reply:
    events: list[Any] = [
        {"id": f"e{number}", "type": "invocation.succeeded", "timestamp": "2026-11-29T07:00:00Z", "data": DONE}
        for number in numbers
    ]
    return ok(events, meta={"limit": 100, "has_more": False, "next_cursor": cursor})


def test_listen_forwards_each_event_once_signed_and_resumes(canned: Canned, run: Run, receiver: Receiver) -> None:
    canned.on("GET /api/v1/webhooks/default-secret", ok({"secret": SECRET})).on("GET /health", ok({}))
    canned.on("GET /api/v1/events", feed(1, 2, cursor="c1"), Reply(502), feed(3, 4, 5, cursor="c2"))
    receiver.script("/hook", 204, 500)
    target = f"{receiver.url}/hook"
    first = run("listen", "--forward-to", target, "--events", "completed", "--limit", "4")
    assert first.status == 0, first.err
    assert "→ 204 in" in first.out
    assert "✗ 500 in" in first.out
    assert "offline: again in" in first.err
    assert "resumed, events caught up: 3" in first.err
    canned.answers["GET /api/v1/events"] = [feed(3, 4, 5, cursor="c2")]
    run("listen", "--forward-to", target, "--resume", "--limit", "1")
    received = receiver.requests("/hook")
    assert [dict(each.headers)["webhook-id"] for each in received] == ["e1", "e2", "e3", "e4", "e5"]
    for each in received:
        assert Webhook(SECRET).verify(each.body, dict(each.headers))["data"] == DONE
    asked = [what for what, _, _ in canned.asked if "/events" in what]
    assert "from=" in asked[0]
    assert asked[0].count("type=invocation.") == 4
    assert "cursor=c1" in asked[-1], "the page whose last event was not answered is read again"


def test_listen_ends_when_it_cannot_go_on(canned: Canned, run: Run) -> None:
    canned.on("GET /api/v1/webhooks/default-secret", ok({"secret": SECRET})).on("GET /health", ok({}))
    canned.on("GET /api/v1/events", problem(403, "scope_missing", scope="webhooks:manage"))
    assert run("listen", "--forward-to", "localhost:1/x").status == 4
    assert run("listen", "--forward-to", "localhost:1/x", "--resume").status == 2


def test_a_key_sends_again_what_the_receiver_refused(canned: Canned, receiver: Receiver, tmp_path: Path) -> None:
    canned.on("GET /api/v1/webhooks/default-secret", ok({"secret": SECRET})).on("GET /health", ok({}))
    canned.on("GET /api/v1/events", feed(1, 2, cursor="c1"), feed(cursor="c1"))
    receiver.script("/hook", 500, 204)
    keyboard, terminal = os.openpty()
    with processes.start(
        canned.url, "jh_1", tmp_path, "listen", "--forward-to", f"{receiver.url}/hook", stdin=terminal
    ) as listener:
        try:
            receiver.wait(2)
            os.write(keyboard, b"r\n")
            again = receiver.wait(3, timeout=10)
        finally:
            listener.terminate()
        shown = listener.communicate()[0].decode()
    assert [dict(each.headers)["webhook-id"] for each in again] == ["e1", "e2", "e1"]
    assert "✗ 500" in shown
    assert "(r and Enter: send again)" in shown
    for end in (keyboard, terminal):
        os.close(end)


def test_trigger_needs_no_account(run: Run, receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    said = run(
        "trigger", "invocation.failed", "--forward-to", f"{receiver.url}/t", "--secret-file", f"{tmp_path}/secret"
    )
    (request,) = receiver.requests("/t")
    assert said.status == 0
    assert Webhook(SECRET).verify(request.body, dict(request.headers))["type"] == "invocation.failed"
