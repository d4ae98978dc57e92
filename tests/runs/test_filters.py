"""Every list shows exactly what its filters say, page by page, alone and together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any
from urllib.parse import urlencode

import pytest

from common import invocations
from common.identity import keys
from common.identity.audit import OPERATOR
from common.invocations import Completion, filters, lists
from common.kit.clock import uuid7
from tests import factories
from tests.factories import BAD, GOOD
from tests.runs.conftest import Api, Json

TIMEOUT = Completion("failed", error_code="tool_timeout", error_detail="late", duration_ms=3)
#: A request id of our own kind that is from another time: it begins like no invocation that is made now.
OLD_ID = "0190abcd00007000800000000000000a"


class Many:
    """Two accounts' invocations with every value that is looked for, in every state."""

    def __init__(self, api: Api) -> None:
        self.api, self.other = api, api.of(factories.customer())
        self.tools = [factories.tool() for _ in range(2)]
        self.second = replace(api, key=keys.create(api.customer.user_id, "second", actor=OPERATOR)[1])
        self.own_kind = uuid7().hex
        for n in range(24):
            self._one(n)
        self.first = api.get("/invocations?limit=100")[-1]["id"]
        for _ in range(2):
            api.post(f"/invocations/{self.first}/rerun", {}, 202)
        self.all = api.get("/invocations?limit=100")

    def _one(self, n: int) -> None:
        who = self.other if n % 5 == 4 else self.second if n % 3 == 2 else self.api
        headers: dict[str, str] = {}
        if n % 4:
            headers["X-Request-ID"] = ["", "mine", OLD_ID, self.own_kind][n % 4]
        if n % 6 == 1:
            headers["Idempotency-Key"] = f"key-{n}"
        body: Json = {"input": {}, "metadata": {"batch": str(n % 2), **({"rare": "x"} if n % 11 == 0 else {})}}
        if n % 2:
            body["end_user"] = f"user-{n % 3}"
        made = who.post(f"/tools/{self.tools[n % 2].slug}/invoke", body, 202, headers=headers)
        options = replace(factories.worker(), take_next=False)
        if n % 4 == 3:
            who.post(f"/invocations/{made['id']}/cancel")
        elif n % 8 < 6:
            end = [GOOD, BAD, TIMEOUT][n % 3]
            invocations.complete(factories.taken(options), end, options)

    def expected(self, wanted: Json) -> list[str]:
        return [each["id"] for each in self.all if all(_fits(each, name, value) for name, value in wanted.items())]


def _fits(each: Json, name: str, value: Any) -> bool:
    if name.startswith("metadata["):
        return bool(each["metadata"].get(name[9:-1]) == value)
    if name == "error":
        return bool(each["error"] and each["error"]["code"] == value)
    if name == "tool":
        return bool(each["tool"]["slug"] == value)
    if name == "api_key":
        return bool(each["api_key_id"] == value)
    return bool(each[name] == value)


@pytest.fixture
def many(api: Api) -> Many:
    return Many(api)


def _values(many: Many) -> dict[str, list[str]]:
    return {
        "status": ["succeeded", "failed", "canceled", "queued"],
        "tool": [many.tools[0].slug],
        "request_id": ["mine", OLD_ID, many.own_kind, many.all[-1]["request_id"], "nothing"],
        "metadata[batch]": ["1", "2"],
        "metadata[rare]": ["x"],
        "api_key": [many.api.key_id, str(uuid7())],
        "end_user": ["user-1", "nobody"],
        "error": ["tool_failed", "tool_timeout", "worker_lost"],
        "rerun_of": [many.first],
    }


def _questions(many: Many) -> Iterator[Json]:
    values = _values(many)
    for name, each in values.items():
        yield from ({name: value} for value in each)
    for one, other in combinations(values, 2):
        yield from ({one: value, other: values[other][0]} for value in values[one])
    yield {name: each[0] for name, each in values.items()}


def test_every_filter_and_every_two(many: Many) -> None:
    assert {each["status"] for each in many.all} >= {"succeeded", "failed", "canceled", "queued"}
    seen = 0
    for wanted in _questions(many):
        found = [each["id"] for each in many.api.all(f"/invocations?{urlencode(wanted)}")]
        assert found == many.expected(wanted), wanted
        seen += len(found)
    assert seen > 200


def test_several_pairs_of_metadata(many: Many, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of them is read, those that have all are found, and once."""
    lists.statement.cache_clear()
    monkeypatch.setattr(filters, "LABELED", filters.LABELED.replace("order by m.number", "order by -m.number"))
    for wanted in _questions(many):
        if any(name.startswith("metadata[") for name in wanted):
            found = [each["id"] for each in many.api.all(f"/invocations?payloads=false&{urlencode(wanted)}")]
            assert found == many.expected(wanted), wanted
    lists.statement.cache_clear()


def test_the_key_of_the_submit(many: Many) -> None:
    headers = {"Idempotency-Key": 'a "key"'}
    made = many.api.post(f"/tools/{many.tools[0].slug}/invoke", {"input": {}}, 202, headers=headers)
    assert [each["id"] for each in many.api.get("/invocations?idempotency_key=a%20%22key%22")] == [made["id"]]
    assert many.api.get("/invocations?idempotency_key=a%20%22key%22&status=failed") == []
    assert many.api.get("/invocations?idempotency_key=none") == []
    assert many.other.get("/invocations?idempotency_key=a%20%22key%22") == []


def test_operators_look_across_accounts(many: Many) -> None:
    admin = factories.user(role="admin")
    scopes = ["admin"]
    boss = replace(many.api, key=keys.create(admin.user_id, "boss", actor=OPERATOR, scopes=scopes)[1])
    mine, theirs = many.expected({"request_id": OLD_ID}), many.other.get(f"/invocations?request_id={OLD_ID}")
    found = [each["id"] for each in boss.all(f"/admin/invocations?request_id={OLD_ID}")]
    assert found == sorted([*mine, *(each["id"] for each in theirs)], reverse=True)
    assert theirs
    user = many.api.customer.user_id
    labeled = boss.all(f"/admin/invocations?metadata[batch]=1&user={user}")
    assert [each["id"] for each in labeled] == many.expected({"metadata[batch]": "1"})
    for lonely in ("metadata[batch]=1", "end_user=user-1", "idempotency_key=k"):
        assert boss.problem("GET", f"/admin/invocations?{lonely}", 422)["code"] == "validation_failed"


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("metadata=x", "/metadata"),
        ("metadata[a]=1&metadata[a]=2", "/metadata[a]"),
        ("metadata[]=1", "/metadata/"),
        (f"metadata[{'k' * 65}]=1", f"/metadata/{'k' * 65}"),
        ("error=no_such_code", "/error"),
        ("api_key=jh_x", "/api_key"),
        ("end_user=", "/end_user"),
        ("rerun_of=x", "/rerun_of"),
        ("labels[a]=1", "/labels[a]"),
    ],
)
def test_queries_that_are_refused(api: Api, query: str, pointer: str) -> None:
    refused = api.problem("GET", f"/invocations?{query}", 422)
    assert [fault["pointer"] for fault in refused["errors"]] == [pointer]
