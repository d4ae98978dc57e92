"""What one key, or one of a customer's own customers, has used: filters and groups of `/usage`."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from common.kit import db as db_kit
from common.usage import wanted
from tests import factories
from tests.keys.conftest import Account, Json, Key, Work, joined
from tests.usage.ledger import rolled_up

Names = dict[str, str]


@dataclass(frozen=True, slots=True)
class Line:
    """A key, one that comes from it, and one that comes from that; another key; and the session."""

    account: Account
    root: Key
    child: Key
    below: Key
    other: Key

    def ask(self, path: str, **query: Any) -> Any:
        return self.account.session("GET", path, query_string=query).data

    def used(self, **query: Any) -> list[int]:
        """The tokens of the entries, smallest first, as pages, the export and the sums of a summary all say."""
        found = sorted(entry["tokens_used"] for entry in self.ask("/usage", limit=100, **query))
        headers = {"Authorization": f"Bearer {self.account.access}", "Accept": "application/x-ndjson"}
        with self.account.http.get("/api/v1/usage/export", query_string=query, headers=headers) as exported:
            assert (
                sorted(json.loads(line)["tokens_used"] for line in exported.get_data(as_text=True).splitlines())
                == found
            )
        summed = self.ask("/usage/summary", **query)
        assert (summed["totals"]["invocations"], summed["totals"]["tokens_used"]) == (len(found), sum(found))
        assert sum(point["tokens_used"] for point in summed["series"]) == sum(found)
        return found

    def groups(self, **query: Any) -> dict[str | None, int]:
        found: list[Json] = self.ask("/usage/summary", **query)["groups"]
        return {group["key"]: group["tokens_used"] for group in found}


def _child(key: Key, **body: Any) -> Key:
    scopes = ["tools:read", "invocations:write", "keys:delegate"]
    made = key("POST", "/keys/delegate", json={"tokens": 50, "expires_in": 600, "scopes": scopes, **body}).data
    return Key(key.account, made["id"], made["key"])


@pytest.fixture
def line(account: Account, work: Work) -> Line:
    """Costs are powers of two, so that a sum says what is in it."""
    scopes = ["tools:read", "invocations:write", "keys:delegate"]
    root, other = account.key(100, scopes=scopes), account.key()
    child = _child(root, end_user="ann")
    below, tool = _child(child), factories.tool(price={"base_tokens": 1, "per_unit": None, "max_tokens": 40})
    submits: list[tuple[Key, Names, int]] = [
        (root, {}, 1),
        (child, {}, 2),
        (below, {}, 4),
        (other, {"end_user": "bob"}, 8),
        (account.session, {"end_user": "=1+1"}, 16),
        (account.session, {}, 32),
    ]
    for key, body, cost in submits:
        assert key.submit(tool, **body).status == 202
        work.end(cost=cost)
    return Line(account, root, child, below, other)


@pytest.mark.parametrize("summed_up", [False, True])
def test_usage_is_found_by_key_and_by_end_user(line: Line, summed_up: bool) -> None:
    if summed_up:
        rolled_up()
    assert line.used() == [1, 2, 4, 8, 16, 32]
    assert line.used(api_key=line.root.id) == [1, 2, 4], "with what comes from it"
    assert line.used(api_key=line.child.id) == [2]
    assert line.used(api_key=line.below.id) == [4]
    assert line.used(api_key=line.other.id) == [8]
    assert line.used(end_user="ann") == [2, 4]
    assert line.used(end_user="ann", api_key=line.below.id) == [4]
    assert line.used(end_user="bob", api_key=line.root.id) == line.used(end_user="nobody") == []
    assert line.used(api_key=str(uuid4())) == []


@pytest.mark.parametrize("summed_up", [False, True])
def test_groups_by_end_user(line: Line, summed_up: bool) -> None:
    if summed_up:
        rolled_up()
    assert line.groups(group_by="end_user") == {None: 33, "=1+1": 16, "bob": 8, "ann": 6}
    assert line.groups(group_by="end_user", api_key=line.root.id) == {"ann": 6, None: 1}
    assert line.groups(group_by="api_key", end_user="ann") == {line.below.id: 4, line.child.id: 2}
    assert line.groups(group_by="api_key_root", api_key=line.root.id) == {line.root.id: 7}
    assert line.groups(group_by="status", end_user="bob") == {"success": 8}


def test_an_entry_says_whose_it_is(line: Line) -> None:
    shown = {entry["tokens_used"]: entry for entry in line.ask("/usage")}
    whose = {cost: (e["api_key_id"], e["api_key_root_id"], e["end_user"]) for cost, e in shown.items()}
    assert whose == {
        1: (line.root.id, None, None),
        2: (line.child.id, line.root.id, "ann"),
        4: (line.below.id, line.root.id, "ann"),
        8: (line.other.id, None, "bob"),
        16: (None, None, "=1+1"),
        32: (None, None, None),
    }
    headers = {"Authorization": f"Bearer {line.account.access}"}
    with line.account.http.get("/api/v1/usage/export", headers=headers) as exported:
        rows = {int(row["tokens_used"]): row for row in csv.DictReader(io.StringIO(exported.get_data(as_text=True)))}
    assert [rows[cost]["end_user"] for cost in (4, 16, 32)] == ["ann", "'=1+1", ""], "a word is no formula"
    assert rows[4]["api_key_root_id"] == line.root.id


def test_a_key_whose_row_is_gone_is_still_found(line: Line) -> None:
    db_kit.rowcount(text("delete from api_key_secrets where api_key_id = :id"), {"id": line.child.id})
    db_kit.rowcount(text("delete from api_keys where id = :id"), {"id": line.child.id})
    assert line.used(api_key=line.child.id) == [2]


def test_another_account_sees_nothing_of_it(line: Line) -> None:
    stranger = joined(line.account.http, factories.customer()).session
    assert stranger("GET", "/usage", query_string={"api_key": line.root.id}).data == []
    summed = stranger("GET", "/usage/summary", query_string={"api_key": line.root.id}).data
    assert summed["totals"]["invocations"] == 0


def test_too_many_end_users_are_refused(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wanted, "MOST", 3)
    refused = line.account.session("GET", "/usage/summary", query_string={"group_by": "end_user"})
    assert refused.refusal == (422, "validation_failed")
