"""Two beats ring for everything twice, at the same time; nothing is counted, sent or renewed twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from common import books
from dev import platform as parts
from dev.platform import Platform
from dev.supervisor import Part, Supervisor
from tests.client import Client
from tests.conftest import ROOT
from worker import sweeps


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
    assert books.verify().differences == ()


def test_a_bell_is_void_after_its_interval() -> None:
    """Or all that was rung for while the worker was away would come at once."""
    for name, entry in sweeps.beat_schedule().items():
        options = entry["options"]
        assert isinstance(options, dict)
        assert options["expires"] <= max(5.0, sweeps.PERIODIC[name][0])


def runs(hub: Platform, name: str) -> int:
    return _run(hub, name)[0]


def _run(hub: Platform, name: str) -> tuple[int, int]:
    """How often this sweep was done, and how often it failed."""
    with psycopg.connect(hub.environ["DATABASE_URL"]) as connection:
        row = connection.execute("select runs, failures from sweep_runs where name = %s", (name,)).fetchone()
    return row or (0, 0)
