"""Recovery by mail: a link for the owner of the mailbox, and no information for others."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pytest

from common.identity import accounts
from common.identity.audit import OPERATOR
from common.notifications import mails
from common.settings import Settings
from tests.accounts.conftest import PUBLIC_URL, Mailbox, one, text_of
from tests.accounts.people import PASSWORD, Api, Person, code
from web.app import create_app

Sql = psycopg.Connection[Any]
NEW = "a new and better pass phrase"


def ask(api: Api, email: str, **kwargs: Any) -> int:
    return api("POST", "/auth/password-reset", json={"email": email}, **kwargs).status_code


def use(api: Api, token: str, password: str = NEW) -> int:
    return api("POST", f"/auth/password-reset/{token}", json={"password": password}).status_code


@pytest.fixture
def person(api: Api, mailbox: Mailbox) -> Person:
    """A user whose verification mail has been delivered."""
    person = api.person("Owner@example.com")
    mailbox.deliver()
    return person


# -- password reset ------------------------------------------------------------------------------------------


def test_the_mail(api: Api, person: Person, mailbox: Mailbox) -> None:
    """The link uses our URL whatever the request's Host, and goes to the account's address in its stored spelling."""
    assert ask(api, "OWNER@EXAMPLE.COM", headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"}) == 202
    (mail,) = mailbox.deliver()
    html = mail.get_body(("html",))
    assert html is not None
    assert (mail["To"], mail["Subject"]) == ("Owner@example.com", "Reset your password")
    links = [re.findall(r"https?://\S+/auth/password-reset/[\w-]{43}", text) for text in (text_of(mail), str(html))]
    assert links[0] == links[1] != []
    assert links[0][0].startswith(f"{PUBLIC_URL}/api/v1/")
    assert "evil" not in mail.as_string()


def test_a_reset_sets_the_password_and_ends_every_session(
    api: Api, other: Api, person: Person, mailbox: Mailbox
) -> None:
    sessions = [person.login(), person.login()]
    assert [other.me(session.access) for session in sessions] == [200, 200]
    ask(api, person.email)
    assert [other.me(session.access) for session in sessions] == [200, 200], "the request changes nothing"
    answer = api("POST", f"/auth/password-reset/{mailbox.token('password-reset')}", json={"password": NEW})
    assert (answer.status_code, answer.content) == (204, b"")
    assert [other.me(session.access) for session in sessions] == [401, 401]
    assert [session.refresh().status_code for session in sessions] == [401, 401]
    assert [api.login(person.email, text).status_code for text in (PASSWORD, NEW)] == [401, 200]
    (notice,) = mailbox.deliver()
    assert notice["Subject"] == "Your password was changed"


def test_a_link_works_once(api: Api, person: Person, mailbox: Mailbox) -> None:
    ask(api, person.email)
    token = mailbox.token("password-reset")
    with ThreadPoolExecutor(5) as pool:
        statuses = sorted(pool.map(lambda n: use(Api(api.base), token, f"{NEW} {n}"), range(5)))
    assert statuses == [204, 400, 400, 400, 400]
    assert use(api, token) == 400


def test_a_link_works_for_half_an_hour(api: Api, person: Person, mailbox: Mailbox, sql: Sql) -> None:
    ask(api, person.email)
    token = mailbox.token("password-reset")
    assert one(sql, "select extract(epoch from expires_at - created_at)::int from password_resets") == 30 * 60
    sql.execute("update password_resets set expires_at = now()")
    answer = api("POST", f"/auth/password-reset/{token}", json={"password": NEW})
    assert code(answer) == (400, "invalid_link")


def test_links_that_are_void(api: Api, person: Person, mailbox: Mailbox) -> None:
    """Superseded by a newer link, older than the password, altered, another account's, or of a disabled account."""
    ask(api, person.email)
    first = mailbox.token("password-reset")
    ask(api, person.email)
    second = mailbox.token("password-reset")
    assert use(api, first) == 400
    assert [use(api, bad) for bad in (second[:-1], second + "x", "x", "%00", "x" * 3000)] == [400] * 3 + [404, 400]
    accounts.set_password(person.uuid, "set by an operator", actor=OPERATOR)
    assert use(api, second) == 400
    mailbox.deliver()
    ask(api, person.email)
    third = mailbox.token("password-reset")
    accounts.administer(person.uuid, actor=OPERATOR, is_active=False)
    assert use(api, third) == 400


def test_a_weak_password_does_not_use_the_link_up(api: Api, person: Person, mailbox: Mailbox) -> None:
    ask(api, person.email)
    token = mailbox.token("password-reset")
    assert code(api("POST", f"/auth/password-reset/{token}", json={"password": "qwertyuiop"})) == (422, "weak_password")
    assert use(api, token) == 204


def test_nobody_learns_who_has_an_account(api: Api, person: Person, mailbox: Mailbox, sql: Sql) -> None:
    """The same response after the same work: one queued mail, whoever it is for."""
    accounts.administer(UUID(api.person("disabled@example.com").id), actor=OPERATOR, is_active=False)
    mailbox.deliver()
    answers = []
    for email in (person.email, "nobody@example.com", "disabled@example.com"):
        answer = api("POST", "/auth/password-reset", json={"email": email})
        answers.append((answer.status_code, answer.text, set(answer.headers)))
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == 202
    assert one(sql, "select count(*) from mails where due_at is not null") == 3
    assert [mail["To"] for mail in mailbox.deliver()] == [person.email]
    outcomes = sql.execute("select outcome from mails where template = 'password_reset' order by outcome").fetchall()
    assert outcomes == [("nobody",), ("nobody",), ("sent",)]


def test_no_token_is_kept(api: Api, person: Person, mailbox: Mailbox, sql: Sql) -> None:
    ask(api, person.email)
    token = mailbox.token("password-reset")
    rows = sql.execute("select password_resets::text from password_resets union select mails::text from mails")
    assert token not in str(rows.fetchall())


def test_a_network_asks_twenty_times_an_hour(api: Api) -> None:
    assert [ask(api, f"a{n}@example.com") for n in range(21)] == [202] * 20 + [429]
    assert ask(api.at("127.0.0.5"), "a@example.com") == 202


def test_a_mailbox_is_not_flooded_and_its_last_link_stays_good(
    api: Api, person: Person, mailbox: Mailbox, sql: Sql
) -> None:
    """Repeated requests for another's address neither flood the mailbox nor invalidate the owner's link."""
    for n in range(8):
        assert ask(api.at(f"127.0.1.{n + 1}"), person.email) == 202
    sent = mailbox.deliver()
    assert len(sent) == 5
    last = re.findall(r"/password-reset/(\S+)", text_of(sent[-1]))[0]
    assert use(api, last) == 204


def test_a_reset_lets_the_owner_in_past_a_stranger_who_guesses(api: Api, person: Person, mailbox: Mailbox) -> None:
    stranger = api.at("127.0.0.66")

    def guess() -> None:
        while stranger.login(person.email, "a guess in the dark").status_code != 429:
            pass

    guess()
    assert api.login(person.email).status_code == 429
    ask(api, person.email)
    assert use(api, mailbox.token("password-reset")) == 204
    guess()
    assert api.login(person.email, NEW).status_code == 200


@pytest.mark.parametrize("proved", [False, True])
def test_a_reset_lets_the_owner_in_who_guessed_at_home(api: Api, mailbox: Mailbox, proved: bool) -> None:
    """Failures on known networks are reset as well, from wherever the link is opened. (Where the address has never been
    proved, the networks are forgotten too.)
    """
    person, link = api.person(), f"/auth/verify-email/{mailbox.token('verify-email')}"
    assert not proved or api("POST", link).status_code == 204
    person.login()
    while api.login(person.email, "was it this one?").status_code != 429:
        pass
    ask(api, person.email)
    assert use(api.at("127.0.0.7"), mailbox.token("password-reset")) == 204
    assert api.login(person.email, NEW).status_code == 200


# -- the password changed by its owner -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"password": NEW}, (422, "validation_failed")),
        ({"current_password": PASSWORD}, (422, "validation_failed")),
        ({"password": NEW, "current_password": "not this one"}, (403, "forbidden")),
        ({"password": "qwertyuiop", "current_password": PASSWORD}, (422, "weak_password")),
        ({"email": "new@example.com"}, (422, "validation_failed")),
        ({"role": "admin"}, (422, "validation_failed")),
        ({"is_active": False}, (422, "validation_failed")),
        ({"name": None}, (422, "validation_failed")),
        ({"name": "a\nb"}, (422, "validation_failed")),
    ],
)
def test_changes_that_are_refused(api: Api, person: Person, change: dict[str, Any], refusal: tuple[int, str]) -> None:
    session = person.login()
    assert code(api("PATCH", "/users/me", session.access, json=change)) == refusal
    assert api.me(session.access) == 200


def test_a_change_of_password_is_mailed_and_written_down(api: Api, person: Person, mailbox: Mailbox, sql: Sql) -> None:
    change = {"name": "New", "password": NEW, "current_password": PASSWORD}
    changed = api("PATCH", "/users/me", person.login().access, json=change)
    assert (changed.status_code, changed.json()["data"]["name"]) == (200, "New")
    assert [mail["Subject"] for mail in mailbox.deliver()] == ["Your password was changed"]
    query = "select actor_kind, actor_id::text, action, target_id, ip, request_id from audit_log"
    written = sql.execute(query).fetchone()
    assert written == ("session", person.id, "user.password", person.id, "127.0.0.1", changed.headers["X-Request-ID"])
    for statement in ("update audit_log set ip = null", "delete from audit_log", "truncate audit_log"):
        with pytest.raises(psycopg.errors.RestrictViolation):
            sql.execute(statement)


def test_the_current_password_is_not_guessed_with_a_stolen_session(api: Api, person: Person) -> None:
    session = person.login()
    wrong = {"password": NEW, "current_password": "a guess in the dark"}
    statuses = [api("PATCH", "/users/me", session.access, json=wrong).status_code for _ in range(11)]
    assert statuses == [403] * 10 + [429]


# -- verification of the address -----------------------------------------------------------------------------


def test_an_address_is_verified_by_its_mail(api: Api, other: Api, mailbox: Mailbox) -> None:
    person = api.person()
    session = person.login()

    def verified() -> bool:
        return bool(other("GET", "/users/me", session.access).json()["data"]["email_verified"])

    assert not verified()
    token = mailbox.token("verify-email")
    assert api("POST", f"/auth/verify-email/{token}").status_code == 204
    assert verified()
    assert code(api("POST", f"/auth/verify-email/{token}")) == (400, "invalid_link")
    assert api("POST", "/auth/verify-email", json={"email": person.email}).status_code == 202
    assert mailbox.deliver() == [], "the address is verified already"


def test_a_lost_mail_is_sent_again_and_expires(api: Api, mailbox: Mailbox, sql: Sql) -> None:
    person = api.person()
    first = mailbox.token("verify-email")
    for email in (person.email, "nobody@example.com"):
        assert api("POST", "/auth/verify-email", json={"email": email}).status_code == 202
    second = mailbox.token("verify-email")
    assert second != first
    sql.execute("update email_verifications set expires_at = now()")
    assert [api("POST", f"/auth/verify-email/{token}").status_code for token in (first, second)] == [400, 400]


def test_a_reset_proves_the_address_too(api: Api, person: Person, mailbox: Mailbox, sql: Sql) -> None:
    ask(api, person.email)
    use(api, mailbox.token("password-reset"))
    assert one(sql, "select email_verified_at is not null from users")


def test_a_reset_ends_what_somebody_else_may_have_left(api: Api, other: Api, mailbox: Mailbox, sql: Sql) -> None:
    """A person opens an account with another's address; the owner of the address later gets it as if it were new."""
    squatter = api.person("victim@example.com")
    made, session = squatter.key(), squatter.login()
    hook = api("POST", "/webhooks", session.access, json={"url": "http://127.0.0.1:9/hook"}).json()["data"]
    secret = api("GET", "/webhooks/default-secret", made["key"]).json()["data"]["secret"]
    assert other.me(made["key"]) == 200
    mailbox.deliver()
    ask(api, squatter.email)
    assert use(api.at("127.0.0.8"), mailbox.token("password-reset")) == 204

    assert [api.me(made["key"]), other.me(made["key"]), other.me(session.access)] == [401, 401, 401]
    owner = Person(api, squatter.id, squatter.email, NEW).login()
    assert api("GET", "/users/me/api-keys", owner.access).json()["data"] == []
    assert api("GET", f"/webhooks/{hook['id']}", owner.access).json()["data"]["status"] == "disabled"
    assert api("GET", "/webhooks/default-secret", owner.access).json()["data"]["secret"] != secret
    (notice,) = mailbox.deliver()
    assert "existing API keys were revoked" in text_of(notice)
    written = sql.execute("select action, after from audit_log where action = 'user.claim'").fetchall()
    assert written == [("user.claim", {"api_keys_revoked": 1, "webhooks_disabled": 1})]


def test_keys_and_webhooks_outlive_a_reset_of_a_proved_address(api: Api, mailbox: Mailbox) -> None:
    person = api.person()
    api("POST", f"/auth/verify-email/{mailbox.token('verify-email')}")
    key = person.key()["key"]
    hook = api("POST", "/webhooks", key, json={"url": "http://127.0.0.1:9/hook"}).json()["data"]
    mailbox.deliver()
    ask(api, person.email)
    assert use(api, mailbox.token("password-reset")) == 204
    assert api("GET", f"/webhooks/{hook['id']}", key).json()["data"]["status"] == "enabled"
    assert "API keys still work" in text_of(mailbox.deliver()[0])


def test_invoking_waits_for_the_address_where_the_operator_wants_it(
    db: None, mailbox: Mailbox, settings: Settings
) -> None:
    """Cached authorizations reflect the verification from the next request on."""
    client: Any = create_app(replace(settings, email_verification_required=True)).test_client()
    body = {"email": "a@example.com", "password": PASSWORD}
    client.post("/api/v1/auth/register", json={**body, "name": "A"})
    token = client.post("/api/v1/auth/login", json=body).json["data"]["access_token"]

    def invoke() -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"}
        answer = client.post("/api/v1/tools/none/invoke", json={"input": {}}, headers=headers)
        return answer.status_code, answer.json["code"]

    # create_app has set up mail for its own settings: files.
    assert invoke() == (403, "email_not_verified")
    mails.send_due(PUBLIC_URL)
    (file,) = (settings.data_dir / "mail").glob("*.eml")
    link = re.findall(r"/verify-email/([\w-]{43})", file.read_text())[0]
    file.unlink()
    assert client.post(f"/api/v1/auth/verify-email/{link}").status_code == 204
    assert invoke() == (404, "not_found")
