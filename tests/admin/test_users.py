"""Managing accounts as an admin."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from dev.platform import Platform
from tests.admin.conftest import Admin
from tests.client import PASSWORD, Client


def test_accounts_are_found_by_text_role_state_and_plan(hub: Platform, admin: Admin, client: Client) -> None:
    other = Client(hub.url, f"100%_{uuid4().hex[:12]}@example.com").join("pro")

    def found(**params: object) -> list[str]:
        return [user["email"] for user in admin.data("GET", "/admin/users", params=params)]

    assert found() == [other.email, client.email, admin.email]
    assert found(q="100%_") == [other.email]
    assert found(q="_") == [other.email], "wildcards of LIKE are matched literally"
    assert found(q=client.email.upper()) == [client.email]
    assert found(role="admin") == [admin.email]
    assert found(plan="pro") == [other.email]
    assert found(is_active="false") == []
    page = admin.call("GET", "/admin/users", params={"limit": 2}).json()
    assert [u["email"] for u in page["data"]] == [other.email, client.email]
    assert found(cursor=page["meta"]["next_cursor"]) == [admin.email]
    admin.call("GET", "/admin/users", 422, params={"role": "root"})
    shown = admin.data("GET", f"/admin/users/{admin.id}")
    assert (shown["role"], shown["plan"], "password_hash" in shown) == ("admin", None, False)


def test_disabling_and_demoting_count_at_once(hub: Platform, admin: Admin, client: Client) -> None:
    who = client.id
    path = f"/admin/users/{who}"
    promoted = admin.data("PATCH", path, json={"role": "admin"}, headers={"X-Request-ID": "promotion-1"})
    assert promoted["role"] == "admin"
    client.call("GET", "/admin/users")
    admin.data("PATCH", path, json={"role": "user"})
    client.call("GET", "/admin/users", 403)
    assert admin.data("PATCH", path, json={"is_active": False})["is_active"] is False
    client.call("GET", "/users/me", 401)
    client.call("POST", "/auth/login", 403, json={"email": client.email, "password": PASSWORD})
    admin.data("PATCH", path, json={"is_active": True})
    client.call("POST", "/auth/login", json={"email": client.email, "password": PASSWORD})

    log = [e for e in admin.done_to(who, target_type="user") if e["action"] == "user.update"]
    told = [(e["before"], e["after"]) for e in log]
    assert told[:3] == [
        ({"role": "user"}, {"role": "admin"}),
        ({"role": "admin"}, {"role": "user"}),
        ({"is_active": True}, {"is_active": False}),
    ]
    first = log[0]
    assert (first["actor_id"], first["actor_kind"]) == (admin.id, "session")
    assert (first["request_id"], first["ip"]) == ("promotion-1", "127.0.0.1")


@pytest.mark.parametrize("change", [{"role": "user"}, {"is_active": False}])
def test_the_last_admin_stays_also_when_the_last_two_race(
    hub: Platform, admin: Admin, change: dict[str, object]
) -> None:
    def refused(answer: int, path: str) -> None:
        assert admin.call("PATCH", path, answer, json=change).json()["code"] == "conflict"

    refused(409, f"/admin/users/{admin.id}")
    other = Admin(hub.url).join()

    def drop(pair: tuple[Admin, Admin]) -> int:
        by, whom = pair
        return by.call("PATCH", f"/admin/users/{whom.id}", (200, 401, 403, 409), json=change).status_code

    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(pool.map(drop, [(admin, other), (other, admin)]))
    assert statuses[0] == 200
    assert statuses[1] != 200
    left = [who for who in (admin, other) if who.call("GET", "/admin/users", (200, 401, 403)).status_code == 200]
    assert len(left) == 1


def test_self_service_and_surplus_fields_are_refused(admin: Admin, client: Client) -> None:
    who, before = client.id, client.tokens()["granted"]
    client.call("PATCH", f"/admin/users/{who}", 403, json={"role": "admin"})
    client.call("POST", f"/admin/users/{who}/grants", 403, json={"tokens": 1, "reason": "please"})
    for wrong in ({"email": "x@example.com"}, {"role": "root"}, {"is_active": "no"}, {"role": None}):
        admin.call("PATCH", f"/admin/users/{who}", 422, json=wrong)
    admin.call("PATCH", f"/admin/users/{uuid4()}", 404, json={"role": "admin"})
    assert client.data("GET", "/users/me")["role"] == "user"
    assert client.tokens()["granted"] == before


def test_grants_move_what_is_free_and_nothing_else(hub: Platform, admin: Admin, client: Client) -> None:
    who = client.id
    path = f"/admin/users/{who}/grants"
    made = admin.call("POST", path, 201, json={"tokens": 500, "reason": "goodwill"})
    grant = made.json()["data"]
    assert (grant["tokens"], grant["reason"], grant["user_id"], grant["actor_id"]) == (500, "goodwill", who, admin.id)
    assert admin.data("GET", made.headers["Location"].partition("/api/v1")[2]) == grant
    assert client.tokens()["granted"] == 10_500
    assert admin.call("POST", path, 409, json={"tokens": -10_501, "reason": "-"}).json()["code"] == "conflict"
    admin.call("POST", path, 201, json={"tokens": -10_500, "reason": "all of it"})
    assert client.tokens()["available"] == 0
    assert [e["after"]["tokens"] for e in admin.done_to(who) if e["action"] == "user.grant"] == [500, -10_500]
    for wrong in ({"tokens": 0, "reason": "-"}, {"tokens": 1}, {"tokens": 1.5, "reason": "-"}, {"tokens": 2**53}):
        admin.call("POST", path, 422, json=wrong)
    assert admin.call("POST", path, 201, json={"tokens": 2**53 - 1, "reason": "as much as there is"})
    admin.call("POST", path, 409, json={"tokens": 1, "reason": "one more than can be counted"})
    admin.call("POST", f"/admin/users/{admin.id}/grants", 409, json={"tokens": 1, "reason": "no period"})


def test_what_is_held_cannot_be_taken_back(hub: Platform, admin: Admin, client: Client, offer: object) -> None:
    slug = offer("/hang", timeout_seconds=30)  # type: ignore[operator]
    who = client.id
    job = client.invoke(slug, {"text": "x"})
    held = client.tokens()["held"]
    assert held == 50
    admin.call("POST", f"/admin/users/{who}/grants", 409, json={"tokens": -(10_000 - held + 1), "reason": "-"})
    admin.call("POST", f"/admin/users/{who}/grants", 201, json={"tokens": -(10_000 - held), "reason": "-"})
    [listed] = admin.data("GET", "/admin/invocations", params={"user": who, "status": ["queued", "running"]})
    assert (listed["id"], listed["user_id"]) == (job["id"], who)
    assert admin.data("GET", "/admin/invocations", params={"user": admin.id}) == []
    client.invocations.cancel(job["id"])
    assert client.ended(job["id"])["status"] == "canceled"


def test_a_grant_asked_for_twice_under_one_key_is_one(admin: Admin, client: Client) -> None:
    who, before = client.id, client.tokens()["granted"]
    path, body = f"/admin/users/{who}/grants", {"tokens": 500, "reason": "for the trouble"}
    key = {"Idempotency-Key": '"grant-1"'}
    first = admin.call("POST", path, 201, json=body, headers=key)
    assert "Idempotent-Replayed" not in first.headers
    again = admin.call("POST", path, 201, json=dict(reversed(body.items())), headers={"Idempotency-Key": "grant-1"})
    assert (again.json(), again.headers["Location"]) == (first.json(), first.headers["Location"])
    assert again.headers["Idempotent-Replayed"] == "true"
    assert client.tokens()["granted"] == before + 500
    assert len(admin.done_to(who, action="user.grant")) == 1

    for other in ({**body, "tokens": 501}, {**body, "reason": "another"}):
        refused = admin.call("POST", path, 422, json=other, headers=key).json()
        assert refused["code"] == "idempotency_key_reused"
    admin_id = admin.id
    admin.call("POST", "/subscriptions/subscribe", 201, json={"plan": "free"})
    admin.call("POST", f"/admin/users/{admin_id}/grants", 422, json=body, headers=key)
    admin.call("POST", path, 201, json=body, headers={"Idempotency-Key": "grant-2"})
    admin.call("POST", path, 201, json=body)
    assert client.tokens()["granted"] == before + 1500


def test_a_refused_grant_leaves_its_key_free(admin: Admin, client: Client) -> None:
    who, key = client.id, {"Idempotency-Key": "later"}
    path, body = f"/admin/users/{who}/grants", {"tokens": -10_001, "reason": "too much"}
    admin.call("POST", path, 409, json=body, headers=key)
    admin.call("POST", path, 201, json={**body, "tokens": -1}, headers=key)
    assert client.tokens()["granted"] == 9_999


def test_racing_grants_under_one_key_are_one(admin: Admin, client: Client) -> None:
    who = client.id
    body, key = {"tokens": 7, "reason": "a race"}, {"Idempotency-Key": "race"}

    def ask(_: int) -> tuple[int, str]:
        made = admin.http.post(f"{admin.api}/admin/users/{who}/grants", json=body, headers=key)
        return made.status_code, made.json()["data"]["id"]

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(ask, range(8)))
    assert len(answers) == 1
    assert client.tokens()["granted"] == 10_007


def test_a_key_of_a_submit_is_not_one_of_a_grant(admin: Admin, client: Client, offer: Callable[..., str]) -> None:
    who, key = client.id, {"Idempotency-Key": "both"}
    admin.call("POST", "/subscriptions/subscribe", 201, json={"plan": "free"})
    admin.invoke(offer(), {"text": "x"}, idempotency_key="both")
    body = {"tokens": 5, "reason": "-"}
    assert admin.call("POST", f"/admin/users/{who}/grants", 422, json=body, headers=key).json()["code"] == (
        "idempotency_key_reused"
    )


def test_where_a_key_would_be_ignored_it_is_refused(admin: Admin, client: Client) -> None:
    who, key = client.id, {"Idempotency-Key": "x"}
    for method, path, body in (
        ("GET", "/users/me", None),
        ("PATCH", f"/admin/users/{who}", {"is_active": True}),
        ("POST", "/invocations/batch", {"items": [{"tool": "x", "input": 1}]}),
        ("DELETE", f"/admin/tools/{who}", None),
    ):
        refused = admin.call(method, path, 400, json=body, headers=key).json()
        assert refused["code"] == "invalid_header", path
    for wrong in ("", "x" * 256, "ü".encode()):
        admin.call("POST", f"/admin/users/{who}/grants", 400, json={"tokens": 1, "reason": "-"},
                   headers={"Idempotency-Key": wrong})  # fmt: skip
    assert client.tokens()["granted"] == 10_000
