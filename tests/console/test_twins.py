"""Each action of the console beside the request of the API that does the same: the same rows, the same audit entry.

Two accounts lead one life, one by the console and one by the API. After each step, what has changed in the whole
database must be the same for both, but for what can never be (ids, moments, secrets).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, NamedTuple

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient

from common import boot, invocations, subscriptions, webhooks
from common.identity import accounts, keys, sessions
from common.identity.audit import OPERATOR
from common.kit import clock
from common.kit.clock import uuid7
from tests import factories
from tests.console.addresses import endpoint, pages, rules
from tests.console.conftest import Browser
from tests.factories import BAD, Customer
from tests.outside.receiver import Receiver
from web.console.api_requests import REQUESTS

NEW: Final = "the heron waits in grey water"
PLAN: Final = {"name": "P", "monthly_tokens": 5, "price_cents": 5, "currency": "EUR", "position": 7}
LIMITS: Final = ("max_concurrency", "max_payload_bytes", "max_streams", "rate_limit_per_minute")
ENDPOINT: Final = {"events": ["completed"], "description": "mine", "payload": "thin", "include": ["receipt"]}


class Step(NamedTuple):
    """A form of the console and the request that does the same, to paths with what a twin has.

    `apart`: tables in which they differ by intent.
    """

    action: str
    path: str
    form: Mapping[str, object]
    request: str
    body: Mapping[str, object] | None = None
    apart: frozenset[str] = frozenset()


SESSIONS: Final = frozenset({"refresh_families", "refresh_tokens"})
LIFE: Final = (
    Step("ask_reset", "/reset", {"email": "{email}"}, "POST /auth/password-reset", {"email": "{email}"}),
    Step("ask_verification", "/verify", {"email": "{email}"}, "POST /auth/verify-email", {"email": "{email}"}),
    Step("rename", "/settings/name", {"name": "Eve"}, "PATCH /users/me", {"name": "Eve"}),
    Step("end_session", "/settings/sessions/{session}/end", {}, "DELETE /users/me/sessions/{session}"),
    Step(
        "end_other_sessions",
        "/settings/sessions/end-others",
        {},
        "POST /users/me/sessions/revoke-others",
        apart=SESSIONS,  # to each of the two kinds the other kind is another one
    ),
    Step("check_statement", "/statement/check", {}, "POST /subscriptions/statement/check"),
    Step("change_plan", "/plan/change", {"plan": "pro"}, "POST /subscriptions/subscribe", {"plan": "pro"}),
    Step(
        "create_key",
        "/keys/new",
        {"name": "k", "scopes": ["tools:read"], "allowance": "7", "window": "day", "tools": "{tool}"},
        "POST /users/me/api-keys",
        {"name": "k", "scopes": ["tools:read"], "allowance": {"tokens": 7, "window": "day"}, "tools": ["{tool}"]},
    ),
    Step(
        "rotate_key",
        "/keys/{key}/rotate",
        {"overlap_seconds": "3600"},
        "POST /users/me/api-keys/{key}/rotate",
        {"overlap_seconds": 3600},
    ),
    Step("revoke_key", "/keys/{key}/revoke", {}, "DELETE /users/me/api-keys/{key}"),
    Step("tool_quote", "/tools/{tool}/quote", {"raw": "{{}}"}, "POST /tools/{tool}/quote", {"input": {}}),
    Step("tool_run", "/tools/{tool}/run", {"raw": "{{}}"}, "POST /tools/{tool}/invoke", {"input": {}}),
    Step("cancel", "/runs/{open}/cancel", {}, "POST /invocations/{open}/cancel"),
    Step("cancel_chosen", "/runs/cancel", {"id": ["{other}"]}, "POST /invocations/cancel", {"ids": ["{other}"]}),
    Step("run_again", "/runs/{ended}/again", {}, "POST /invocations/{ended}/rerun"),
    Step("run_again_chosen", "/runs/again", {"id": ["{ended}"]}, "POST /invocations/{ended}/rerun"),
    Step("add_webhook", "/webhooks", {"url": "{url}", **ENDPOINT}, "POST /webhooks", {"url": "{url}", **ENDPOINT}),
    Step(
        "change_webhook",
        "/webhooks/{endpoint}",
        {"url": "{url}/new", **ENDPOINT, "rate_limit_per_second": "5"},
        "PATCH /webhooks/{endpoint}",
        {"url": "{url}/new", **ENDPOINT, "rate_limit_per_second": 5},
    ),
    Step("test_webhook", "/webhooks/{endpoint}/test", {}, "POST /webhooks/{endpoint}/test"),
    Step("rotate_webhook", "/webhooks/{endpoint}/rotate", {}, "POST /webhooks/{endpoint}/rotate-secret"),
    Step("default_secret", "/webhooks/default-secret", {}, "GET /webhooks/default-secret"),
    Step("rotate_default_secret", "/webhooks/default-secret/rotate", {}, "POST /webhooks/default-secret/rotate"),
    Step(
        "resend",
        "/webhooks/{endpoint}/deliveries/{delivery}",
        {},
        "POST /webhooks/{endpoint}/deliveries/{delivery}/resend",
    ),
    Step(
        "replay",
        "/webhooks/{endpoint}/replay",
        {"since": "2020-01-01T00:00"},
        "POST /webhooks/{endpoint}/replay",
        {"since": "2020-01-01T00:00:00Z"},
    ),
    Step(
        "switch_webhook",
        "/webhooks/{endpoint}/status",
        {"status": "disabled"},
        "PATCH /webhooks/{endpoint}",
        {"status": "disabled"},
    ),
    Step("remove_webhook", "/webhooks/{endpoint}/delete", {}, "DELETE /webhooks/{endpoint}"),
    Step(
        "change_account",
        "/admin/users/{client}",
        {"role": "admin", "is_active": "false"},
        "PATCH /admin/users/{client}",
        {"role": "admin", "is_active": False},
    ),
    Step(
        "make_grant",
        "/admin/users/{client}/grant",
        {"tokens": "5", "reason": "why"},
        "POST /admin/users/{client}/grants",
        {"tokens": 5, "reason": "why"},
    ),
    Step(
        "create_plan",
        "/admin/plans",
        {**PLAN, "slug": "{slug}", "is_active": "true"},
        "POST /admin/plans",
        {**PLAN, **dict.fromkeys(LIMITS), "description": "", "slug": "{slug}", "is_active": True},
    ),
    Step(
        "edit_plan_fields",
        "/admin/plans/{plan}",
        {"name": "Q", "price_cents": "0", "currency": "USD", "position": "0", "is_active": "true"},
        "PATCH /admin/plans/{plan}",
        {"name": "Q", "monthly_tokens": None},
    ),
    Step("close_breaker", "/admin/tools/{own}/breaker/reset", {}, "POST /admin/tools/{own}/breaker/reset"),
    Step("archive_tool", "/admin/tools/{own}/archive", {}, "DELETE /admin/tools/{own}"),
    Step(
        "cancel_plan", "/plan/cancel", {"when": "now"}, "POST /subscriptions/cancel", {"at_period_end": False}
    ),
    Step(
        "change_password",
        "/settings/password",
        {"current_password": factories.PASSWORD, "password": NEW},
        "PATCH /users/me",
        {"current_password": factories.PASSWORD, "password": NEW},
        SESSIONS,  # the console signs in again with it
    ),
    Step(
        "start_session",
        "/sign-in",
        {"email": "{email}", "password": NEW},
        "POST /auth/login",
        {"email": "{email}", "password": NEW},
        SESSIONS,  # each is of its own kind
    ),
    Step("leave_for_good", "/settings/delete", {"password": NEW}, "DELETE /users/me", {"password": NEW}, SESSIONS),
)  # fmt: skip
#: Actions without a twin. Adding one here is a decision.
WITHOUT: Final = {
    "prefer": "cookies of the browser, nothing else",
    "choose_zone": "the same",
    "tool_input": "changes nothing: the input in another form",
    "ask_cancel": "changes nothing: a question",
    "ask_again": "changes nothing: a question",
    "open_account": "signs in too, which is another request of the API",
    "sign_out": "POST /auth/logout takes the refresh token, which the console has none of; both are `sessions.end`",
    "preview_new_tool": "changes nothing",
    "preview_tool": "changes nothing",
    "preview_import": "changes nothing",
    "test_tool": "changes nothing of ours: it calls the tool",
    "create_tool": "what is typed as text becomes the body of the API: test_admin_tools.py",
    "change_tool": "the same",
    "create_imported": "the same",
    "set_password": "what the address has in it is of a mail: test_entry.py spends it",
    "confirm_address": "the same",
}


def test_every_action_has_a_twin_or_a_reason(app: Flask) -> None:
    actions = {endpoint(rule) for rule, _ in rules(app, "POST")}
    assert actions == {step.action for step in LIFE} | {*WITHOUT}


@dataclass
class Twin:
    """An admin with a session of the console and one of the API, and what its paths name."""

    browser: Browser
    http: FlaskClient
    has: dict[str, str]
    token: str = ""

    def log_in(self, password: str) -> None:
        """A new session of the API."""
        answer = self.http.post("/api/v1/auth/login", json={"email": self.has["email"], "password": password})
        self.token = (answer.json or {})["data"]["access_token"]

    def by_console(self, step: Step) -> int:
        """The status."""
        form = {name: filled(value, self.has) for name, value in step.form.items()}
        return self.browser.send(step.path.format_map(self.has), form).status_code

    def by_api(self, step: Step) -> int:
        """The status."""
        method, path = step.request.split(" ")
        body = None if step.body is None else {name: filled(value, self.has) for name, value in step.body.items()}
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.http.open(
            f"/api/v1{path.format_map(self.has)}", method=method, json=body, headers=headers
        ).status_code


def filled(value: object, has: Mapping[str, str]) -> object:
    """The value with what a twin has."""
    if isinstance(value, list):
        return [filled(each, has) for each in value]
    return value.format_map(has) if isinstance(value, str) else value


@pytest.fixture
def twins(app: Flask, db: None, database_url: str, receiver: Receiver) -> Iterator[tuple[Twin, Twin]]:
    factories.user(role="admin")  # one stays when the others leave
    tool, worker = factories.tool(), replace(factories.worker(), take_next=False)
    later = clock.now() + timedelta(hours=1)
    made = []
    for _ in range(2):
        me = factories.user(role="admin")
        subscriptions.subscribe(me.user_id, "free")
        customer = Customer(me, subscriptions.for_submit(me.user_id).period_id, "free")
        email = accounts.get(me.user_id).email
        endpoint_id = webhooks.create(me.user_id, boot.outbound(), url=receiver.url).endpoint.id
        ended = customer.submit(tool)
        invocations.complete(factories.taken(worker), BAD, worker)
        ids = {
            "session": sessions.begin(email, factories.PASSWORD, ip="10.0.0.1").family_id,
            "key": keys.create(me.user_id, "mine", actor=OPERATOR)[0].id,
            "endpoint": endpoint_id,
            "delivery": failed(database_url, me.user_id, endpoint_id),
            "ended": ended,
            "open": customer.submit(tool, not_before=later),
            "other": customer.submit(tool, not_before=later),
            "client": factories.customer().user_id,
            "own": factories.tool().id,
        }
        has = {name: str(each) for name, each in ids.items()}
        has |= {"email": email, "tool": tool.slug, "plan": factories.plan(5), "slug": f"plan-{uuid7().int % 10**9}"}
        made.append(Twin(Browser(app.test_client()), app.test_client(), {**has, "url": receiver.url}))
    for twin in made:
        twin.browser.sign_in(twin.has["email"])
        twin.log_in(factories.PASSWORD)
    yield made[0], made[1]


def failed(database_url: str, owner: object, endpoint_id: object) -> object:
    """A delivery that has failed."""
    event, delivery = uuid7(), uuid7()
    with psycopg.connect(database_url, autocommit=True) as sql:
        sql.execute(
            "insert into events (id, user_id, type, data) values (%s, %s, 'budget.threshold', '{}')", (event, owner)
        )
        sql.execute(
            "insert into deliveries (id, event_id, user_id, endpoint_id, status, finished_at, tries)"
            " values (%s, %s, %s, %s, 'failed', now(), 1)",
            (delivery, event, owner, endpoint_id),
        )
    return delivery


# -- what has changed ----------------------------------------------------------------------------------------------

#: Random, or of the process and the transaction.
VOLATILE: Final = [
    *("token_hash", "secret", "previous_secret", "encrypted_headers", "last4", "password_hash"),
    *("lookup", "secret_hash", "request_hash", "default_webhook_secret", "private_key", "public_key", "kid", "jws"),
    *("request_id", "xid", "epoch", "traceparent", "lane", "start_tag", "place", "duration_ms", "last_seen_at"),
]
PATTERNS: Final = {
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}": "<id>",
    r"\d{4}-\d\d-\d\d[T ][\d:.]+(\+00:00|Z)?": "<moment>",
    r"\b(ada|plan|tool)-\d+": r"\1-<n>",
    r"[A-Za-z0-9_+/=-]{40,}": "<random>",
}
Row = tuple[str, str]


class Database:
    """All rows of all tables, without what can never be the same."""

    def __init__(self, url: str) -> None:
        self._sql: psycopg.Connection[Any] = psycopg.connect(url, autocommit=True)
        names = self._sql.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')"
            " and not relispartition and relname not in ('alembic_version', 'processes', 'throttles', 'signing_keys')"
        )
        selects = (f"select '{name}', (to_jsonb(t) - %(volatile)s::text[])::text from {name} t" for (name,) in names)
        self._all = " union all ".join(selects)
        self._last = self._rows()

    def changed(self) -> dict[Row, int]:
        """How many rows more, or fewer, there are of each kind since it was asked last."""
        before, self._last = self._last, self._rows()
        found = Counter(self._last)
        found.subtract(before)
        return {row: number for row, number in found.items() if number}

    def _rows(self) -> Counter[Row]:
        rows = self._sql.execute(self._all, {"volatile": VOLATILE}).fetchall()
        return Counter((table, without_accidents(text)) for table, text in rows)


def without_accidents(text: str) -> str:
    for pattern, name in PATTERNS.items():
        text = re.sub(pattern, name, text)
    return text


def test_a_life_by_the_console_is_a_life_by_the_api(twins: tuple[Twin, Twin], database_url: str) -> None:
    (one, other), rows = twins, Database(database_url)
    differ: dict[str, list[str]] = {}
    for step in LIFE:
        page, by_console = one.by_console(step), rows.changed()
        answer, by_api = other.by_api(step), rows.changed()
        differing = {*by_console.items()} ^ {*by_api.items()}
        found = sorted(f"{number:+} {row}" for row, number in differing if row[0] not in step.apart)
        if found or page not in (200, 303) or answer >= 300:
            differ[step.action] = [f"{page} {answer}", *found]
        if step.action in ("change_password", "start_session"):
            other.log_in(NEW)
            rows.changed()
    assert not differ, "\n".join(f"{name}: {it}" for name, found in differ.items() for it in found)


# -- pages and the requests that they name -------------------------------------------------------------------------


def test_every_page_names_a_request_of_the_api_that_there_is(app: Flask) -> None:
    api, unnamed = app.url_map.bind("localhost"), []
    for rule, policy in pages(app):
        if policy == "public":
            continue
        if endpoint(rule) not in REQUESTS:
            unnamed.append(endpoint(rule))
            continue
        given = {name: uuid7() if name.endswith("_id") else "x" for name in rule.arguments}
        method, _, path = REQUESTS[endpoint(rule)].partition(" ")
        assert api.match(f"/api/v1{path.format_map(given)}", method=method), path
    assert not unnamed


def test_a_page_names_its_request_with_what_its_address_names(browser: Browser) -> None:
    slug = factories.tool().slug
    assert f"In the API: POST /api/v1/tools/{slug}/invoke" in browser.get(f"/tools/{slug}").one("footer").words
