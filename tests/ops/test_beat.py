"""Two beats send every trigger twice, at the same time; nothing is counted, sent or renewed twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from common.kit import db as database
from common.operations import ledger
from dev import platform as parts
from dev.platform import Platform
from dev.supervisor import Part, Supervisor
from tests.client import Client
from tests.conftest import ROOT
from tests.plain import plain
from worker import sweeper


@pytest.mark.chaos
def test_two_beats_do_no_harm(hub: Platform, client: Client, offer: Callable[..., str], tmp_path: Path) -> None:
    slug = offer()
    for _ in range(5):
        client.ended(client.invoke(slug, {"text": "four"})["id"])
    (single,) = (part for part in parts.background(hub.settings) if part.name == "beat")
    supervisor = Supervisor(hub.environ, tmp_path / "log", ROOT)
    for number in (1, 2):
        schedule = [
            tmp_path / f"schedule-{number}" if str(word).endswith("beat-schedule") else word for word in single.command
        ]
        supervisor.start(Part(f"beat-{number}", schedule))
    try:
        for _ in range(5):
            client.ended(client.invoke(slug, {"text": "four"})["id"])
        supervisor.wait_for(lambda: runs(hub, "roll-up-usage") >= 3, "two rounds of two beats", timeout=90)
        assert all(child.is_up for child in supervisor.children.values())
    finally:
        supervisor.stop()
    assert _run(hub, "roll-up-usage")[1] == 0
    totals = client.data("GET", "/usage/summary")["totals"]
    assert (totals["invocations"], totals["tokens_used"]) == (10, 10 * 5)
    with psycopg.connect(hub.environ["DATABASE_URL"]) as connection:
        periods = connection.execute("select count(*) from periods").fetchone()
        mails = connection.execute("select count(*), count(distinct (template, recipient)) from mails").fetchone()
    assert periods == (1,)
    assert mails
    assert mails[0] == mails[1], "a mail was made twice"
    assert ledger.verify().differences == ()


def test_triggers_that_have_piled_up_are_one_by_the_databases_clock(db: None) -> None:
    """A host whose clock is ahead must not take every message for one that comes too late."""
    name = "forget-old-keys"

    def triggered() -> int:
        for _ in range(3):
            sweeper.run_in_turn(name)
        return int(plain(text("select runs from sweep_runs where name = :name"), {"name": name})[0].runs)

    assert triggered() == 1
    database.rowcount(
        text("update sweep_runs set ran_at = ran_at - interval '31 s' where name = :name"), {"name": name}
    )
    assert triggered() == 2
    for entry in sweeper.beat_schedule().values():
        options = entry["options"]
        assert isinstance(options, dict)
        assert options["expires"] >= 300, "clocks of two hosts may differ"


def test_a_sweep_that_only_a_newer_release_knows_is_left_to_that(db: None) -> None:
    """Beat may be upgraded before the workers."""
    sweeper.run_in_turn("of-a-newer-release")
    assert plain(text("select name from sweep_runs"), {}) == []


def runs(hub: Platform, name: str) -> int:
    return _run(hub, name)[0]


def _run(hub: Platform, name: str) -> tuple[int, int]:
    """How often this sweep was done, and how often it failed."""
    with psycopg.connect(hub.environ["DATABASE_URL"]) as connection:
        row = connection.execute("select runs, failures from sweep_runs where name = %s", (name,)).fetchone()
    return row or (0, 0)
