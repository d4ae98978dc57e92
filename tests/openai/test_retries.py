"""The official client repeats requests by itself, without a key: none of them charges twice."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from common import invocations
from common.identity import keys
from common.identity.audit import OPERATOR
from common.invocations import joining
from common.kit import db as database
from common.kit import failpoints
from common.kit import redis as redis_kit
from tests import factories
from tests.client import eventually
from tests.factories import Customer
from tests.openai.conftest import MESSAGES, Stage, charges
from tests.openai.test_streams import Raw, words

_bodies = count(1)


def ask(stage: Stage, slug: str, repeat: int | None, *, key: str = "", **body: Any) -> requests.Response:
    """A request that the client has repeated so often; None: of a client that does not count."""
    headers = {"Authorization": f"Bearer {key or stage.key}"}
    if repeat is not None:
        headers["X-Stainless-Retry-Count"] = str(repeat)
    sent = {"model": slug, "messages": MESSAGES, **body}
    return requests.post(f"{stage.url}/chat/completions", json=sent, headers=headers, timeout=30)


def made_by(answer: requests.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.headers["Joyfull-Invocation"]


def put_back(seconds: int, column: str) -> bool:
    """Whether there was such a time."""
    earlier = f"update client_calls set {column} = {column} - interval '{seconds} seconds' where {column} is not null"
    return database.rowcount(text(earlier), {}) > 0


# -- the client itself -----------------------------------------------------------------------------------------------


def test_an_impatient_client_pays_once(stage: Stage) -> None:
    client = stage.client(max_retries=5, timeout=0.4)
    raw = client.chat.completions.with_raw_response.create(
        model=stage.chat("/chat/completions?after=700"), messages=MESSAGES
    )
    assert raw.retries_taken >= 1
    assert (raw.headers["Idempotent-Replayed"], raw.parse().choices[0].message.content) == ("true", "a long answer")
    assert charges() == [25] and len(stage.tool.calls()) == 1


def test_a_client_that_was_cut_off_gets_its_stream_from_the_start(stage: Stage) -> None:
    slug = stage.chat("/stream?words=4&hold=2")
    first = Raw(stage, slug, {"X-Stainless-Retry-Count": "0"})
    assert "wörd0" in next(first.events())
    first.told.close()
    second = Raw(stage, slug, {"X-Stainless-Retry-Count": "1"})
    assert second.told.headers["Idempotent-Replayed"] == "true"
    stage.tool.let_go()
    events = [*second.events()]
    assert events[-1] == "[DONE]"
    choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
    found = [choice["delta"].get("content") or "" for choice in choices]
    assert "".join(found) == words(4)
    assert charges() == [15]


# -- which call a request joins ----------------------------------------------------------------------------------------


def test_what_a_repeat_joins(stage: Stage) -> None:
    """The call whose answer did not come through; when that has, another call is another call."""
    slug = stage.chat()
    first = made_by(ask(stage, slug, 0))
    eventually("it is noted that it was answered", 30, lambda: put_back(0, "answered_at"))
    database.rowcount(text("update client_calls set answered_at = null"), {})
    again = ask(stage, slug, 1)
    assert (made_by(again), again.headers["Idempotent-Replayed"]) == (first, "true")
    eventually("it is noted again", 30, lambda: put_back(joining.GRACE, "answered_at"))
    assert made_by(ask(stage, slug, 2)) != first


def test_what_a_repeat_does_not_join(stage: Stage) -> None:
    slug, other = stage.chat(), stage.chat()
    _, key = keys.create(stage.customer.user_id, "another", actor=OPERATOR)
    found = [made_by(ask(stage, slug, 0)), made_by(ask(stage, slug, 0)), made_by(ask(stage, slug, None))]
    found += [
        made_by(ask(stage, slug, 1, seed=1)),
        made_by(ask(stage, other, 1)),
        made_by(ask(stage, slug, 1, key=key)),
    ]
    assert put_back(joining.WINDOW, "created_at")
    found.append(made_by(ask(stage, slug, 1)))
    assert len({*found}) == len(found)
    assert joining.forget_old() == 0
    assert put_back(60, "created_at")
    assert joining.forget_old() == 5


def test_what_was_refused_is_no_call(stage: Stage) -> None:
    _, key = keys.create(factories.customer(10).user_id, "poor", actor=OPERATOR)
    assert ask(stage, stage.chat(), 0, key=key).status_code == 402
    with database.read_only() as session:
        assert session.execute(text("select count(*) from client_calls")).scalar_one() == 0


@pytest.mark.parametrize("wiped", [False, True], ids=["", "redis is wiped"])
def test_a_repeat_overtakes_the_first_one(stage: Stage, wiped: bool) -> None:
    """Which has not been stored yet."""
    slug, pool = stage.chat(), ThreadPoolExecutor()
    later: list[Any] = []

    def repeat() -> None:
        if not later:
            if wiped:
                redis_kit.client().flushall()
            later.append(pool.submit(ask, stage, slug, 1))
            threading.Event().wait(0.2)

    with failpoints.calling("web.before_commit", repeat), pool:
        first = made_by(ask(stage, slug, 0))
        assert made_by(later[0].result(30)) == first
    assert charges() == [25]


def test_repeats_at_once_join_a_call_each(stage: Stage) -> None:
    """Equal calls that were all cut off; and a repeat that comes later than the one after it."""
    slug = stage.chat("/chat/completions?after=300")
    with ThreadPoolExecutor(12) as pool:
        for repeat in (0, 1, 2):
            answers = [pool.submit(ask, stage, slug, repeat) for _ in range(4)]
            if repeat != 1:
                found = {made_by(answer.result(60)) for answer in answers}
                assert len(found) == 4
    assert made_by(ask(stage, slug, 1)) in found
    assert charges() == [25] * 4


@pytest.fixture
def bought(db: None) -> tuple[Customer, str]:
    """A customer, and a tool."""
    return factories.customer(), factories.tool().slug


def test_a_repeat_stays_with_its_own_call(bought: tuple[Customer, str]) -> None:
    """Although an equal one was begun after it."""
    customer, body = bought[0], {"n": next(_bodies)}
    first, again = (joining.begin(customer.caller, body, repeat) for repeat in (0, 1))
    other = joining.begin(customer.caller, body, 0)
    assert joining.begin(customer.caller, body, 2).id == again.id == first.id != other.id


STEPS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(("lost", "died", "wiped", "answered"))), max_size=12)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_storms_charge_once(bought: tuple[Customer, str], steps: list[tuple[int, str]]) -> None:
    """Whatever is lost, or dies before it has submitted: of equal calls at once, none makes two invocations."""
    customer, tool = bought
    body, repeats, over = {"n": next(_bodies)}, dict.fromkeys(range(4), 0), set[int]()
    made = set()
    for call, outcome in steps:
        if call in over:
            continue
        request = joining.begin(customer.caller, body, repeats[call])
        repeats[call] += 1
        if outcome == "died":
            continue
        if outcome == "wiped":
            redis_kit.client().flushall()
        order = factories.order(idempotency_key=request.key, body=body)
        made.add(invocations.submit(customer.caller, tool, order).id)
        if outcome == "answered":
            joining.answered(request)
            over.add(call)
    assert len(made) <= sum(1 for times in repeats.values() if times)
