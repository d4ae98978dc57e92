"""The pages of admins and operators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

import psycopg
import pytest

from common import invocations, subscriptions
from common.identity import accounts, audit
from common.identity.audit import OPERATOR
from common.kit import clock
from common.kit.paging import Window
from common.operations import overview
from common.operations.overview import MissingPart, Overview
from common.settings.version import VERSION
from common.subscriptions import plans
from common.tools import breakers
from dev.servers import Redis
from tests import factories
from tests.console.conftest import Browser, Element, Trips, check_page, read
from tests.console.test_budgets import MORE_STATEMENTS, STATEMENTS
from tests.console.test_pages import HOSTILE


class Failing(Exception):
    """A tool's failure."""

    counts_against_tool = True


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """What was read of the platform is not kept from one test to the next."""
    overview._kept.drop("overview")
    yield
    overview._kept.drop("overview")


def hidden(page: Element) -> dict[str, str]:
    """What the form of a page sends that is not typed."""
    form = page.one("main").one("form", method="post")
    return {each.attributes["name"]: each.attributes["value"] for each in form.all("input", type="hidden")}


def granted_to(user_id: UUID) -> int:
    return subscriptions.current(user_id).tokens.granted


def operator(admin: Browser) -> Element:
    """The operator's page, of what is read now."""
    overview._kept.drop("overview")
    return admin.get("/operator")


# -- operator ------------------------------------------------------------------------------------------------------


def test_the_operator_sees_everything_in_one_page(admin: Browser) -> None:
    for _ in range(31):  # more than a page shows: those that run something come first
        factories.worker()
    worker = factories.worker()
    customer, tool = factories.customer(), factories.tool()
    run = customer.submit(tool)
    assert factories.taken(worker).id == run
    page = operator(admin)
    titles = {each.words for each in page.one("main").all("h2")}
    assert {"Checks", "Queue", "Webhook deliveries", "Ledger", "Circuit breakers", "Workers", "Periodic work"} <= titles
    assert f"{tool.slug} …{str(run)[-8:]} attempt 1" in page.words
    assert page.all("a", href="/docs")
    part = admin.ask("/operator?part=operator")
    assert read(part.text).all("h2")
    assert "<html" not in part.text


def test_an_open_breaker_and_a_worker_that_fell_silent_are_seen(admin: Browser, database_url: str) -> None:
    factories.worker()
    tool = factories.tool(slug="the-open-one")
    for _ in range(breakers.FAIL_MAX):
        with pytest.raises(Failing), breakers.calling(tool.id, 1.0):
            raise Failing
    with psycopg.connect(database_url, autocommit=True) as sql:
        sql.execute("update processes set heartbeat_at = now() - interval '1 minute'")
    page = admin.get("/operator")
    assert page.all("span", class_="status is-open")
    assert "the-open-one" in page.words
    assert "silent" in page.words


def test_what_cannot_be_read_says_so_and_the_rest_stays(admin: Browser, redis_server: Redis) -> None:
    admin.get("/operator")
    overview._kept.drop("overview")
    redis_server.kill()
    try:
        page = admin.get("/operator")
        assert page.all("span", class_="status is-failed")
        assert "Waiting for a worker" in page.words
    finally:
        redis_server.start()
        redis_server.wait()


def test_every_part_that_is_missing_says_why(admin: Browser) -> None:
    parts = ("queue", "workers", "sweeps", "deliveries", "breakers", "last_verification", "findings")
    away = [MissingPart(each, "PostgreSQL is unreachable") for each in parts]
    overview._kept.put("overview", Overview(clock.now(), VERSION, None, None, None, None, None, None, None, away))
    page = admin.get("/operator")
    assert page.one("main").words.count("not available PostgreSQL is unreachable.") == len(parts)
    assert "7 parts not available" in page.words


# -- accounts ------------------------------------------------------------------------------------------------------


def test_accounts_are_found_by_what_is_asked_for(admin: Browser) -> None:
    customer = factories.customer()
    email = accounts.get(customer.user_id).email
    assert len(admin.get("/admin/users").one("tbody").all("tr")) == 2
    page = admin.get(f"/admin/users?q={email[:8].upper()}&role=user&is_active=true&plan={customer.plan}&limit=20")
    [row] = page.one("tbody").all("tr")
    assert row.one("a").attributes["href"] == f"/console/admin/users/{customer.user_id}"
    assert page.one("input", id="q").attributes["value"] == email[:8].upper()
    assert "No account matches." in admin.get("/admin/users?is_active=false").words


def test_an_account_is_disabled_enabled_and_made_an_admin(admin: Browser) -> None:
    customer = factories.customer()
    path = f"/admin/users/{customer.user_id}"
    assert customer.plan in admin.get(path).words
    for sent, field, value in (
        ({"is_active": "false"}, "is_active", False),
        ({"is_active": "true"}, "is_active", True),
        ({"role": "admin"}, "role", "admin"),
    ):
        admin.post(path, sent, to=f"/console{path}?said=saved")
        assert getattr(accounts.get(customer.user_id), field) == value
    done = audit.entries(Window(10), target=str(customer.user_id), action="user.update").items
    assert [entry.actor_kind for entry in done] == ["session"] * 3


def test_the_last_admin_stays_one(admin: Browser, database_url: str) -> None:
    [me] = accounts.listing(Window(10), role="admin").items
    path = f"/admin/users/{me.user.id}"
    assert "This is your own account." in admin.get(path).words
    for sent in ({"role": "user"}, {"is_active": "false"}):
        assert "last active admin" in admin.refused(path, 409, "conflict", sent).words
    with psycopg.connect(database_url, autocommit=True) as sql:
        sql.execute("update refresh_families set created_at = now() - interval '31 minutes'")
    assert admin.get(path).all("input", id="current_password")
    admin.refused(path, 403, "forbidden", {"role": "user", "current_password": "wrong"})


def test_a_grant_shows_its_effect_and_is_made_once(admin: Browser) -> None:
    customer = factories.customer(1000)
    path = f"/admin/users/{customer.user_id}"
    page = admin.get(f"{path}/grant?tokens=500&reason=for+the+outage")
    assert "1,000 → 1,500" in page.words
    assert granted_to(customer.user_id) == 1000
    for _ in range(2):
        admin.post(f"{path}/grant", hidden(page), to=f"/console{path}?said=granted")
    assert granted_to(customer.user_id) == 1500
    assert "granted 1000 1500" in admin.get(f"/admin/audit?target={customer.user_id}&action=user.grant").words
    page = admin.get(f"{path}/grant?tokens=-5000&reason=too+much")
    assert "it will be refused" in page.words
    admin.refused(f"{path}/grant", 409, "conflict", hidden(page))
    for asked in ("", "?tokens=0&reason=x", "?tokens=1", "?tokens=1.5&reason=x", "?tokens=99999999999999999&reason=x"):
        admin.get(f"{path}/grant{asked}", 422)
    for tokens in ("0", "x", "9" * 40, "-"):
        admin.refused(f"{path}/grant", 422, "validation_failed", {"tokens": tokens, "reason": "x"})
    assert granted_to(customer.user_id) == 1500


def test_an_account_without_a_subscription_is_granted_nothing(admin: Browser) -> None:
    path = f"/admin/users/{factories.user().user_id}"
    assert "This account has never had a subscription" in admin.get(path).words
    assert "no subscription" in admin.get(f"{path}/grant?tokens=5&reason=x").words
    admin.refused(f"{path}/grant", 409, "conflict", {"tokens": "5", "reason": "x"})


# -- audit and statistics ------------------------------------------------------------------------------------------


def test_the_audit_log_shows_what_changed_and_is_filtered(admin: Browser) -> None:
    customer = factories.customer()
    accounts.administer(customer.user_id, actor=OPERATOR, role="admin")
    page = admin.get(
        f"/admin/audit?target_type=user&target={customer.user_id}&action=user.update&from=2020-01-01T00:00"
    )
    [row] = page.one("tbody").all("tr")
    assert (row.one("del").words, row.one("ins").words) == ("user", "admin")
    assert page.one("input", id="from").attributes["value"] == "2020-01-01T00:00"
    assert "No entry matches." in admin.get("/admin/audit?to=2020-01-01T00:00").words
    admin.get("/admin/audit?actor=x", 422)


def test_statistics_show_the_range_that_was_asked_for(admin: Browser) -> None:
    page = admin.get("/admin")
    assert "Nothing ended in this range." in page.words
    customer, tool, worker = factories.customer(), factories.tool(), factories.worker()
    customer.submit(tool)
    task = factories.taken(worker)
    invocations.complete(task, factories.GOOD, worker)
    page = admin.get("/admin?bucket=hour")
    assert tool.slug in page.words
    chart = page.one("figure", class_="chart")
    assert (chart.one("svg").attributes["role"], "in 1 run" in chart.words) == ("img", True)
    admin.get("/admin?from=2026-01-02T00:00&to=2026-01-01T00:00", 422)
    admin.get("/admin?from=2000-01-01T00:00&bucket=hour", 422)


# -- plans and runs ------------------------------------------------------------------------------------------------


def typed(page: Element) -> dict[str, str]:
    """What the form of a page sends as it is."""
    form = page.one("main").one("form", method="post")
    kept = [each for each in form.all("input") if each.attributes.get("type") != "checkbox"]
    boxes = [each for each in form.all("input", type="checkbox") if "checked" in each.attributes]
    found = {each.attributes["name"]: each.attributes.get("value", "") for each in [*kept, *boxes]}
    return {**found, **{each.attributes["name"]: each.text.strip() for each in form.all("textarea")}}


def test_a_plan_is_created_changed_and_closed(admin: Browser) -> None:
    new = {**typed(admin.get("/admin/plans")), "slug": "small", "name": "Small", "monthly_tokens": "1000"}
    for _ in range(2):
        admin.post("/admin/plans", new, to="/console/admin/plans/small?said=saved")
    admin.refused("/admin/plans", 409, "slug_taken", {**new, "once": "another-form"})
    admin.refused("/admin/plans", 422, "validation_failed", {**new, "slug": "Not A Slug"})
    page = admin.get("/admin/plans/small")
    assert (plans.get("small").monthly_tokens, plans.get("small").is_active) == (1000, True)
    sent = {name: value for name, value in typed(page).items() if name != "is_active"}
    admin.post("/admin/plans/small", {**sent, "monthly_tokens": "", "max_concurrency": "3"})
    plan = plans.get("small")
    assert (plan.monthly_tokens, plan.max_concurrency, plan.is_active, plan.name) == (None, 3, False, "Small")
    [entry] = audit.entries(Window(5), target="small", action="plan.update").items
    assert {*(entry.after or {})} == {"monthly_tokens", "max_concurrency", "is_active"}
    admin.get("/admin/plans/nothing", 404)


def test_runs_of_all_accounts_are_filtered(admin: Browser) -> None:
    assert "No run matches." in admin.get("/admin/runs").words
    worker, tool = factories.worker(), factories.tool()
    first, second = factories.customer(), factories.customer()
    run = first.submit(tool)
    invocations.complete(factories.taken(worker), factories.BAD, worker)
    second.submit(factories.tool())
    assert len(admin.get("/admin/runs").one("tbody").all("tr")) == 2
    page = admin.get(f"/admin/runs?status=failed&tool={tool.slug}&user={first.user_id}")
    [row] = page.one("tbody").all("tr")
    assert "tool failed" in row.words
    assert [each.attributes["href"] for each in row.all("a")] == [
        f"/console/admin/runs/{run}",
        f"/console/admin/users/{first.user_id}",
        f"/console/admin/tools/{tool.id}",
    ]
    admin.get("/admin/runs?user=x", 422)


def test_a_run_of_another_account_is_shown_with_what_operators_are_told_and_nothing_can_be_done(
    admin: Browser, trips: Trips
) -> None:
    worker, customer = factories.worker(), factories.customer()
    run = customer.submit(factories.tool(), input={"text": HOSTILE})
    told = replace(factories.BAD, operator_detail="connection to 10.1.2.3 refused")
    invocations.complete(factories.taken(worker), told, worker)
    admin.get(f"/admin/runs/{run}")
    trips.clear()
    page = admin.get(f"/admin/runs/{run}")
    assert len(trips.statements) <= 6, trips.statements
    assert "connection to 10.1.2.3 refused" in page.words
    assert "<script>alert(1)</script>" in page.one("ul", class_="tree").words
    links = [each.attributes["href"] for each in page.one("main").all("a")]
    assert f"/console/admin/users/{customer.user_id}" in links
    assert not [path for path in links if path.endswith(("/again", "/cancel"))]
    assert admin.ask(f"/admin/runs/{run}/input.json").get_json() == {"text": HOSTILE}
    assert admin.ask(f"/admin/runs/{run}/output.json").text == "null"
    admin.get(f"/admin/runs/{UUID(int=3)}", 404)


def test_an_account_shows_its_keys_and_its_last_runs(admin: Browser) -> None:
    customer = factories.keyed(factories.customer(), 500)
    path = f"/admin/users/{customer.user_id}"
    assert "No runs yet." in admin.get(path).one("section", aria_labelledby="runs-title").words
    tool = factories.tool()
    made = [customer.submit(tool) for _ in range(11)]
    factories.customer().submit(tool)
    page = admin.get(path)
    keys = page.one("section", aria_labelledby="keys-title").words
    assert "a key" in keys and "390 of 500 tokens left" in keys
    assert customer.key not in page.words
    runs = [each.attributes["href"] for each in page.one("section", aria_labelledby="runs-title").all("a")]
    assert runs == [
        *(f"/console/admin/runs/{run}" for run in made[:0:-1]),
        f"/console/admin/runs?user={customer.user_id}",
    ]


# -- of all of them ------------------------------------------------------------------------------------------------


def test_full_pages_stay_small_ask_little_and_show_hostile_text(
    admin: Browser, database_url: str, trips: Trips
) -> None:
    name = HOSTILE.replace("\x1b", "") * 8
    before, after = '{"name": "a", "price": {"base": 1}}', '{"name": "' + "<&>" * 8 + '", "price": {"base": 2}}'
    ids = [factories.user().user_id for _ in range(51)]
    with psycopg.connect(database_url, autocommit=True) as sql:
        sql.execute("update users set name = %s where role = 'user'", (name,))
        for each in ids:
            sql.execute(
                "insert into audit_log (id, actor_kind, action, target_type, target_id, before, after)"
                " values (%s, 'operator', 'tool.update', 'tool', %s, %s, %s)",
                (clock.uuid7(), each, before, after),
            )
    for path in (
        "/admin/users?limit=50",
        "/admin/audit?limit=50",
        "/admin/runs",
        f"/admin/users/{ids[0]}",
        "/admin",
        "/operator",
    ):
        admin.get(path)
        trips.clear()
        page = admin.get(path)
        assert len(page.all("script")) == len(page.all("script", type="module"))
        most = MORE_STATEMENTS["admin_user"] if path.startswith("/admin/users/") else STATEMENTS
        assert len(trips.statements) <= most, (path, trips.statements)
        if "users?" in path:
            assert "<script>alert(1)" in page.one("tbody").words
        if "limit" in path:
            assert len(page.one("tbody").all("tr")) == 50
            assert page.one("a", rel="next")


def test_a_reader_is_refused_with_a_page(browser: Browser) -> None:
    for path in (
        "/admin",
        "/admin/plans",
        "/admin/runs",
        "/admin/users",
        "/admin/audit",
        "/operator",
        "/operator?part=operator",
    ):
        assert check_page(browser.ask(path)).one("h1").words
        assert browser.ask(path).status_code == 403
