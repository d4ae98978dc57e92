"""`Accept`: which media types a client accepts, whatever the parameters of the media range."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from common import invocations
from tests import factories
from tests.factories import GOOD
from tests.web.conftest import Service, serving
from tests.web.test_bad_inputs_product import Caller

NDJSON = "application/x-ndjson; charset=utf-8"
CSV = "text/csv; charset=utf-8"


@pytest.fixture(scope="module")
def product(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(environ, tmp_path_factory.mktemp("negotiation"), "wsgi:app", EXPOSE_METRICS="1") as running:
        yield running


@pytest.fixture
def caller(db: None, product: Service) -> Caller:
    return Caller(product)


@pytest.mark.parametrize(
    "accept",
    [
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8;q=0.1",
        'application/json; profile="a, b"',
        "application/json; indent=4, text/html; q=0.9",
        "application/*; v=1",
        "*/*; q=0.001",
        "text/html, *; q=.2",
        "application/json, application/json; version=2; q=0",
        "application/problem+json; charset=utf-8, application/json; charset=utf-8",
        "APPLICATION/JSON; CHARSET=UTF-8",
        "",
    ],
)
def test_parameters_make_no_type_unacceptable(caller: Caller, accept: str) -> None:
    for path in ("/users/me", "/tools", "/subscriptions/current", "/subscriptions/plans"):
        answer = caller("GET", path, headers={"Accept": accept})
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json"), path
    missing = caller("GET", "/tools/nothing", headers={"Accept": accept})
    assert (missing.status_code, missing.headers["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    "accept", ["text/html", "text/html; charset=utf-8", "application/json; q=0", "application/json;q=0, */*", "*/*;q=0"]
)
def test_what_is_not_wanted_is_not_sent(caller: Caller, accept: str) -> None:
    answer = caller("GET", "/users/me", headers={"Accept": accept})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")


@pytest.mark.parametrize(("length", "status"), [(1_000, 406), (1_001, 200), (15_000, 200)])
def test_a_very_long_one_is_disregarded(caller: Caller, length: int, status: int) -> None:
    accept = "text/html," + "a/b," * (length // 4 - 3)
    assert caller("GET", "/users/me", headers={"Accept": accept.ljust(length, "x")}).status_code == status


@pytest.mark.parametrize(
    ("path", "accept", "sent"),
    [
        ("/health", "application/json; charset=utf-8", "application/json"),
        ("/metrics", "application/openmetrics-text; version=1.0.0, text/plain; version=0.0.4; q=0.3", "text/plain"),
        ("/docs", "text/html; charset=utf-8", "text/html"),
        ("/api/v1/openapi.json", "application/json; charset=utf-8", "application/json"),
    ],
)  # fmt: skip
def test_the_same_beside_the_api(product: Service, path: str, accept: str, sent: str) -> None:
    answer = product("GET", path, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (200, sent)


def ended(caller: Caller) -> dict[str, Any]:
    tool, worker = factories.tool(), factories.worker()
    made: dict[str, Any] = caller("POST", f"/tools/{tool.slug}/invoke", json={"input": {}}).json()["data"]
    invocations.complete(factories.taken(worker), GOOD, worker)
    return made


def test_a_stream_of_events_too(caller: Caller) -> None:
    made = ended(caller)
    for accept in ("text/event-stream; charset=utf-8", "text/event-stream;q=0.5, application/json;q=0.1", "text/*"):
        answer = caller("GET", f"/invocations/{made['id']}/events", headers={"Accept": accept})
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
    refused = caller("GET", f"/invocations/{made['id']}/events", headers={"Accept": "application/json; charset=utf-8"})
    assert refused.status_code == 406


@pytest.mark.parametrize(
    ("accept", "query", "sent"),
    [
        ("application/x-ndjson", "", NDJSON),
        ("application/x-ndjson; charset=utf-8", "", NDJSON),
        ("text/csv;q=0.5, application/x-ndjson", "", NDJSON),
        ("text/csv, application/x-ndjson;q=0.9", "", CSV),
        ("text/csv; header=present", "", CSV),
        ("text/csv;q=0, */*", "", NDJSON),
        ("*/*", "", CSV),
        ("application/*", "", NDJSON),
        ("application/x-ndjson", "?format=csv", CSV),
        ("*/*", "?format=ndjson", NDJSON),
    ],
)
def test_an_export_is_in_the_format_that_is_wanted(caller: Caller, accept: str, query: str, sent: str) -> None:
    made = ended(caller)
    answer = caller("GET", f"/usage/export{query}", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["Content-Type"], answer.headers["Vary"]) == (200, sent, "Accept")
    assert f"usage.{'csv' if sent == CSV else 'ndjson'}" in answer.headers["Content-Disposition"]
    [entry] = (
        csv.DictReader(io.StringIO(answer.text)) if sent == CSV else map(json.loads, answer.text.splitlines())
    )  # fmt: skip
    assert entry["invocation_id"] == made["id"]
