"""The command `joyfull`: what is on stdout and stderr, exit statuses, files, and golden terminals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from standardwebhooks import Webhook

from joyfull.cli import app
from joyfull.cli.common import changes
from joyfull.cli.terminal import Row
from tests.clients.canned import Canned, serving
from tests.clients.scripted import Reply, invocation, ok, problem
from tests.clients.test_webhooks import SECRET
from tests.outside.receiver import Receiver

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden"
ID = "01a222e4-d107-7c3e-9a51-4a1f60c7b9d2"
DONE = invocation(
    id=ID, started_at="2026-11-29T07:00:01Z", finished_at="2026-11-29T07:00:02.400Z", end_user=None,
    output={"label": "positive", "score": 0.9997}, waiting=None,
)  # fmt: skip
FAILED = {**DONE, "id": ID[:-1] + "3", "status": "failed", "output": None, "attempts": 3}
FAILED["error"] = {"code": "tool_timeout", "detail": "The tool did not answer within 30 seconds."}
QUEUED = {**DONE, "id": ID[:-1] + "4", "status": "queued", "attempts": 0, "finished_at": None, "output": None}
PER_UNIT = {"pointer": "/n", "tokens": 0.5, "unit": "character"}


class Said(NamedTuple):
    status: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def hub() -> Iterator[Canned]:
    with serving() as server:
        yield server


@pytest.fixture
def run(hub: Canned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "xdg"))
    for name in ("NO_COLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "COLUMNS", "JOYFULL_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JOYFULL_API_KEY", "jh_test")
    monkeypatch.setenv("JOYFULL_BASE_URL", hub.url)

    def command(*arguments: str, typed: str | None = None) -> Said:
        if typed is not None:
            (tmp_path / "stdin").write_text(typed)
            monkeypatch.setattr("sys.stdin", (tmp_path / "stdin").open())
        capfd.readouterr()
        status = app.run(list(arguments))
        return Said(status, *capfd.readouterr())

    return command


INVOKE = "POST /api/v1/tools/echo/invoke"


def test_run_prints_the_output_and_nothing_else(hub: Canned, run: Run) -> None:
    hub.on(INVOKE, ok({**DONE, "status": "queued"}, 202)).on(f"GET /api/v1/invocations/{ID}", ok(DONE))
    said = run("run", "echo", "text=What a joy!", "n:=3", "--max-tokens", "20", "--metadata", "order=7")
    assert (said.status, json.loads(said.out)) == (0, {"label": "positive", "score": 0.9997})
    assert "✓ succeeded" in said.err
    assert "after 2.4 s, charged 1 of 5" in said.err
    sent = json.loads(hub.asked[0][2])
    assert sent == {"input": {"text": "What a joy!", "n": 3}, "max_tokens": 20, "metadata": {"order": "7"}}


def test_input_comes_from_stdin_or_a_file(hub: Canned, run: Run, tmp_path: Path) -> None:
    hub.on(INVOKE, ok(DONE))
    run("run", "echo", typed='{"a": [1]}')
    (tmp_path / "input.json").write_text('{"b": 2}')
    run("run", "echo", f"@{tmp_path}/input.json")
    assert [json.loads(body)["input"] for _, _, body in hub.asked] == [{"a": [1]}, {"b": 2}]
    wrong = run("run", "echo", typed="{")
    assert (wrong.status, wrong.out) == (2, "")
    assert "stdin is not JSON" in wrong.err


@pytest.mark.parametrize(
    ("reply", "status", "words"),
    [
        (problem(422, "tool_input_rejected"), 1, "tool_input_rejected"),
        (problem(401, "unauthenticated"), 4, "unauthenticated"),
        (problem(403, "scope_missing"), 4, "scope_missing"),
        (problem(404, "not_found"), 5, "not_found"),
        (problem(402, "budget_exhausted"), 6, "budget_exhausted"),
        (ok(FAILED), 3, "tool_timeout"),
        (ok(DONE), 0, "succeeded"),
    ],
    ids=lambda each: str(each) if isinstance(each, str | int) else "",
)
def test_the_exit_status_says_what_happened(hub: Canned, run: Run, reply: Reply, status: int, words: str) -> None:
    hub.on(INVOKE, reply)
    said = run("run", "echo", "a=b")
    assert said.status == status
    assert words in said.err
    assert (said.out == "") == (status != 0)


def test_a_wait_that_runs_out_says_how_to_go_on(hub: Canned, run: Run) -> None:
    hub.on(INVOKE, ok(QUEUED, 202)).on(f"GET /api/v1/invocations/{QUEUED['id']}", ok(QUEUED))
    said = run("run", "echo", "a=b", "--timeout", "0.2")
    assert (said.status, said.out) == (7, "")
    assert f"joyfull wait {QUEUED['id']}" in said.err


def test_with_json_a_failure_is_the_problem_on_stderr(hub: Canned, run: Run) -> None:
    refusal = problem(402, "budget_exhausted", shortfall=3)
    hub.on(INVOKE, refusal)
    said = run("run", "echo", "a=b", "--json")
    assert (said.status, said.out, json.loads(said.err)) == (6, "", refusal.body)


def test_what_is_new_or_has_changed_is_shown_once() -> None:
    looks: Iterator[list[Row]] = iter(
        [[{"id": 1, "n": 1}], [{"id": 2, "n": 1}, {"id": 1, "n": 2}], [{"id": 2, "n": 1}, {"id": 1, "n": 2}]]
    )
    seen = changes(lambda: next(looks), lambda row: (row["id"], row["n"]), every=0)
    assert [len(new) for new in islice(seen, 3)] == [1, 2, 0]


def test_lists_are_tables_documents_lines_csv_and_ids(hub: Canned, run: Run) -> None:
    hub.on("GET /api/v1/invocations", ok([DONE, FAILED], meta={"has_more": False}))
    assert json.loads(run("list", "--json").out) == [DONE, FAILED]
    lines = run("list", "--json-lines", "--fields", "id,billing.charged").out.splitlines()
    assert json.loads(lines[1]) == {"id": FAILED["id"], "billing.charged": 1}
    assert run("list", "-o", "id").out.splitlines() == [DONE["id"], FAILED["id"]]
    assert run("list", "-o", "csv").out.splitlines()[1].startswith(f"{ID},succeeded,echo,1,5")
    assert run("list", "--from", "7 Tage").status == 2
    piped = run("list").out
    assert DONE["id"] in piped
    assert "\x1b" not in piped


def test_api_sends_anything_and_prints_the_answer(hub: Canned, run: Run) -> None:
    hub.on("POST /api/v1/things", ok({"a": 1}))
    said = run("api", "post", "/things", "--data", "-", "-q", "x=1", "-H", "Prefer: wait=1", typed='{"b": 2}')
    assert json.loads(said.out) == {"data": {"a": 1}}
    what, headers, body = hub.asked[0]
    assert (what, headers["prefer"], body) == ("POST /api/v1/things?x=1", "wait=1", b'{"b":2}')
    assert headers["authorization"] == "Bearer jh_test"


def test_login_keeps_a_key_that_only_its_owner_can_read(hub: Canned, run: Run, tmp_path: Path) -> None:
    pair = {"access_token": "A", "refresh_token": "R", "token_type": "Bearer", "expires_in": 900}
    made = {"id": "k1", "key": "jh_made", "prefix": "jh_m", "last4": "made", "scopes": ["tools:read"], "name": "x"}
    hub.on("POST /api/v1/auth/login", ok(pair)).on("POST /api/v1/auth/logout", Reply(204))
    hub.on("POST /api/v1/users/me/api-keys", ok(made, 201))
    said = run("--base-url", hub.url, "login", "--scope", "tools:read", typed="me@example.com\na quiet green river\n")
    assert said.status == 0, said.err
    kept = tmp_path / "xdg" / "joyfull" / "credentials.json"
    assert str(kept) in said.err.splitlines()[0], "it says where before it asks"
    assert "jh_made" not in said.err + said.out
    assert json.loads(kept.read_text()) == {"default": {"api_key": "jh_made", "key_id": "k1"}}
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert hub.url in run("config", "list").out
    run("logout")
    assert json.loads(kept.read_text()) == {}


def test_a_secret_goes_into_a_file(hub: Canned, run: Run, tmp_path: Path) -> None:
    hub.on("GET /api/v1/webhooks/default-secret", ok({"secret": SECRET}))
    assert run("webhooks", "secret").out == f"{SECRET}\n"
    said = run("webhooks", "secret", "--output-file", str(tmp_path / "secret"))
    assert (said.out, (tmp_path / "secret").read_text()) == ("", f"{SECRET}\n")
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_nothing_is_asked_where_nobody_can_answer(hub: Canned, run: Run) -> None:
    said = run("webhooks", "delete", "01", typed="")
    assert (said.status, hub.asked) == (2, [])
    assert "--yes" in said.err
    hub.on("DELETE /api/v1/webhooks/01", Reply(204))
    assert run("--yes", "webhooks", "delete", "01").status == 0


# -- listen -----------------------------------------------------------------------------------------------------


def feed(*numbers: int, cursor: str) -> Reply:
    events: list[Any] = [
        {"id": f"e{number}", "type": "invocation.succeeded", "timestamp": "2026-11-29T07:00:00Z", "data": DONE}
        for number in numbers
    ]
    return ok(events, meta={"limit": 100, "has_more": False, "next_cursor": cursor})


def test_listen_forwards_each_event_once_signed_and_resumes(hub: Canned, run: Run, receiver: Receiver) -> None:
    hub.on("GET /api/v1/webhooks/default-secret", ok({"secret": SECRET}))
    hub.on("GET /api/v1/events", feed(1, 2, cursor="c1"), Reply(502), feed(3, 4, 5, cursor="c2"))
    receiver.script("/hook", 204, 500)
    target = f"{receiver.url}/hook"
    first = run("listen", "--forward-to", target, "--events", "completed", "--limit", "4")
    assert first.status == 0, first.err
    assert "→ 204 in" in first.out
    assert "✗ 500 in" in first.out
    assert "offline" in first.err
    hub.answers["GET /api/v1/events"] = [feed(3, 4, 5, cursor="c2")]
    run("listen", "--forward-to", target, "--resume", "--limit", "1")
    received = receiver.requests("/hook")
    assert [dict(each.headers)["webhook-id"] for each in received] == ["e1", "e2", "e3", "e4", "e5"]
    for each in received:
        assert Webhook(SECRET).verify(each.body, dict(each.headers))["data"] == DONE
    asked = [what for what, _, _ in hub.asked if "/events" in what]
    assert "from=" in asked[0]
    assert asked[0].count("type=invocation.") == 4
    assert "cursor=c1" in asked[-1], "the page whose last event was not answered is read again"


def test_listen_ends_when_it_cannot_go_on(hub: Canned, run: Run) -> None:
    hub.on("GET /api/v1/webhooks/default-secret", ok({"secret": SECRET}))
    hub.on("GET /api/v1/events", problem(403, "scope_missing", scope="webhooks:manage"))
    assert run("listen", "--forward-to", "localhost:1/x").status == 4
    assert run("listen", "--forward-to", "localhost:1/x", "--resume").status == 2


def test_trigger_needs_no_account(run: Run, receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    said = run(
        "trigger", "invocation.failed", "--forward-to", f"{receiver.url}/t", "--secret-file", f"{tmp_path}/secret"
    )
    (request,) = receiver.requests("/t")
    assert said.status == 0
    assert Webhook(SECRET).verify(request.body, dict(request.headers))["type"] == "invocation.failed"


# -- golden terminals -------------------------------------------------------------------------------------------

FIGURES = {
    "invocations": 40,
    "succeeded": 38,
    "failed": 2,
    "tokens_used": 9120,
    "latency_p50_ms": 90,
    "latency_p95_ms": 210,
}
SUMMARY = {
    "from": "2026-11-23T00:00:00Z", "to": "2026-11-30T00:00:00Z", "bucket": "day", "group_by": "tool",
    "totals": {**FIGURES, "tokens_used": 12431},
    "groups": [
        {**FIGURES, "tool": "sentiment"},
        {**FIGURES, "tool": "summary", "tokens_used": 3311, "failed": 0, "latency_p95_ms": 1840},
    ],
    "series": [
        {**FIGURES, "start": f"2026-11-{day}T00:00:00Z", "tokens_used": tokens}
        for day, tokens in zip(range(23, 30), (900, 0, 2400, 1800, 4100, 3000, 231), strict=True)
    ],
    "complete_through": "2026-11-29T07:00:00Z",
}  # fmt: skip
PLAN = {
    "plan": "pro", "status": "active", "current_period_start": "2026-11-28T00:00:00Z",
    "current_period_end": "2026-12-28T00:00:00Z", "cancel_at_period_end": False, "pending_plan": None,
    "tokens": {
        "granted": 1_000_000, "charged": 12_431, "held": 5, "available": 987_564, "resets_at": "2026-12-28T00:00:00Z",
    },
}  # fmt: skip
TOOL = {
    "id": ID, "slug": "sentiment", "name": "Sentiment of a text", "category": "text", "is_available": True,
    "price": {"base_tokens": 1, "per_unit": PER_UNIT, "max_tokens": 200}, "latency_p95_ms": 210,
}  # fmt: skip
SCREENS = {
    "list": ["list"],
    "get": ["get", FAILED["id"]],
    "tools": ["tools"],
    "usage": ["usage"],
    "plan": ["plan"],
}


@pytest.mark.parametrize(
    "kept", [f"{screen}-{width}" for screen in SCREENS for width in (60, 80, 120)] + ["list-80-color", "usage-80-color"]
)
def test_the_terminal_looks_as_it_was_looked_at(
    hub: Canned, run: Run, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    screen, width, *color = kept.split("-")
    hub.on("GET /api/v1/invocations", ok([DONE, FAILED, QUEUED], meta={"has_more": False}))
    hub.on(f"GET /api/v1/invocations/{FAILED['id']}", ok(FAILED)).on("GET /api/v1/subscriptions/current", ok(PLAN))
    hub.on("GET /api/v1/tools", ok([TOOL], meta={"has_more": False})).on("GET /api/v1/usage/summary", ok(SUMMARY))
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("TERM", "xterm-256color")
    said = run("--color", "always" if color else "never", *SCREENS[screen])
    assert said.status == 0, said.err
    file = GOLDEN / f"{kept}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(said.out)
    assert said.out == file.read_text()
    assert color or max(map(len, said.out.splitlines())) <= int(width)
    assert ("\x1b[" in said.out) == bool(color)


# -- the command itself -----------------------------------------------------------------------------------------


def shell(*command: str, code: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "clients" / "python"), **environ}
    start = f"import sys; {code or 'pass'}; from joyfull.cli import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", start, *command], env=env, capture_output=True, text=True, check=False)


def test_without_click_it_says_what_is_missing() -> None:
    hide = "import importlib.util as u; found = u.find_spec; u.find_spec = lambda n: None if n == 'rich' else found(n)"
    done = shell("tools", code=hide)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "joyfull needs rich: pip install 'joyfull[cli]'\n"


def test_version_loads_next_to_nothing() -> None:
    done = shell("--version", code="import atexit; atexit.register(lambda: print(*sys.modules))")
    first, _, modules = done.stdout.partition("\n")
    assert first.startswith("joyfull 0.")
    assert not {"httpx", "click", "rich", "joyfull.client"} & set(modules.split())


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_completions_are_of_the_shell(kind: str) -> None:
    done = shell("completion", kind)
    assert done.returncode == 0
    assert "_JOYFULL_COMPLETE" in done.stdout
    if kind == "bash":
        assert subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=False).returncode == 0
