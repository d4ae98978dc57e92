"""Deleting an account: access ends at once, the person is forgotten, and what was billed stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql as composed

from common import invocations, subscriptions
from common.errors import Conflict, TokenRevoked
from common.identity import accounts
from common.identity.audit import OPERATOR, Actor
from common.invocations import ClaimOptions
from common.kit.redis import Client
from common.operations import account_deletion, ledger
from tests import factories
from tests.accounts.conftest import Mailbox, one, text_of
from tests.accounts.people import PASSWORD, Api, Person, Session, code

Sql = psycopg.Connection[Any]
Offer = Callable[..., str]


def delete(session: Session, password: str = PASSWORD) -> Any:
    return session.api("DELETE", "/users/me", session.access, json={"password": password})


def gone(session: Session) -> None:
    answer = delete(session)
    assert (answer.status_code, answer.content) == (204, b""), answer.text


def submit(session: Session, tool: str, **body: Any) -> UUID:
    answer = session.api(
        "POST", f"/tools/{tool}/invoke", session.access, json={"input": {"text": "a secret text"}, **body}
    )
    assert answer.status_code == 202, answer.text
    return UUID(answer.json()["data"]["id"])


@pytest.fixture
def subscriber(api: Api) -> Session:
    """Logged in, and on the free plan."""
    session = api.person().login()
    assert api("POST", "/subscriptions/subscribe", session.access, json={"plan": "free"}).status_code == 201
    return session


# -- at once ---------------------------------------------------------------------------------------------------


def test_everything_that_gives_access_ends_at_once(api: Api, other: Api, redis: Client, sql: Sql) -> None:
    person = api.person()
    key, elsewhere, session = person.key()["key"], person.login(), person.login()
    api("POST", "/subscriptions/subscribe", session.access, json={"plan": "pro"})
    endpoint = api("POST", "/webhooks", session.access, json={"url": "http://127.0.0.1:9/hook"})
    secret = api("GET", "/webhooks/default-secret", session.access)
    assert [endpoint.status_code, secret.status_code] == [201, 200]
    assert [other.me(each) for each in (key, elsewhere.access, session.access)] == [200] * 3

    gone(session)

    def refused() -> None:
        answers = [code(other("GET", "/users/me", each)) for each in (key, elsewhere.access, session.access)]
        assert answers == [(401, "token_revoked")] * 3

    refused()
    redis.flushall()
    refused()
    assert code(elsewhere.refresh()) == (401, "token_revoked")
    assert code(api.login(person.email)) == (401, "invalid_credentials")
    assert one(sql, "select count(*) from webhook_endpoints") == 0
    assert one(sql, "select count(*) from webhook_default_secrets") == 0
    assert one(sql, "select status from subscriptions") == "canceled"
    assert one(sql, "select access_ended_at is not null from periods")


def test_the_password_is_asked_for_and_tries_are_counted(api: Api) -> None:
    person = api.person()
    session = person.login()
    assert code(api("DELETE", "/users/me", session.access)) == (415, "unsupported_media_type")
    assert code(api("DELETE", "/users/me", session.access, json={})) == (422, "validation_failed")
    assert code(delete(session, "not the password")) == (403, "forbidden")
    assert [api.me(session.access), api.login(person.email).status_code] == [200, 200]
    tries = [code(delete(session, "not the password"))[0] for _ in range(10)]
    assert tries == [403] * 9 + [429]
    assert code(delete(session)) == (429, "too_many_attempts")


def test_a_password_that_was_changed_meanwhile_deletes_nothing(db: None) -> None:
    made = factories.user()
    seen, counter = accounts.confirmed(made.user_id, factories.PASSWORD)
    accounts.set_password(made.user_id, "another quiet river", actor=OPERATOR)
    with pytest.raises(Conflict, match=r"concurrently\. Nothing was deleted"):
        account_deletion.close(seen, actor=OPERATOR, counter=counter)
    assert accounts.get(made.user_id).deleted_at is None


# -- forgotten -------------------------------------------------------------------------------------------------


def holding(sql: Sql, text: str) -> set[str]:
    """The tables that have a row with that text in it."""
    tables = [
        name
        for (name,) in sql.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')"
            " and not relispartition"
        )
    ]

    def found() -> Iterator[str]:
        for table in tables:
            query = composed.SQL("select exists (select from {} t where strpos(t::text, %s) > 0)")
            row = sql.execute(query.format(composed.Identifier(table)), (text,)).fetchone()
            if row and row[0]:
                yield table

    return set(found())


def test_name_and_address_are_forgotten_in_every_table(
    api: Api, mailbox: Mailbox, sql: Sql, offer: Offer, other: Api
) -> None:
    address, name, agent = "Very.Unique@Example.com", "Augusta Ada King", "Difference-Engine/2"
    body = {"email": address, "password": PASSWORD, "name": name}
    assert api("POST", "/auth/register", json=body).status_code == 201
    logged_in = api("POST", "/auth/login", json={"email": address, "password": PASSWORD}, headers={"User-Agent": agent})
    session = Session(api, logged_in.json()["data"])
    api("POST", "/auth/password-reset", json={"email": address.upper()})
    mailbox.deliver()
    api("POST", "/subscriptions/subscribe", session.access, json={"plan": "free"})
    submit(session, offer(), webhook_url="http://127.0.0.1:9/very-unique")
    assert holding(sql, name) == {"users"}
    assert holding(sql, address) == {"users", "mails"}
    assert holding(sql, agent) == {"refresh_families"}
    assert holding(sql, "a secret text") == {"invocations"}

    gone(session)

    (farewell,) = mailbox.deliver()
    assert (farewell["To"], farewell["Subject"]) == (address, "Your account was deleted")
    assert "register again" in text_of(farewell)
    assert account_deletion.finish() == 1
    for forgotten in (address, address.lower(), address.upper(), name, agent, "a secret text", "very-unique"):
        assert holding(sql, forgotten) == set(), forgotten
    user_id = one(sql, "select id from users where deleted_at is not null")
    kept = [one(sql, f"select count(*) from {table}") for table in ("grants", "usage_logs", "periods", "invocations")]
    assert kept == [1, 1, 1, 1]
    assert one(sql, "select user_id from usage_logs") == user_id
    assert ledger.verify().differences == ()


def test_the_address_can_be_registered_again_and_finds_nothing_of_the_old_account(api: Api, sql: Sql) -> None:
    first = api.person("again@example.com")
    session = first.login()
    api("POST", "/subscriptions/subscribe", session.access, json={"plan": "free"})
    key = first.key()["key"]
    gone(session)

    second = api.person("Again@example.com", "an entirely different one")
    assert second.id != first.id
    assert code(api.login("again@example.com")) == (401, "invalid_credentials")
    new = second.login()
    assert api("GET", "/subscriptions/current", new.access).status_code == 404
    assert api("GET", "/users/me/api-keys", new.access).json()["data"] == []
    assert len(api("GET", "/users/me/sessions", new.access).json()["data"]) == 1
    assert [api.me(key), api.me(session.access), api.me(new.access)] == [401, 401, 200]
    placeholder = one(sql, "select email from users where deleted_at is not null")
    assert placeholder == f"{first.id}@deleted.invalid"
    assert code(api.login(placeholder, "-")) == (401, "invalid_credentials")
    taken = {"email": placeholder, "password": PASSWORD, "name": "x"}
    assert api("POST", "/auth/register", json=taken).status_code in (409, 422)


def test_links_that_were_mailed_before_open_nothing(api: Api, mailbox: Mailbox) -> None:
    person = api.person()
    verification = mailbox.token("verify-email")
    api("POST", "/auth/password-reset", json={"email": person.email})
    reset = mailbox.token("password-reset")
    gone(person.login())
    assert code(api("POST", f"/auth/verify-email/{verification}")) == (400, "invalid_link")
    answer = api("POST", f"/auth/password-reset/{reset}", json={"password": "an entirely different one"})
    assert code(answer) == (400, "invalid_link")


# -- open work -------------------------------------------------------------------------------------------------


def test_queued_work_is_canceled_and_running_work_is_settled(subscriber: Session, sql: Sql, offer: Offer) -> None:
    tool = offer()
    ids = [submit(subscriber, tool, webhook_url="http://127.0.0.1:9/hook") for _ in range(3)]
    task = factories.taken(worker := factories.worker())
    period, held = one(sql, "select id from periods"), one(sql, "select sum(held) from queue")
    assert held == 150

    gone(subscriber)

    states = dict(sql.execute("select id, status from invocations").fetchall())
    assert states == {each: "open" if each == task.id else "canceled" for each in ids}
    assert account_deletion.finish() == 0, "one is still running"
    pending = "select count(*) from deliveries where status = 'pending'"
    assert one(sql, pending) == 0
    invocations.complete(task, factories.GOOD, ClaimOptions(worker.worker, take_next=False))
    assert one(sql, "select charged from invocations where status = 'succeeded'") == 1
    assert one(sql, pending) == 0, "its end is told to nobody"
    assert one(sql, "select sum(tokens_used) from usage_logs where period_id = %s", period) == 1
    assert ledger.verify().differences == ()
    assert account_deletion.finish() == 1
    assert one(sql, "select count(*) from invocations where input is not null or output is not null") == 0
    assert one(sql, "select forgotten_at is not null from users where deleted_at is not null")
    assert account_deletion.finish() == 0


def test_what_goes_back_to_the_queue_is_not_tried_again(subscriber: Session, sql: Sql, offer: Offer) -> None:
    submit(subscriber, offer())
    task = factories.taken(worker := factories.worker())
    gone(subscriber)
    only = ClaimOptions(worker.worker, take_next=False)
    assert invocations.retry_later(task, factories.BAD, 30.0, only) is None
    assert account_deletion.finish() == 1
    assert one(sql, "select status from invocations") == "canceled"
    assert ledger.verify().differences == ()


def test_a_process_that_dies_after_the_commit_leaves_the_rest_to_the_sweep(
    subscriber: Session, sql: Sql, offer: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(subscriber, offer())
    seen = accounts.get(UUID(one(sql, "select user_id::text from subscriptions")))
    monkeypatch.setattr(account_deletion, "CANCEL_SECONDS", 0.0)
    account_deletion.close(seen, actor=Actor("session", seen.id))
    assert one(sql, "select status from invocations") == "open"
    assert account_deletion.finish() == 1
    assert one(sql, "select status from invocations") == "canceled"


def test_many_payloads_are_dropped_over_several_runs(
    subscriber: Session, sql: Sql, offer: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = offer()
    for _ in range(5):
        submit(subscriber, tool)
    gone(subscriber)
    user_id = UUID(one(sql, "select id::text from users where deleted_at is not null"))
    assert not invocations.drop_payloads_of(user_id, seconds=-1.0), "no time, nothing done"
    assert invocations.drop_payloads_of(user_id, batch=2)
    assert one(sql, "select count(*) from invocations where input is not null") == 0


# -- admins ----------------------------------------------------------------------------------------------------


def admin(api: Api) -> Person:
    person = api.person()
    accounts.administer(person.uuid, actor=OPERATOR, role="admin")
    return person


def test_the_last_admin_stays_also_when_the_last_two_race(api: Api) -> None:
    one_, two = admin(api), admin(api)
    sessions = [one_.login(), two.login()]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda s: Session(Api(s.api.base), s.pair), sessions))
        statuses = sorted(answer.status_code for answer in pool.map(delete, answers))
    assert statuses == [204, 409]
    (left,) = (session for session in sessions if api.me(session.access) == 200)
    assert code(delete(left)) == (409, "conflict")
    admin(api)
    gone(left)


def test_an_admin_sees_what_is_left_and_cannot_bring_it_back(api: Api, subscriber: Session) -> None:
    who = api("GET", "/users/me", subscriber.access).json()["data"]["id"]
    by = admin(api).login()
    assert api("GET", f"/admin/users/{who}", by.access).json()["data"]["deleted_at"] is None
    gone(subscriber)
    shown = api("GET", f"/admin/users/{who}", by.access).json()["data"]
    assert (shown["email"], shown["name"], shown["is_active"]) == (f"{who}@deleted.invalid", "", False)
    assert (shown["email_verified"], shown["plan"], shown["deleted_at"] is None) == (False, None, False)
    for change in ({"is_active": True}, {"role": "admin"}):
        assert code(api("PATCH", f"/admin/users/{who}", by.access, json=change)) == (409, "conflict")
    entries = api("GET", "/admin/audit", by.access, params={"action": "user.delete"}).json()["data"]
    assert [(each["target_id"], each["actor_id"], each["before"], each["after"]) for each in entries] == [
        (who, who, {"role": "user"}, None)
    ]


# -- races -----------------------------------------------------------------------------------------------------


def test_nothing_that_was_under_way_outlives_the_account(api: Api, other: Api, sql: Sql) -> None:
    """Requests whose credentials were checked before the deletion, and whose work comes after it."""
    person = api.person()
    sessions = [person.login() for _ in range(6)]
    requests = [
        ("POST", "/users/me/api-keys", {"name": "late"}),
        ("POST", "/webhooks", {"url": "http://127.0.0.1:9/hook"}),
        ("POST", "/subscriptions/subscribe", {"plan": "free"}),
        ("PATCH", "/users/me", {"name": "A late name"}),
        ("POST", "/auth/login", {"email": person.email, "password": PASSWORD}),
    ]

    def send(number: int) -> int:
        method, path, body = requests[number % len(requests)]
        session = sessions[number % len(sessions)]
        return Api((api, other)[number % 2].base)(method, path, session.access, json=body).status_code

    with ThreadPoolExecutor(12) as pool:
        before = [pool.submit(send, number) for number in range(20)]
        deleting = pool.submit(delete, Session(Api(api.base), sessions[0].pair))
        after = [pool.submit(send, number) for number in range(20)]
        assert deleting.result().status_code == 204
        statuses = {each.result() for each in before + after}
    assert not {status for status in statuses if status >= 500 and status != 503}
    assert one(sql, "select count(*) from subscriptions where status = 'active'") == 0
    assert one(sql, "select count(*) from api_keys where revoked_at is null") == 0
    assert one(sql, "select count(*) from webhook_endpoints") == 0
    assert one(sql, "select count(*) from refresh_families where revoked_at is null") == 0
    assert sql.execute("select name, is_active from users").fetchall() == [("", False)]


def test_who_waited_for_the_lock_is_refused(db: None) -> None:
    """A subscription, an endpoint and a name for an account that was deleted meanwhile."""
    made = factories.user()
    account_deletion.close(accounts.get(made.user_id), actor=OPERATOR)
    with pytest.raises(TokenRevoked, match="was deleted"):
        subscriptions.subscribe(made.user_id, "free")
    with pytest.raises(Conflict, match="deleted by its owner"):
        account_deletion.close(accounts.get(made.user_id), actor=OPERATOR)
