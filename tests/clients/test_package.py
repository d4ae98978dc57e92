"""What the package is: models that keep what they do not know, lists, settings, and what importing it loads."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

import joyfull
from joyfull import Client, ConfigurationError, Session, models
from tests.clients.scripted import KEY, RESET, URL, Reply, Stage, invocation, ok, problem

ROOT = Path(__file__).resolve().parents[2]


def test_a_model_keeps_what_this_version_does_not_know() -> None:
    raw = invocation(status="paused", mood="sunny", started_at=None)
    found = models.Invocation.of(raw)
    assert (found.status, found.extra, found.raw) == ("paused", {"mood": "sunny"}, raw)
    assert found.created_at == datetime(2026, 11, 29, 7, tzinfo=UTC)
    assert found.tool.slug == "echo"
    assert found.end_user is None, "a server that does not send it yet"
    assert pickle.loads(pickle.dumps(found)) == found
    with pytest.raises(AttributeError):
        found.status = "queued"  # type: ignore[misc]


def test_from_is_a_keyword_in_python() -> None:
    summary = models.UsageReport.of({"from": "2026-11-01T00:00:00Z", "series": [{"start": "2026-11-01T00:00:00Z"}]})
    assert (summary.from_.day, summary.series[0].start.year, summary.extra) == (1, 2026, {})


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_list_fetches_pages_when_they_are_needed(kind: str) -> None:
    def page(*slugs: str, cursor: str | None) -> Reply:
        meta = {"limit": 2, "has_more": cursor is not None, "next_cursor": cursor}
        return ok([{"slug": slug} for slug in slugs], meta=meta)

    stage = Stage(kind, page("a", "b", cursor="x"), RESET, page("c", cursor=None))
    found = stage.do(lambda client: client.tools.list(category="text"))
    assert [each.slug for each in found] == ["a", "b", "c"]
    assert [str(each.url.query, "ascii") for each in stage.sent] == ["category=text", *["category=text&cursor=x"] * 2]
    stage = Stage(kind, page("a", "b", cursor="x"))
    assert [each.slug for each in stage.do(lambda client: client.tools.list().first(2))] == ["a", "b"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_filters_are_written_as_the_api_reads_them(kind: str) -> None:
    stage = Stage(kind, ok([], meta={"has_more": False}))
    when = datetime(2026, 11, 29, 8, 30, tzinfo=UTC)
    stage.do(
        lambda client: client.invocations.list(
            status=["queued", "running"], from_=when, metadata={"a": "b c"}, payloads=False
        )
    )
    assert sorted(stage.sent[0].url.params.multi_items()) == [
        ("from", "2026-11-29T08:30:00Z"), ("metadata[a]", "b c"), ("payloads", "false"), ("status", "queued"),
        ("status", "running"),
    ]  # fmt: skip


def test_an_id_cannot_lead_elsewhere() -> None:
    stage = Stage("sync", ok({}))
    stage.do(lambda client: client.tools.get("../admin?x=1"))
    assert stage.sent[0].url.raw_path == b"/api/v1/tools/..%2Fadmin%3Fx%3D1"
    with pytest.raises(ValueError, match="endpoint_id"):
        stage.do(lambda client: client.webhooks.delete(""))


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_every_method_can_show_its_response(kind: str) -> None:
    stage = Stage(kind, ok({"slug": "echo"}, RateLimit='"reads";r=5999;t=42'))
    tool, response = stage.do(lambda client: client.with_raw.tools.get("echo"))
    assert (tool.slug, response.status, response.headers["ratelimit"]) == ("echo", 200, '"reads";r=5999;t=42')


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_export_is_there_only_when_it_is_whole(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    parts = (b"id,tool\r\n", b"1,echo\r\n")
    half = Reply(parts=parts[:1], error=httpx.ReadError)
    stage = Stage(kind, half, Reply(parts=parts))
    assert stage.do(lambda client: client.usage.export(path)) == path
    assert path.read_bytes() == b"".join(parts)
    assert list(tmp_path.iterdir()) == [path]
    stage = Stage(kind, *[half] * 5)
    with pytest.raises(joyfull.ConnectionFailed):
        stage.do(lambda client: client.usage.export(tmp_path / "other.csv"))
    assert not (tmp_path / "other.csv").exists()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_many_submits_go_in_batches_and_the_refused_ones_again(kind: str) -> None:
    def answered(*statuses: int, **headers: str) -> Reply:
        answers: list[Any] = [
            {"status": 202, "invocation": invocation("queued", id=str(number))}
            if status == 202
            else {
                "status": status,
                "problem": problem(status, {429: "rate_limited", 422: "tool_input_rejected"}[status]).body,
            }
            for number, status in enumerate(statuses)
        ]
        return ok(answers, 207, **headers)

    orders = [{"tool": "echo", "input": number} for number in range(103)]
    first = answered(*[202] * 98, 429, 422, RateLimit='"submits";r=0;t=9')
    stage = Stage(kind, first, answered(202), answered(202, 202, 202))
    found = stage.do(lambda client: client.submit_many(orders))
    assert [type(each).__name__.removeprefix("Async") for each in found] == ["Job"] * 99 + ["Refused"] + ["Job"] * 3
    bodies = [json.loads(each.content)["items"] for each in stage.sent]
    assert [len(each) for each in bodies] == [100, 1, 3]
    assert bodies[0][98] == bodies[1][0], "the same order, with the same key"
    assert len({item["idempotency_key"] for body in bodies for item in body}) == 103
    assert stage.slept == [9.0]


# -- settings ---------------------------------------------------------------------------------------------------


def test_credentials_are_taken_from_the_first_place_that_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "joyfull"
    home.mkdir()
    (home / "config.toml").write_text(
        '[default]\nbase_url = "https://a.example/api/v1/"\n[b]\nbase_url = "https://b.example"\n'
    )
    (home / "credentials.json").write_text('{"default": {"api_key": "jh_profile"}}')
    (home / "credentials.json").chmod(0o600)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("JOYFULL_API_KEY", raising=False)

    def told(**options: Any) -> tuple[str, object]:
        with Client(**options) as client:
            return client.base_url, client._driver.credentials.fixed

    assert told() == ("https://a.example", ("Authorization", "Bearer jh_profile"))
    monkeypatch.setenv("JOYFULL_API_KEY", "jh_environment")
    assert told(profile="b") == ("https://b.example", ("Authorization", "Bearer jh_environment"))
    assert told(api_key="jh_argument", base_url=URL) == (URL, ("Authorization", "Bearer jh_argument"))
    assert told(session=Session("a@example.com", "p"))[1] is None
    with pytest.raises(ConfigurationError, match="not both"):
        Client("jh_1", session=Session("a@example.com", "p"))
    with pytest.raises(ConfigurationError, match="no profile 'c'"):
        Client(profile="c")
    (home / "credentials.json").chmod(0o640)
    with pytest.raises(ConfigurationError, match="others can read"):
        Client()


def test_nothing_shows_a_secret() -> None:
    session = Session("a@example.com", "a quiet green river")
    with Client(KEY, base_url=URL) as client:
        assert KEY not in repr(client._driver.credentials) + repr(vars(client))
    assert "river" not in repr(session)


IMPORTED = """
client configuration context credentials drivers errors exchange job models operations paging private_files problems
resource retrying submitting surface transport version waiting wire
"""
LATER = "client.tools, client.webhooks, client.keys.create, client.with_raw.admin.users, client.events.follow"


def test_importing_loads_what_a_first_call_needs_and_nothing_else() -> None:
    """The budget: importing takes at most 1.3 times as long as importing the HTTP client."""
    told = "print(*set(sys.modules) - old, flush=True)"
    code = f"""
import sys; sys.modules.update(click=None, rich=None)  # as where only the package is installed
import httpx; old = set(sys.modules)
from joyfull import Client; {told}
transport = httpx.MockTransport(lambda _: httpx.Response(422, json={{"code": "tool_input_rejected"}}))
client = Client("jh_1", http=httpx.Client(transport=transport)); {told}; {LATER}; {told}
try: client.run("echo", {{}})
except Exception as error: print(type(error).__name__)
"""
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "clients" / "python")}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    *loads, refused = done.stdout.splitlines()
    assert refused == "ToolInputRejected", "also for who has not imported joyfull.codes"
    imported, made, later = (set(line.split()) for line in loads)
    ours = {name for name in imported if name.startswith("joyfull")}
    assert ours == {"joyfull", *(f"joyfull.{name}" for name in IMPORTED.split())}
    assert imported - ours <= {"dataclasses", "hmac", "secrets"}
    assert made == imported
    resources = {f"joyfull.resources.{name}" for name in ("admin", "events", "keys", "tools", "webhooks")}
    assert later - made == {"joyfull.raw_access", "joyfull.resources", *resources}
