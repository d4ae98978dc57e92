"""A worker is killed at every step of a stream: one end and one charge, and nothing that was shown is contradicted."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from sqlalchemy import text

from common import budgets
from common.invocations.streams import START, LogKey, read
from common.kit import db
from common.operations import ledger
from tests import factories
from tests.budgets import world
from tests.budgets.test_one_charge import SIGKILLED, Laborer, an_hour_later, charges, laborer
from tests.client import eventually
from tests.outside.tool import Tool
from tests.runs.conftest import Api
from tests.runs.following import Follower

__all__ = ["laborer"]
PRICE = {
    "base_tokens": 1,
    "per_unit": {"pointer": "/usage/total_tokens", "tokens": 1, "unit": "token"},
    "max_tokens": 50,
}
WORDS = 12


@dataclass(frozen=True, slots=True)
class Step:
    """Where the worker dies, how often the tool is called in all, and whether that ends well. `shown`: before."""

    point: str
    calls: int
    good: bool
    shown: bool = True


STEPS = [
    Step("worker.before_send", 1, good=True, shown=False),
    Step("stream.first_part", 1, good=False),
    Step("stream.mid", 1, good=False),
    Step("stream.done_unread", 1, good=False),
    Step("stream.before_end", 1, good=False),
    Step("worker.after_commit", 1, good=True),
]


@pytest.mark.chaos
@pytest.mark.parametrize("step", STEPS, ids=[step.point for step in STEPS])
def test_a_worker_is_killed_in_the_middle_of_a_stream(
    laborer: Laborer,
    api: Api,
    tool: Tool,
    step: Step,
) -> None:
    """Although the tool is idempotent, and would be called again in any other case."""
    url = f"{tool.url}/stream?words={WORDS}&every=30"
    customer = api.customer
    chat = factories.tool(endpoint_url=url, adapter="chat_completion", streaming=True, price=PRICE, idempotent=True)
    made = customer.submit(chat, stream=True)
    assert laborer.work(step.point) == SIGKILLED
    shown = bool(read([(LogKey(customer.user_id, made), START)])[0])
    assert shown == step.shown
    an_hour_later()
    assert laborer.work() == 0
    row, due = world.ended_rows()[made], 1 + 3 + WORDS if step.good else 0
    assert (len(tool.calls(str(made))), row.status, row.charged) == (
        step.calls,
        "succeeded" if step.good else "failed",
        due,
    )
    assert charges(customer) == {made: [due]}
    budgets.free_orphans(older_than=-1)
    assert world.open_rows() == {} and ledger.verify().differences == ()


_FORGOTTEN = text("update queue set dispatched_at = null where id = :id")


@pytest.mark.chaos
def test_a_failover_that_lost_the_note_of_what_was_shown_is_the_only_reason_to_begin_anew(
    laborer: Laborer, api: Api, tool: Tool
) -> None:
    """Then another attempt is shown after the first: its readers are told to drop what they have."""
    url = f"{tool.url}/stream?words={WORDS}&every=30"
    chat = factories.tool(endpoint_url=url, adapter="chat_completion", streaming=True, price=PRICE, idempotent=True)
    made = api.customer.submit(chat, stream=True)
    assert laborer.work("stream.mid") == SIGKILLED
    follower = Follower(api, str(made))
    eventually("it has read what was shown", 30, lambda: follower.text)
    assert db.rowcount(_FORGOTTEN, {"id": made}) == 1
    an_hour_later()
    assert laborer.work() == 0
    assert follower.ended()["attempts"] == len(tool.calls(str(made))) == 2
    assert follower.names.count("output.reset") == 1
    assert charges(api.customer) == {made: [1 + 3 + WORDS]}
