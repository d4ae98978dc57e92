"""The command `joyfull`: what is on stdout and stderr, exit statuses, and files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from joyfull.cli.common import changes
from joyfull.cli.terminal import Row
from tests.clients import processes
from tests.clients.canned import DONE, FAILED, ID, QUEUED, Canned
from tests.clients.conftest import Run
from tests.clients.scripted import Reply, ok, problem
from tests.clients.test_webhooks import SECRET

ROOT = Path(__file__).resolve().parents[2]
INVOKE = "POST /api/v1/tools/echo/invoke"


def test_run_prints_the_output_and_nothing_else(canned: Canned, run: Run) -> None:
    canned.on(INVOKE, ok({**DONE, "status": "queued"}, 202)).on(f"GET /api/v1/invocations/{ID}", ok(DONE))
    said = run("run", "echo", "text=What a joy!", "n:=3", "--max-tokens", "20", "--metadata", "order=7")
    assert (said.status, json.loads(said.out)) == (0, {"label": "positive", "score": 0.9997})
    assert "✓ succeeded" in said.err
    assert "after 2.4 s, charged 1 of 5" in said.err
    sent = json.loads(canned.asked[0][2])
    assert sent == {"input": {"text": "What a joy!", "n": 3}, "max_tokens": 20, "metadata": {"order": "7"}}


def test_input_comes_from_stdin_or_a_file(canned: Canned, run: Run, tmp_path: Path) -> None:
    canned.on(INVOKE, ok(DONE))
    run("run", "echo", typed='{"a": [1]}')
    (tmp_path / "input.json").write_text('{"b": 2}')
    run("run", "echo", f"@{tmp_path}/input.json")
    assert [json.loads(body)["input"] for _, _, body in canned.asked] == [{"a": [1]}, {"b": 2}]
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
def test_the_exit_status_says_what_happened(canned: Canned, run: Run, reply: Reply, status: int, words: str) -> None:
    canned.on(INVOKE, reply)
    said = run("run", "echo", "a=b")
    assert said.status == status
    assert words in said.err
    assert (said.out == "") == (status != 0)


def test_a_wait_that_runs_out_says_how_to_go_on(canned: Canned, run: Run) -> None:
    canned.on(INVOKE, ok(QUEUED, 202)).on(f"GET /api/v1/invocations/{QUEUED['id']}", ok(QUEUED))
    said = run("run", "echo", "a=b", "--timeout", "0.2")
    assert (said.status, said.out) == (7, "")
    assert f"joyfull wait {QUEUED['id']}" in said.err


def test_with_json_a_failure_is_the_problem_on_stderr(canned: Canned, run: Run) -> None:
    refusal = problem(402, "budget_exhausted", shortfall=3)
    canned.on(INVOKE, refusal)
    said = run("run", "echo", "a=b", "--json")
    assert (said.status, said.out, json.loads(said.err)) == (6, "", refusal.body)


def test_what_is_new_or_has_changed_is_shown_once() -> None:
    looks: Iterator[list[Row]] = iter(
        [[{"id": 1, "n": 1}], [{"id": 2, "n": 1}, {"id": 1, "n": 2}], [{"id": 2, "n": 1}, {"id": 1, "n": 2}]]
    )
    seen = changes(lambda: next(looks), lambda row: (row["id"], row["n"]), every=0)
    assert [len(new) for new in islice(seen, 3)] == [1, 2, 0]


def test_lists_are_tables_documents_lines_csv_and_ids(canned: Canned, run: Run) -> None:
    canned.on("GET /api/v1/invocations", ok([DONE, FAILED], meta={"has_more": False}))
    assert json.loads(run("list", "--json").out) == [DONE, FAILED]
    lines = run("list", "--json-lines", "--fields", "id,billing.charged").out.splitlines()
    assert json.loads(lines[1]) == {"id": FAILED["id"], "billing.charged": 1}
    assert run("list", "-o", "id").out.splitlines() == [DONE["id"], FAILED["id"]]
    assert run("list", "-o", "csv").out.splitlines()[1].startswith(f"{ID},succeeded,echo,1,5")
    assert run("list", "--from", "7 Tage").status == 2
    piped = run("list").out
    assert DONE["id"] in piped
    assert "\x1b" not in piped


def test_api_sends_anything_and_prints_the_answer(canned: Canned, run: Run) -> None:
    canned.on("POST /api/v1/things", ok({"a": 1}))
    said = run("api", "post", "/things", "--data", "-", "-q", "x=1", "-H", "Prefer: wait=1", typed='{"b": 2}')
    assert json.loads(said.out) == {"data": {"a": 1}}
    what, headers, body = canned.asked[0]
    assert (what, headers["prefer"], body) == ("POST /api/v1/things?x=1", "wait=1", b'{"b":2}')
    assert headers["authorization"] == "Bearer jh_test"


def test_login_keeps_a_key_that_only_its_owner_can_read(canned: Canned, run: Run, tmp_path: Path) -> None:
    pair = {"access_token": "A", "refresh_token": "R", "token_type": "Bearer", "expires_in": 900}
    made = {"id": "k1", "key": "jh_made", "prefix": "jh_m", "last4": "made", "scopes": ["tools:read"], "name": "x"}
    canned.on("POST /api/v1/auth/login", ok(pair)).on("POST /api/v1/auth/logout", Reply(204))
    canned.on("POST /api/v1/users/me/api-keys", ok(made, 201))
    said = run(
        "--base-url", canned.url, "login", "--scope", "tools:read", typed="me@example.com\na quiet green river\n"
    )
    assert said.status == 0, said.err
    kept = tmp_path / "xdg" / "joyfull" / "credentials.json"
    assert str(kept) in said.err.splitlines()[0], "it says where before it asks"
    assert "jh_made" not in said.err + said.out
    assert json.loads(kept.read_text()) == {"default": {"api_key": "jh_made", "key_id": "k1"}}
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert canned.url in run("config", "list").out
    run("logout")
    assert json.loads(kept.read_text()) == {}


def test_a_secret_goes_into_a_file(canned: Canned, run: Run, tmp_path: Path) -> None:
    canned.on("GET /api/v1/webhooks/default-secret", ok({"secret": SECRET}))
    assert run("webhooks", "secret").out == f"{SECRET}\n"
    said = run("webhooks", "secret", "--output-file", str(tmp_path / "secret"))
    assert (said.out, (tmp_path / "secret").read_text()) == ("", f"{SECRET}\n")
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_a_key_with_an_allowance_is_made_for_somebody(canned: Canned, run: Run) -> None:
    made = {
        "id": "k2", "key": "jh_child", "expires_at": "2026-11-29T08:00:00Z", "scopes": [], "tools": ["echo"],
        "allowance": {"tokens": 200, "window": "total", "charged": 0, "held": 0, "available": 200, "resets_at": None},
    }  # fmt: skip
    canned.on("POST /api/v1/keys/delegate", ok(made, 201))
    said = run("keys", "delegate", "--tokens", "200", "--end-user", "c7", "--tool", "echo", "--metadata", "run=5")
    assert (said.status, said.out) == (0, "jh_child\n"), said.err
    assert "k2 may spend 200 until 29 Nov 08:00:00 UTC" in said.err
    assert json.loads(canned.asked[0][2]) == {
        "tokens": 200, "expires_in": 3600, "end_user": "c7", "tools": ["echo"], "metadata": {"run": "5"},
    }  # fmt: skip


def test_nothing_is_asked_where_nobody_can_answer(canned: Canned, run: Run) -> None:
    said = run("webhooks", "delete", "01", typed="")
    assert (said.status, canned.asked) == (2, [])
    assert "--yes" in said.err
    canned.on("DELETE /api/v1/webhooks/01", Reply(204))
    assert run("--yes", "webhooks", "delete", "01").status == 0


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


#: How a shell is asked what it completes `joyfull subm` to; zsh's own functions for that only work in its line editor.
COMPLETED = {
    "bash": 'eval "$(joyfull completion bash)"; COMP_WORDS=(joyfull subm) COMP_CWORD=1; _joyfull_completion joyfull; '
    'echo "${COMPREPLY[@]}"',
    "zsh": 'compdef() {}; _describe() { print -r -- ${(P)3} }; eval "$(joyfull completion zsh)"; '
    "words=(joyfull subm) CURRENT=2; _joyfull_completion",
    "fish": 'eval "$(joyfull completion fish)"; complete -C "joyfull subm"',
}


@pytest.mark.parametrize("kind", COMPLETED)
def test_a_shell_completes(run: Run, kind: str, tmp_path: Path) -> None:
    script = run("completion", kind)
    assert (script.status, "_JOYFULL_COMPLETE" in script.out) == (0, True)
    if shutil.which(kind) is None:
        pytest.skip(f"there is no {kind} here to complete with")
    program = tmp_path / "joyfull"
    program.write_text(f"#!{sys.executable}\n{processes.COMMAND}\n")
    program.chmod(0o700)
    path = f"{tmp_path}:{os.environ['PATH']}"
    environ = {"PATH": path, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "clients" / "python")}
    for command in ([kind, "-n"], [kind, "-c", COMPLETED[kind]]):
        done = subprocess.run(command, env=environ, input=script.out, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("submit"), "in the shell"
