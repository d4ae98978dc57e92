"""Submits with a name: one invocation and one charge, whatever dies, however often, however late."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.platform import Platform
from joyfull import ConfigurationError, NameReused, OutcomeUnknown
from tests.client import Client
from tests.clients.dying import PLACES
from tests.clients.scripted import RESET, Reply, Stage, invocation, ok, problem
from tests.conftest import ROOT

DAY = 24 * 3600.0
#: How many submits are killed at every step: `DYING_SUBMITS=500` takes some minutes.
SUBMITS = int(os.environ.get("DYING_SUBMITS", "5"))
ACCEPTED = ok(invocation("queued"), 202)
EMPTY = ok([], meta={"limit": 1, "has_more": False, "next_cursor": None})


@pytest.fixture(params=["sync", "async"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Stage]:
    return lambda *replies: Stage(request.param, *replies, tmp=tmp_path)


def order(world: Stage, **changes: object) -> object:
    body = {"input": {"text": "a"}, **changes}
    return world.do(lambda client: client.submit("echo", body.pop("input"), name="order-42", **body))


def keys(world: Stage) -> list[str | None]:
    return [each.headers.get("idempotency-key") for each in world.sent]


def test_the_same_name_is_the_same_invocation(stage: Callable[..., Stage], tmp_path: Path) -> None:
    order(stage(ACCEPTED))
    world = stage(ok(invocation()))
    job = order(world)
    assert (job.id, job.replayed, world.sent[0].method) == ("01a2", True, "GET")  # type: ignore[attr-defined]
    assert (tmp_path / "journal.sqlite").stat().st_mode & 0o777 == 0o600


def test_the_first_byte_leaves_after_the_journal_was_written(stage: Callable[..., Stage]) -> None:
    with pytest.raises(OutcomeUnknown):
        order(stage(*[RESET] * 5))
    world = stage(ok(invocation("queued"), 202, Idempotent_Replayed="true"))
    world.keys = 100
    job = order(world)
    assert keys(world) == ["key-1"], "the key of the attempt that was lost, not a new one"
    assert job.replayed  # type: ignore[attr-defined]
    assert b'"metadata":{"client_key":"key-1"}' in world.sent[0].content


@pytest.mark.parametrize("change", [{"input": {"text": "b"}}, {"max_tokens": 5}, {"metadata": {"a": "b"}}], ids=str)
def test_the_same_name_for_another_order_is_refused(stage: Callable[..., Stage], change: dict[str, object]) -> None:
    order(stage(ACCEPTED))
    world = stage()
    with pytest.raises(NameReused):
        order(world, **change)
    assert world.sent == []


def test_after_the_life_of_its_key_it_is_looked_for(stage: Callable[..., Stage]) -> None:
    with pytest.raises(OutcomeUnknown):
        order(stage(*[RESET] * 5))
    found = ok([invocation()], meta={"limit": 1, "has_more": False, "next_cursor": None})
    world = stage(found, ok(invocation()))
    world.time = DAY
    assert order(world).id == "01a2"  # type: ignore[attr-defined]
    query = dict(world.sent[0].url.params)
    assert (query["metadata[client_key]"], query["from"], query["to"]) == (
        "key-1", "2026-11-28T23:00:00Z", "2026-11-30T01:00:00Z",
    )  # fmt: skip


def test_what_was_never_accepted_gets_a_new_key(stage: Callable[..., Stage]) -> None:
    with pytest.raises(OutcomeUnknown):
        order(stage(*[RESET] * 5))
    world = stage(EMPTY, ACCEPTED)
    world.time, world.keys = DAY, 100
    order(world)
    assert (keys(world)[0], keys(world)[1]) == (None, "key-102")


@pytest.mark.parametrize("away", [problem(401, "token_expired"), *[Reply(500)]], ids=["401", "500"])
def test_what_cannot_be_looked_for_is_unknown(stage: Callable[..., Stage], away: Reply) -> None:
    with pytest.raises(OutcomeUnknown):
        order(stage(*[RESET] * 5))
    world = stage(away)
    world.time = DAY
    with pytest.raises(OutcomeUnknown, match="could not be looked for"):
        order(world)
    assert len(world.sent) == 1


def test_a_refused_order_may_be_tried_again(stage: Callable[..., Stage]) -> None:
    with pytest.raises(Exception, match="budget_exhausted"):
        order(stage(problem(402, "budget_exhausted")))
    world = stage(ACCEPTED)
    assert order(world).replayed is False  # type: ignore[attr-defined]
    assert keys(world) == ["key-1"]


def test_without_a_journal_there_are_no_names() -> None:
    world = Stage("sync")
    with pytest.raises(ConfigurationError, match="journal"):
        order(world)


def test_killed_at_every_step_each_is_made_and_charged_once(
    hub: Platform, offer: Callable[..., str], tmp_path: Path
) -> None:
    client = Client(hub.url).join("enterprise")
    tool, key = offer(), client.keys.create(name="dying").key
    command = [sys.executable, "-m", "tests.clients.dying", hub.url, str(tmp_path / "journal"), tool, str(SUBMITS)]
    environ = {**os.environ, "JOYFULL_API_KEY": key, "PYTHONPATH": str(ROOT / "clients" / "python")}
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) == SUBMITS * PLACES, "every child but the last of each died"
    made = list(client.invocations.list(limit=100, payloads=False))
    assert sorted(int(each.metadata["number"]) for each in made) == list(range(SUBMITS))
    for each in made:
        assert client.job(each.id).wait().billing.charged == 4
    assert client.subscription.current().tokens.charged == 4 * SUBMITS
