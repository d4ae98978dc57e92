"""Delegated keys: a part of what their maker may do, counted with it, and gone with it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from common import budgets, invocations
from common.errors import Conflict, TokenRevoked
from common.identity import delegation
from common.identity.delegation import Delegation
from common.kit import db, failpoints
from tests import factories
from tests.keys.conftest import Account, Json, Key, Work, joined
from tests.keys.spending import fields, spent, wipe
from tests.plain import plain
from tests.usage.ledger import rolled_up

MAY = ["tools:read", "invocations:read", "invocations:write", "usage:read", "keys:delegate"]


def delegated(by: Key, tokens: int = 30, expires_in: int = 900, **body: Any) -> Key:
    answer = by("POST", "/keys/delegate", json={"tokens": tokens, "expires_in": expires_in, **body})
    assert answer.status == 201, answer.body
    return Key(by.account, answer.data["id"], answer.data["key"])


def asked(by: Key, **body: Any) -> Any:
    return by("POST", "/keys/delegate", json={"tokens": 30, "expires_in": 900, **body})


def test_what_is_answered(account: Account) -> None:
    parent, tool = account.key(100, scopes=MAY), factories.tool()
    answer = asked(parent, tools=[tool.slug], end_user="customer-7", metadata={"run": "1"})
    shown: Json = answer.data
    assert (shown["parent_id"], shown["root_id"], shown["end_user"]) == (parent.id, parent.id, "customer-7")
    assert (shown["scopes"], shown["tools"], shown["metadata"]) == (MAY[:3], [tool.slug], {"run": "1"})
    left = datetime.fromisoformat(shown["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=890) < left < timedelta(seconds=901)
    assert shown["allowance"] == {
        "tokens": 30, "window": "total", "charged": 0, "held": 0, "available": 30, "resets_at": None,
    }  # fmt: skip
    child = Key(account, shown["id"], shown["key"])
    assert child("GET", "/users/me").data["credential"]["key_id"] == child.id
    assert [key["id"] for key in account.session("GET", "/users/me/api-keys").data] == [parent.id], "not listed"


def test_what_it_spends_counts_in_every_key_that_it_comes_from(account: Account, work: Work) -> None:
    root, tool = account.key(60, scopes=MAY), factories.tool()
    child = delegated(root, 40, scopes=MAY)
    grandchild = delegated(child, 25)
    assert [grandchild.submit(tool).status for _ in range(3)] == [202, 202, 402]
    assert grandchild.submit(tool).body["api_key_id"] == grandchild.id
    work.end(cost=7)
    assert (spent(grandchild), spent(child), spent(root)) == ((7, 10, 8), (7, 10, 23), (7, 10, 43))
    assert [child.submit(tool).status for _ in range(3)] == [202, 202, 402]
    refused = delegated(root, 1_000).submit(
        factories.tool(price={"base_tokens": 1, "per_unit": None, "max_tokens": 30})
    )
    assert (refused.body["api_key_id"], refused.body["available"]) == (root.id, 23)
    account.right()
    for _ in range(2):  # in single rows, and then in sums
        wipe()
        assert child.submit(tool).status == 402
        assert fields(account)[f"k:{root.id}"] == "total,0,7,30"
        assert fields(account)[f"k:{child.id}"] == "total,0,7,30"
        assert fields(account)[f"k:{grandchild.id}"] == "total,0,7,10"
        account.right()
        rolled_up()
    for _ in range(3):
        work.end(cost=2)
    assert (spent(grandchild), spent(child), spent(root)) == ((9, 0, 16), (13, 0, 27), (13, 0, 47))
    account.right()


def test_usage_keeps_both_and_sums_up_by_the_first(account: Account, work: Work) -> None:
    root, tool = account.key(scopes=MAY), factories.tool()
    child = delegated(root, end_user="customer-7")
    assert delegated(account.session).submit(tool, end_user="somebody").data["end_user"] == "somebody"
    made = child.submit(tool, end_user="another").data
    assert (made["api_key_id"], made["end_user"]) == (child.id, "customer-7")
    root.submit(tool)
    for _ in range(3):
        work.end(cost=3)

    def groups(by: str) -> dict[str | None, int]:
        found = account.session("GET", f"/usage/summary?group_by={by}").data["groups"]
        return {group["key"]: group["tokens_used"] for group in found}

    for _ in range(2):
        assert groups("api_key_root")[root.id] == 6
        assert (groups("api_key")[root.id], groups("api_key")[child.id], len(groups("api_key_root"))) == (3, 3, 2)
        rolled_up()
    assert {entry["api_key_id"] for entry in account.session("GET", "/usage").data} >= {root.id, child.id}


def test_revoking_a_key_revokes_what_comes_from_it(account: Account) -> None:
    root, other, tool = account.key(scopes=MAY), account.key(scopes=MAY), factories.tool()
    child = delegated(root, scopes=MAY)
    grandchild, cousin = delegated(child), delegated(other)
    assert grandchild.submit(tool).status == 202
    account.revoke(root)
    for key in (root, child, grandchild):
        assert key("GET", "/users/me").refusal == (401, "token_revoked")
    assert cousin("GET", "/users/me").status == 200
    account.right()


def test_a_child_alone_can_be_revoked(account: Account) -> None:
    root = account.key(scopes=MAY)
    child, sibling = delegated(root), delegated(root)
    account.revoke(child)
    assert child("GET", "/users/me").refusal == (401, "token_revoked")
    assert [key("GET", "/users/me").status for key in (root, sibling)] == [200, 200]


def test_a_child_of_a_revoked_key_stores_nothing(account: Account) -> None:
    """The parent is revoked between the child's check and its row; or before the child itself is stored."""
    root, tool = account.key(50, scopes=MAY), factories.tool()
    child = delegated(root)
    parent, caller, once = root.caller, child.caller, [lambda: account.revoke(root)]
    with (
        failpoints.calling("web.before_commit", lambda: once and once.pop()()),
        pytest.raises(TokenRevoked),
    ):
        invocations.submit(caller, tool.slug, factories.order())
    with pytest.raises(TokenRevoked):
        delegation.delegate(parent, Delegation(10, 60))
    assert account.session("GET", "/invocations").data == []
    account.right()


def test_it_ends_with_the_key_that_made_it(account: Account) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=100)
    root = account.key(scopes=MAY, expires_at=ends.isoformat())
    shown = asked(root, expires_in=86_400).data
    assert datetime.fromisoformat(shown["expires_at"]) == ends
    child = Key(account, shown["id"], shown["key"])
    plain(text("update api_keys set expires_at = now() where is_delegated"), {})
    wipe()
    assert child("GET", "/users/me").refusal == (401, "token_revoked")


def test_it_has_no_more_than_the_key_that_made_it(account: Account) -> None:
    mine, other = factories.tool(), factories.tool()
    root = account.key(scopes=["invocations:write", "keys:delegate"], tools=[mine.slug], rate_limit_per_minute=2)
    assert asked(root, scopes=["usage:read"]).refusal == (403, "scope_missing")
    assert asked(root, scopes=["admin"]).refusal == (422, "validation_failed")
    assert asked(root, tools=[other.slug]).body["errors"][0]["pointer"] == "/tools/0"
    child = delegated(root)
    assert child("GET", "/users/me").data["credential"]["scopes"] == ["invocations:write"]
    assert asked(child).refusal == (403, "scope_missing")
    assert child.submit(other).refusal == (404, "not_found")
    assert [child.submit(mine).status, root.submit(mine).status, child.submit(mine).status] == [202, 202, 429]


def test_an_end_user_stays(account: Account) -> None:
    root = account.key(scopes=MAY)
    child = delegated(root, scopes=MAY, end_user="ada")
    assert asked(child, end_user="eve").body["errors"][0]["pointer"] == "/end_user"
    assert asked(child).data["end_user"] == asked(child, end_user="ada").data["end_user"] == "ada"


def test_a_line_of_keys_has_an_end(account: Account) -> None:
    key = account.key(scopes=MAY)
    for _ in range(delegation.MAX_DEPTH):
        key = delegated(key, scopes=MAY)
    assert asked(key).refusal == (409, "conflict")
    assert key.submit(factories.tool()).status == 202
    account.right()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("tokens", 0), ("tokens", None), ("tokens", 2**53), ("expires_in", 0), ("expires_in", 86_401),
        ("expires_in", True), ("scopes", []), ("scopes", ["everything"]), ("tools", []), ("tools", ["nobody-has-this"]),
        ("end_user", ""), ("end_user", "x" * 129), ("end_user", "a\u0000b"), ("metadata", {"k": 1}),
        ("metadata", {str(n): "" for n in range(17)}), ("key", "jh_"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(account: Account, name: str, wrong: Any) -> None:
    answer = asked(account.session, **{name: wrong})
    assert answer.refusal == (422, "validation_failed")
    assert answer.body["errors"][0]["pointer"].startswith(f"/{name}")


def test_who_may(account: Account) -> None:
    assert asked(account.key()).refusal == (403, "scope_missing"), "not without being asked for"
    assert "keys:delegate" not in account.listed(account.key())["scopes"]
    child = delegated(account.session)
    assert child.submit(factories.tool()).status == 202
    assert account.http.post("/api/v1/keys/delegate", json={"tokens": 1, "expires_in": 1}).status_code == 401
    stranger = joined(account.http, factories.customer(100))
    assert stranger.session("DELETE", f"/users/me/api-keys/{child.id}").refusal == (404, "not_found")
    assert child("GET", "/users/me").status == 200


def test_so_many_are_alive_at_once(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delegation, "MAX_ALIVE", 5)
    caller = account.key(scopes=MAY).caller

    def makes(_: int) -> bool:
        try:
            delegation.delegate(caller, Delegation(10, 60))
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(makes, range(10))) == 5
    plain(text("update api_keys set expires_at = now() where is_delegated"), {})
    assert makes(0), "those that have ended do not count"


def test_rows_of_keys_that_ended_are_removed(account: Account, work: Work) -> None:
    """Usage stays, and so does what it counts in the first key's allowance, also after a wipe."""
    root, tool = account.key(40, scopes=MAY), factories.tool()
    child, alive = delegated(root), delegated(root)
    child.submit(tool)
    work.end(cost=7)
    of_child = {"id": child.id}
    plain(text("update api_keys set expires_at = now() - interval '28 days' where id = cast(:id as uuid)"), of_child)
    assert delegation.remove_old() == 0
    plain(text("update api_keys set expires_at = now() - interval '30 days' where id = cast(:id as uuid)"), of_child)
    assert delegation.remove_old() == 1
    for _ in range(2):
        wipe()
        assert child("GET", "/users/me").refusal in ((401, "unauthenticated"), (401, "token_revoked"))
        assert spent(root) == (7, 0, 33)
        budgets.rebuild(account.customer.user_id, account.customer.period_id)
        assert fields(account)[f"k:{root.id}"] == "total,0,7,0"
        account.right()
        rolled_up()
    assert alive.submit(tool).status == 202
    with db.snapshot() as session:
        assert session.scalar(text("select count(*) from api_key_secrets")) == 2
