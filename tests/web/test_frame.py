"""What every response has in common, whatever happens in the view."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from uuid import UUID

import flask
import pytest
import requests

from common import errors
from common.settings import DEVELOPMENT_SECRETS, Settings, SettingsError, links, load
from tests.web.conftest import ROOT, Service, serving
from web.api.blueprint import Blueprint
from web.app import create_app
from web.http import problems

THINGS = "/api/v1/things"
ONE = f"{THINGS}/00000000-0000-0000-0000-000000000001"

EVERYWHERE = [
    ("GET", "/health"),
    ("GET", ONE),
    ("HEAD", ONE),
    ("OPTIONS", ONE),
    ("DELETE", ONE),
    ("POST", THINGS),
    ("PUT", ONE),
    ("GET", "/nothing"),
    ("GET", f"{THINGS}/mine"),
    ("GET", f"{THINGS}/fail/bug"),
    ("GET", f"{THINGS}/fail/database"),
    ("GET", "/docs"),
    ("GET", "/metrics"),
]


@pytest.mark.parametrize(("method", "path"), EVERYWHERE)
def test_headers_of_every_answer(service: Service, method: str, path: str) -> None:
    headers = service(method, path).headers
    assert re.fullmatch("[0-9a-f]{32}", headers["X-Request-ID"])
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"].startswith(
        "default-src 'none'" if path != "/docs" else "default-src 'self'"
    )
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers
    assert not re.search(r"\d", headers["Server"])


# -- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ("bug", 500, "internal_error"),
        ("recursion", 500, "internal_error"),
        ("database", 503, "dependency_unavailable"),
        ("commit", 503, "dependency_unavailable"),
        ("redis", 503, "dependency_unavailable"),
        ("rate", 429, "rate_limited"),
        ("token", 401, "token_expired"),
        ("budget", 402, "budget_exhausted"),
    ],
)
def test_failures_are_problems_and_tell_nothing(service: Service, how: str, status: int, code: str) -> None:
    response = service("GET", f"{THINGS}/fail/{how}")
    problem = response.json()
    assert (response.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert problem["instance"] == f"{THINGS}/fail/{how}"
    assert problem["type"] == f"http://localhost:{service.port}/docs/errors#{code}"
    assert "secret" not in response.text
    assert ("Retry-After" in response.headers) == (status in (429, 503))


def test_what_the_headers_of_a_problem_say(service: Service) -> None:
    assert service("GET", f"{THINGS}/fail/rate").headers["Retry-After"] == "7"
    assert service("GET", f"{THINGS}/mine").headers["WWW-Authenticate"] == 'Bearer realm="joyfull-hub"'
    expired = service("GET", f"{THINGS}/fail/token").headers["WWW-Authenticate"]
    assert expired == 'Bearer realm="joyfull-hub", error="invalid_token"'
    assert service("GET", f"{THINGS}/fail/budget").json()["plans"] == ["pro"]


def test_times_in_a_problem_are_written_as_everywhere(service: Service) -> None:
    assert service("GET", f"{THINGS}/fail/budget").json()["resets_at"] == "2027-02-01T00:00:00.000000Z"


def test_a_lost_commit_is_told_apart_from_nothing_done(service: Service) -> None:
    assert "may or may not" in service("GET", f"{THINGS}/fail/commit").json()["detail"]
    assert "Nothing was done" in service("GET", f"{THINGS}/fail/database").json()["detail"]


def test_a_mailed_token_is_not_said_again(service: Service) -> None:
    response = service("POST", f"{THINGS}/links/canary-token")
    assert response.json()["instance"] == f"{THINGS}/links/-"
    assert "canary-token" not in response.text + str(response.headers)


def test_a_bug_is_logged_with_the_request_id(service: Service) -> None:
    response = service("GET", f"{THINGS}/fail/bug", headers={"X-Request-ID": "find-me-1"})
    assert response.json()["request_id"] == "find-me-1"
    assert "ZeroDivisionError" in service.logged("find-me-1")


def test_every_error_has_one_status_and_its_own_code() -> None:
    """Every kind of error needs a status, and every subclass a code: the default would be `internal_error`."""
    kinds = list(problems.catalogue())
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert {kind.code for kind in kinds if problems.status_of(kind) >= 500} == {
        "internal_error",
        "dependency_unavailable",
        "tool_unavailable",
    }
    leaves = [
        leaf for leaf in vars(errors).values() if isinstance(leaf, type) and issubclass(leaf, errors.PlatformError)
    ]
    missing = [leaf.__name__ for leaf in leaves if leaf.code not in {kind.code for kind in kinds}]
    assert not missing


# -- request ids and logs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["a", "A.b_c-1", "x" * 128])
def test_a_valid_request_id_is_kept(service: Service, given: str) -> None:
    assert service("GET", "/health", headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a,b", "é".encode(), "a\tb", "../x"])
def test_an_invalid_request_id_is_replaced(service: Service, given: str | bytes) -> None:
    response = service("GET", "/health", headers={"X-Request-ID": given})
    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])


def test_one_line_a_request_without_body_path_or_query(service: Service) -> None:
    path = f"{THINGS}/fail/canary-token-in-path"
    service("GET", path + "?canary=1", headers={"X-Request-ID": "log-1", "Authorization": "Bearer canary"})
    lines = [json.loads(line) for line in service.logged("log-1").splitlines()]
    access = [line for line in lines if line["logger"] == "web.access"]
    assert len(access) == 1
    assert access[0]["route"] == f"{THINGS}/fail/<how>"
    assert (access[0]["method"], access[0]["status"]) == ("GET", 422)
    assert access[0]["duration_ms"] >= 0
    assert "canary" not in json.dumps(lines)


def test_context_does_not_leak_to_the_next_request_on_a_connection(service: Service) -> None:
    account = "00000000-0000-0000-0000-00000000000a"
    service("GET", f"{THINGS}/mine", headers={"X-Account": account, "X-Request-ID": "leak-1"})
    service("GET", "/health", headers={"X-Request-ID": "leak-2"})
    assert account in service.logged("leak-1")
    assert account not in service.logged("leak-2")


# -- HEAD, OPTIONS, CORS, proxies ----------------------------------------------------------------------------------


def test_head_and_options(service: Service) -> None:
    head = service("HEAD", ONE)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == service("GET", ONE).headers["Content-Length"]
    options = service("OPTIONS", ONE)
    assert (options.status_code, options.content) == (204, b"")
    assert set(options.headers["Allow"].split(", ")) == {"GET", "HEAD", "DELETE", "OPTIONS"}
    assert service("DELETE", ONE).status_code == 204


def test_head_of_a_stream_does_not_wait_for_it(service: Service) -> None:
    head = service("HEAD", f"{THINGS}/stream")
    assert (head.status_code, head.headers["Content-Type"]) == (200, "text/event-stream")


def test_streams_are_what_they_say(service: Service) -> None:
    with service("GET", f"{THINGS}/stream", stream=True, headers={"Accept": "text/event-stream"}) as response:
        assert next(response.iter_lines()) == b": still here"
    assert service("GET", f"{THINGS}/stream", headers={"Accept": "application/json"}).status_code == 406


def test_a_stream_that_breaks_is_cut_off_and_logged(service: Service) -> None:
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        service("GET", f"{THINGS}/broken-stream", headers={"X-Request-ID": "broken-1"})
    give_up = time.monotonic() + 5
    while "ZeroDivisionError" not in service.logged("broken-1"):
        assert time.monotonic() < give_up
        time.sleep(0.02)


@pytest.fixture(scope="module")
def behind_a_proxy(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    changes = {
        "CORS_ORIGINS": "https://good.com,https://app.good.com:8443,http://[::1]:3000",
        "TRUSTED_PROXIES": "1",
        "EXPOSE_DOCS": "false",
    }
    with serving(environ, tmp_path_factory.mktemp("cors"), **changes, EXPOSE_METRICS="false") as running:
        yield running


@pytest.mark.parametrize("origin", ["https://good.com", "https://app.good.com:8443", "http://[::1]:3000"])
@pytest.mark.parametrize("path", [ONE, "/nothing", f"{THINGS}/fail/bug"])
def test_listed_origins_may_read(behind_a_proxy: Service, origin: str, path: str) -> None:
    headers = behind_a_proxy("GET", path, headers={"Origin": origin}).headers
    assert headers["Access-Control-Allow-Origin"] == origin
    assert "Origin" in headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in headers
    assert "X-Request-ID" in headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://good.com.evil.com",
        "https://evilgood.com",
        "http://good.com",
        "https://good.com:444",
        "http://1:3000.evil.com",
        "*",
    ],
)
def test_other_origins_may_not(behind_a_proxy: Service, origin: str) -> None:
    headers = behind_a_proxy("GET", ONE, headers={"Origin": origin}).headers
    assert not [name for name in headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("origin", ["*", "null", "https://*.good.com", "https://good.com/path"])
def test_origins_are_named_exactly(origin: str) -> None:
    with pytest.raises(SettingsError, match="CORS_ORIGINS"):
        load({"CORS_ORIGINS": origin})


def test_preflight(behind_a_proxy: Service) -> None:
    asked = {"Origin": "https://good.com", "Access-Control-Request-Method": "DELETE"}
    headers = behind_a_proxy(
        "OPTIONS", ONE, headers={**asked, "Access-Control-Request-Headers": "authorization"}
    ).headers
    assert "DELETE" in headers["Access-Control-Allow-Methods"]
    assert "authorization" in headers["Access-Control-Allow-Headers"].lower()


def test_hsts_only_behind_tls(behind_a_proxy: Service, service: Service) -> None:
    forwarded = {"X-Forwarded-Proto": "https"}
    assert "Strict-Transport-Security" in behind_a_proxy("GET", ONE, headers=forwarded).headers
    assert "Strict-Transport-Security" not in behind_a_proxy("GET", ONE).headers
    assert "Strict-Transport-Security" not in service("GET", ONE, headers=forwarded).headers


def test_docs_and_metrics_are_behind_settings(behind_a_proxy: Service) -> None:
    """The documentation of errors is still served: every problem links to it."""
    for path in ("/docs", "/metrics", "/api/v1/openapi.json"):
        assert behind_a_proxy("GET", path).status_code == 404
    assert behind_a_proxy("GET", "/docs/errors").status_code == 200


# -- deny by default -----------------------------------------------------------------------------------------------


def test_a_route_without_a_policy_keeps_the_app_from_starting(settings: Settings) -> None:
    undecided = Blueprint("undecided", "undecided")

    @undecided.get("/undecided")
    @undecided.response(200)
    def view() -> str:
        return "open to all"

    with pytest.raises(RuntimeError, match=r"no access policy.*undecided\.view"):
        create_app(settings, [undecided])


def test_every_route_of_the_product_has_a_policy(settings: Settings) -> None:
    app: flask.Flask = create_app(settings)
    assert all(hasattr(app.view_functions[rule.endpoint], "policy") for rule in app.url_map.iter_rules())


def test_every_address_that_is_handed_out_is_served(settings: Settings) -> None:
    """`common` makes these by itself, for webhooks and mails; the routes are those of the application."""
    routes = create_app(settings).url_map.bind("hub.example")
    of_invocation = links.invocation(UUID(int=1))
    served = {
        "invocations.show": ("GET", of_invocation["self"]),
        "invocations.cancel": ("POST", of_invocation["cancel"]),
        "invocations.events": ("GET", of_invocation["events"]),
        "auth.reset_password": ("POST", links.password_reset("a-token")),
        "auth.verify_email": ("POST", links.email_verification("a-token")),
    }
    assert {name: routes.match(path, method)[0] for name, (method, path) in served.items()} == {n: n for n in served}


def test_wrong_settings_are_listed_and_nothing_else_is_printed(environ: dict[str, str]) -> None:
    wrong = {**environ, "ENV": "production", "PORT": "0", "LOG_LEVEL": "LOUD"}
    done = subprocess.run(
        [sys.executable, "-c", "import wsgi"], env=wrong, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for name in ("PORT", "LOG_LEVEL", "JWT_SECRET_KEY", "SECRETS_KEYS"):
        assert f"  - {name} " in done.stderr


def test_production_refuses_what_everybody_knows() -> None:
    """All errors are reported at once; a development secret is refused anywhere in a list of keys."""
    servers = {"DATABASE_URL": "postgresql:///x", "REDIS_URL": "redis://x"}
    known = {**DEVELOPMENT_SECRETS, "JWT_SECRET_KEY": f"{'k' * 32},{DEVELOPMENT_SECRETS['JWT_SECRET_KEY']}"}
    with pytest.raises(SettingsError) as told:
        load({"ENV": "production", **servers, **known})
    for name in DEVELOPMENT_SECRETS:
        assert f"{name} is the development secret" in str(told.value)
