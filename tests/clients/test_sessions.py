"""Sessions: one refresh for all threads, clients and processes, and tokens that are shown to nobody else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from joyfull import ConfigurationError, ConnectionFailed, Session, SessionFile, Timeout, codes
from joyfull.credentials import Tokens
from joyfull.errors import SessionEnded
from tests.clients.canned import Canned
from tests.clients.conftest import Run
from tests.clients.scripted import SILENT, URL, Reply, Stage, ok, problem
from tests.conftest import ROOT

PAIR = {"access_token": "A1", "refresh_token": "R1", "token_type": "Bearer", "expires_in": 900}
NEXT = {**PAIR, "access_token": "A2", "refresh_token": "R2"}
TOOL = ok({"slug": "echo"})
NOW = datetime(2026, 11, 29, tzinfo=UTC).timestamp()
TOKENS = Tokens(URL, "a@example.com", "A1", "R1", NOW + 900)
PASSWORD = "a quiet green river"

Program = Callable[..., Stage]


@pytest.fixture
def store(tmp_path: Path) -> SessionFile:
    return SessionFile(tmp_path / "sessions" / "default.json")


@pytest.fixture(params=["sync", "async"])
def program(request: pytest.FixtureRequest, store: SessionFile) -> Program:
    """A program that uses the file, with a memory of its own."""

    def start(*replies: Reply, password: str | None = PASSWORD, email: str = "a@example.com") -> Stage:
        session = Session(email, password, SessionFile(store.path))
        return Stage(request.param, *replies, session=session)

    return start


def get(client: Any) -> Any:
    return client.tools.get("echo")


def asked(world: Stage) -> list[str]:
    return [
        f"{each.url.path.rpartition('/')[2]} {each.headers.get('authorization', '')}".strip() for each in world.sent
    ]


def test_programs_share_a_session_and_one_of_them_refreshes_it(program: Program, store: SessionFile) -> None:
    first, second = program(ok(PAIR), TOOL, ok(NEXT), TOOL), program(TOOL, TOOL)
    first.do(get)
    second.do(get)
    first.time = second.time = 841
    first.do(get)
    second.do(get)
    assert asked(first) == ["login", "echo Bearer A1", "refresh", "echo Bearer A2"]
    assert asked(second) == ["echo Bearer A1", "echo Bearer A2"]
    assert (store.path.stat().st_mode & 0o777, store.path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_whoever_comes_second_waits_and_takes_what_the_first_has_got(program: Program, store: SessionFile) -> None:
    store.write(replace(TOKENS, ends=NOW))
    assert store.try_lock()
    world = program(TOOL)

    def refreshed(_seconds: float) -> None:
        if len(world.slept) == 2:
            store.write(replace(TOKENS, access_token="A2"))
            store.unlock()

    hooked(world, refreshed)
    world.do(get)
    assert (world.slept, asked(world)) == ([0.05] * 3, ["echo Bearer A2"])


def hooked(world: Stage, hook: Callable[[float], None]) -> None:
    """Has something done while it sleeps."""
    driver = world.client._driver
    sleep = driver.sleep

    def sync(seconds: float) -> None:
        hook(seconds)
        sleep(seconds)

    async def asynchronous(seconds: float) -> None:
        hook(seconds)
        await sleep(seconds)

    driver.sleep = asynchronous if world._is_async else sync


def test_nobody_waits_for_ever(program: Program, store: SessionFile) -> None:
    assert store.try_lock()
    with pytest.raises(Timeout, match="refreshing the session"):
        program().do(get)
    store.unlock()


def test_the_dead_hold_no_locks(store: SessionFile) -> None:
    child = os.fork()
    if child == 0:
        store.try_lock()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert store.try_lock()
    assert not SessionFile(store.path).try_lock()
    store.unlock()


def test_without_a_password_it_lasts_as_long_as_it_lasts(program: Program, store: SessionFile) -> None:
    with pytest.raises(SessionEnded, match="log in"):
        program(password=None, email="").do(get)
    store.write(replace(TOKENS, ends=NOW))
    world = program(ok(NEXT), TOOL, password=None, email="")
    world.do(get)
    assert asked(world) == ["refresh", "echo Bearer A2"]
    assert store.read() == replace(TOKENS, access_token="A2", refresh_token="R2")
    world = program(problem(401, "token_revoked"), password=None, email="")
    world.time = 900
    with pytest.raises(SessionEnded, match=r"a@example\.com has ended"):
        world.do(get)


def test_an_outage_while_it_is_refreshed_is_one_of_the_request_that_it_is_for(
    program: Program, store: SessionFile
) -> None:
    store.write(replace(TOKENS, ends=NOW))
    event = {"id": "e1", "type": "new", "timestamp": "2026-11-29T07:00:00Z", "data": {}}
    feed = ok([event], meta={"has_more": False, "next_cursor": "c"})
    world = program(*[SILENT] * 5, *[problem(503, "dependency_unavailable")] * 5, ok(NEXT), feed, password=None)
    assert len(world.do(lambda client: client.events.follow().first(1))) == 1
    assert asked(world) == ["refresh"] * 11 + ["events Bearer A2"]
    store.write(replace(TOKENS, ends=NOW))
    with pytest.raises(ConnectionFailed, match="the session cannot be refreshed") as caught:
        program(*[SILENT] * 25).do(lambda client: client.keys.create(name="a"))
    assert not caught.value.sent, "the key was surely not made"


def test_tokens_are_shown_to_their_own_server_only(program: Program, store: SessionFile) -> None:
    for other in (replace(TOKENS, server="https://other.example"), replace(TOKENS, email="b@example.com")):
        store.write(other)
        if other.server != URL:
            with pytest.raises(ConfigurationError, match=r"other\.example"):
                program(password=None, email="").do(get)
        world = program(ok(NEXT), TOOL)
        world.do(get)
        assert asked(world) == ["login", "echo Bearer A2"]
    assert "A2" not in repr(store.read()) + repr(Session("a@example.com", PASSWORD, store))
    store.path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="others can read"):
        program().do(get)
    store.path.write_text("[]")
    store.path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="does not hold a session"):
        program().do(get)


def test_who_logs_out_logs_all_out(program: Program, store: SessionFile) -> None:
    store.write(TOKENS)
    world = program(Reply(204), ok(NEXT), TOOL)
    world.do(lambda client: client.logout())
    assert json.loads(world.sent[0].content) == {"refresh_token": "R1"}
    assert store.read() is None
    world.do(get)
    assert asked(world)[1:] == ["login", "echo Bearer A2"]
    with pytest.raises(codes.InvalidCredentials):
        store.write(None)
        program(problem(401, "invalid_credentials")).do(get)


PROGRAM = """
import sys, threading
from pathlib import Path
from joyfull import Client, Session, SessionFile
session = Session(store=SessionFile(Path(sys.argv[2])))
def ask():
    with Client(base_url=sys.argv[1], session=session) as client:
        client.tools.get("echo")
threads = [threading.Thread(target=ask) for _ in range(4)]
print(flush=True)
sys.stdin.readline()
for each in threads: each.start()
for each in threads: each.join()
"""


def test_threads_and_processes_refresh_once(canned: Canned, store: SessionFile) -> None:
    canned.on("POST /api/v1/auth/refresh", ok(NEXT)).on("GET /api/v1/tools/echo", TOOL)
    canned.slow = 0.1
    store.write(replace(TOKENS, server=canned.url, ends=0.0))
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "clients" / "python")}
    command = [sys.executable, "-c", PROGRAM, canned.url, str(store.path)]
    programs = [
        subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for each in programs:
        assert each.stdout is not None
        each.stdout.readline()
    ended = [each.communicate("\n", timeout=60) and each.returncode for each in programs]
    assert ended == [0, 0, 0]
    shown = [headers["authorization"] for what, headers, _ in canned.asked if what.startswith("GET")]
    assert shown == ["Bearer A2"] * 12
    assert [json.loads(body) for what, _, body in canned.asked if "refresh" in what] == [{"refresh_token": "R1"}]


# -- the command ------------------------------------------------------------------------------------------------


def test_login_can_keep_a_session_that_manages_keys(
    canned: Canned, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOYFULL_API_KEY")
    canned.on("POST /api/v1/auth/login", ok(PAIR)).on("GET /api/v1/users/me", ok({"email": "a@example.com"}))
    canned.on("GET /api/v1/users/me/api-keys", ok([], meta={"has_more": False}))
    said = run("login", "--session", typed=f"a@example.com\n{PASSWORD}\n")
    assert said.status == 0, said.err
    kept = SessionFile(tmp_path / "xdg" / "joyfull" / "sessions" / "default.json")
    assert str(kept.path) in said.err.splitlines()[0], "it says where before it asks"
    assert PASSWORD not in said.err + said.out + kept.path.read_text()
    tokens = kept.read()
    assert tokens is not None
    assert (tokens.server, tokens.email, tokens.refresh_token) == (canned.url, "a@example.com", "R1")
    assert run("keys", "list", typed="").status == 0, "nothing was asked"
    assert sum("login" in what for what, _, _ in canned.asked) == 1
    canned.on("POST /api/v1/auth/refresh", problem(401, "token_revoked"))
    kept.write(replace(tokens, ends=0.0))
    ended = run("whoami")
    assert (ended.status, "log in again" in ended.err) == (4, True)
    canned.on("POST /api/v1/auth/logout", Reply(204))
    assert run("logout").status == 0
    assert kept.read() is None
    assert asdict(tokens)["refresh_token"] in canned.asked[-1][2].decode()


def test_login_makes_the_profile_that_it_names_and_keeps_its_address(
    canned: Canned, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOYFULL_API_KEY")
    canned.on("POST /api/v1/auth/login", ok(PAIR)).on("GET /api/v1/users/me/api-keys", ok([], meta={"has_more": False}))
    canned.on("GET /api/v1/users/me", ok({"email": "a@example.com"}))
    assert run("--profile", "work", "whoami").status != 0, "there is none yet"
    said = run("--profile", "work", "login", "--session", typed=f"a@example.com\n{PASSWORD}\n")
    assert said.status == 0, said.err
    monkeypatch.delenv("JOYFULL_BASE_URL", raising=False)
    said = run("--profile", "work", "keys", "list", typed="")
    assert said.status == 0, said.err


def test_a_key_takes_the_place_of_a_session_and_the_other_way_round(
    canned: Canned, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOYFULL_API_KEY")
    canned.on("POST /api/v1/auth/login", ok(PAIR)).on("POST /api/v1/auth/logout", Reply(204))
    canned.on("GET /api/v1/users/me", ok({"email": "a@example.com"}))
    made = {"id": "k1", "key": "jh_made", "prefix": "jh_m", "last4": "made", "scopes": ["tools:read"], "name": "x"}
    canned.on("POST /api/v1/users/me/api-keys", ok(made, 201))
    home = tmp_path / "xdg" / "joyfull"
    typed = f"a@example.com\n{PASSWORD}\n"
    assert run("login", "--session", typed=typed).status == 0
    assert run("login", typed=typed).status == 0
    assert list((home / "sessions").glob("*.json")) == []
    assert json.loads((home / "credentials.json").read_text())["default"]["api_key"] == "jh_made"
    assert run("login", "--session", typed=typed).status == 0
    assert json.loads((home / "credentials.json").read_text()) == {}
