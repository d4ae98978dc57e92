"""Many at once: by their ids, or by what they have in common and their number."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from common import invocations
from common.invocations import canceling
from tests import factories
from tests.factories import GOOD
from tests.runs.conftest import Api, Json


def counts(canceled: int, requested: int, finished: int) -> Json:
    return {"canceled": canceled, "requested": requested, "already_finished": finished}


@pytest.fixture
def four(api: Api) -> list[Json]:
    """One that has ended, one that runs, two that wait."""
    tool, options = factories.tool(), replace(factories.worker(), take_next=False)
    made = [api.submit(tool, metadata={"batch": "b"}, end_user=f"user-{n % 2}") for n in range(4)]
    task = factories.taken(options)
    invocations.complete(task, GOOD, options)
    factories.taken(options)
    return made


def statuses(api: Api, made: list[Json]) -> list[str]:
    return [api.shown(each)["status"] for each in made]


def test_by_their_ids(api: Api, four: list[Json]) -> None:
    ids = [each["id"] for each in four]
    assert api.post("/invocations/cancel", {"ids": ids}) == counts(2, 1, 1)
    assert statuses(api, four) == ["succeeded", "running", "canceled", "canceled"]
    assert api.shown(four[1])["cancel_requested_at"] is not None
    assert api.post("/invocations/cancel", {"ids": ids}) == counts(0, 1, 3)


def test_nothing_if_one_is_unknown_or_anothers(api: Api, four: list[Json]) -> None:
    other = api.of(factories.customer()).submit(factories.tool())
    for stranger in (str(uuid4()), other["id"]):
        refused = api.problem("POST", "/invocations/cancel", 404, json={"ids": [four[3]["id"], stranger]})
        assert refused["code"] == "not_found"
    assert statuses(api, four) == ["succeeded", "running", "queued", "queued"]


@pytest.mark.parametrize(
    ("filters", "open_", "done"),
    [
        ({}, 3, counts(2, 1, 0)),
        ({"metadata": {"batch": "b"}}, 3, counts(2, 1, 0)),
        ({"status": ["queued"]}, 2, counts(2, 0, 0)),
        ({"status": ["running", "failed"]}, 1, counts(0, 1, 0)),
        ({"status": ["succeeded"]}, 0, counts(0, 0, 0)),
        ({"end_user": "user-1"}, 2, counts(1, 1, 0)),
        ({"end_user": "nobody"}, 0, counts(0, 0, 0)),
        ({"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}, 0, counts(0, 0, 0)),
    ],
)
def test_by_filters_once_their_number_is_right(
    api: Api, four: list[Json], filters: Json, open_: int, done: Json
) -> None:
    wrong = api.problem("POST", "/invocations/cancel", 409, json={**filters, "confirm": open_ + 1})
    assert (wrong["code"], wrong["count"]) == ("conflict", open_)
    assert statuses(api, four) == ["succeeded", "running", "queued", "queued"]
    assert api.post("/invocations/cancel", {**filters, "confirm": open_}) == done


def test_by_tool_and_by_key(api: Api, four: list[Json]) -> None:
    tool = factories.tool()
    api.submit(tool)
    through_session = api.customer.submit(tool)
    assert api.post("/invocations/cancel", {"tool": tool.slug, "api_key": api.key_id, "confirm": 1}) == counts(1, 0, 0)
    assert api.get(f"/invocations/{through_session}")["status"] == "queued"


def test_nobody_cancels_anothers(api: Api, four: list[Json]) -> None:
    other = api.of(factories.customer())
    assert other.post("/invocations/cancel", {"confirm": 0}) == counts(0, 0, 0)
    assert statuses(api, four) == ["succeeded", "running", "queued", "queued"]


def test_the_newest_of_very_many(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canceling, "MOST_AT_ONCE", 2)
    tool = factories.tool()
    made = [api.submit(tool) for _ in range(3)]
    assert api.post("/invocations/cancel", {"confirm": 3}) == counts(2, 0, 0)
    assert statuses(api, made) == ["queued", "canceled", "canceled"]
    assert api.post("/invocations/cancel", {"confirm": 1}) == counts(1, 0, 0)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/confirm"),
        ({"tool": "x"}, "/confirm"),
        ({"ids": []}, "/ids"),
        ({"ids": [str(uuid4())] * 2}, "/ids"),
        ({"ids": [str(uuid4()) for _ in range(101)]}, "/ids"),
        ({"ids": [str(uuid4())], "confirm": 1}, "/ids"),
        ({"ids": [str(uuid4())], "tool": "x"}, "/ids"),
        ({"confirm": -1}, "/confirm"),
        ({"confirm": 1, "payloads": False}, "/payloads"),
        ({"confirm": 1, "status": "queued"}, "/status"),
    ],
)
def test_bodies_that_are_refused(api: Api, body: Any, pointer: str) -> None:
    refused = api.problem("POST", "/invocations/cancel", 422, json=body)
    assert pointer in [fault["pointer"] for fault in refused["errors"]]
