"""Streamed responses, with PostgreSQL failing at each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from common import boot, invocations
from common.identity import keys
from common.identity.audit import OPERATOR
from common.settings import Settings
from tests import factories
from tests.queue.proxy import Proxy
from tests.usage.ledger import START, Ledger
from web.app import create_app
from web.http import large_reads, status_changes, waiting

API = "/api/v1"
#: More rows than one transaction of an export reads.
ENTRIES = 1_001
#: More statements than any stream executes.
MESSAGES = 60
Told = tuple[int, str, bytes, bool]


@pytest.fixture
def network(db: None, settings: Settings) -> Iterator[Proxy]:
    """The proxy between the application and PostgreSQL."""
    with Proxy(settings.database_url) as proxy:
        yield proxy


@pytest.fixture
def http(network: Proxy, settings: Settings) -> Iterator[FlaskClient]:
    yield create_app(replace(settings, database_url=network.url)).test_client()
    boot.connect(settings, process="test", pool_size=20)


def followed(http: FlaskClient) -> tuple[str, dict[str, str]]:
    """An event stream that reports one completion and closes."""
    customer, tool = factories.customer(), factories.tool()
    made = customer.submit(tool)
    invocations.cancel(customer.caller, made)
    key = keys.create(customer.user_id, "follows", actor=OPERATOR)[1]
    return f"{API}/invocations/{made}/events", {"X-API-Key": key}


def resumed(http: FlaskClient) -> tuple[str, dict[str, str]]:
    path, headers = followed(http)
    return path, {**headers, "Last-Event-ID": "0"}


def exported(form: str) -> Callable[[FlaskClient], tuple[str, dict[str, str]]]:
    def prepared(http: FlaskClient) -> tuple[str, dict[str, str]]:
        ledger = Ledger()
        ledger.write(*[ledger.row(START + timedelta(seconds=n)) for n in range(ENTRIES)])
        key = keys.create(ledger.user_id, "exports", actor=OPERATOR)[1]
        return f"{API}/usage/export?format={form}", {"X-API-Key": key}

    prepared.__name__ = form
    return prepared


def is_waited_for(path: str) -> bool:
    """Whether a client of this process waits for the invocation (those that other tests left behind do not count)."""
    return any(str(each) in path for each in list(waiting.registry._waiters))


def ask(http: FlaskClient, path: str, headers: dict[str, str]) -> Told:
    """The status, Retry-After, the body, and whether it is complete."""
    told = http.get(path, headers=headers)
    body = b""
    try:
        for piece in told.iter_encoded():
            body += piece
    except ConnectionResetError:
        return told.status_code, "", body, False
    finally:
        told.close()
    return told.status_code, told.headers.get("Retry-After", ""), body, True


@pytest.mark.parametrize("prepared", [followed, resumed, exported("csv"), exported("ndjson")])
def test_postgresql_goes_away_at_any_moment_of_a_stream(
    http: FlaskClient, network: Proxy, prepared: Callable[[FlaskClient], tuple[str, dict[str, str]]]
) -> None:
    """A failure before the first value is 503 with Retry-After; a later one ends a stream, and cuts a file off."""
    path, headers = prepared(http)
    whole = ask(http, path, headers)
    assert whole[0] == 200 and whole[3], whole
    told: list[Told] = []
    while whole not in told:
        network.cut_after(len(told))
        told.append(ask(http, path, headers))
        network.heal()
        assert len(told) < MESSAGES
    refused = [each for each in told if each[0] != 200]
    assert refused and all(status == 503 and after.isdigit() for status, after, _, _ in refused), refused
    begun = [each for each in told if each[0] == 200]
    assert all(body and whole[2].startswith(body) for _, _, body, _ in begun)
    assert all(complete == (body == whole[2]) for _, _, body, complete in begun)
    assert not is_waited_for(path), "a waiter was never removed"


def test_a_stream_of_events_that_has_begun_just_ends(
    http: FlaskClient, network: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_changes, "HEARTBEAT_SECONDS", 0.0)
    customer = factories.customer()
    made = customer.submit(factories.tool())
    key = keys.create(customer.user_id, "follows", actor=OPERATOR)[1]
    told = http.get(f"{API}/invocations/{made}/events", headers={"X-API-Key": key})
    pieces = iter(told.iter_encoded())
    assert b"event: snapshot" in next(pieces)
    network.cut_after(0)
    assert all(piece.startswith(b": still here\n") for piece in pieces)
    told.close()
    assert not is_waited_for(str(made))


def test_who_only_asks_for_the_headers_of_a_stream_is_not_kept_waiting_for(http: FlaskClient) -> None:
    customer = factories.customer()
    made = customer.submit(factories.tool())
    key = keys.create(customer.user_id, "looks", actor=OPERATOR)[1]
    told = http.head(f"{API}/invocations/{made}/events", headers={"X-API-Key": key})
    told.close()
    assert told.status_code == 200
    assert not is_waited_for(str(made))


def test_who_has_seen_all_there_is_hears_at_once_that_the_stream_is_there(
    http: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only after the first heartbeat: until then clients would not even have a status."""
    monkeypatch.setattr(status_changes, "HEARTBEAT_SECONDS", 60.0)
    customer = factories.customer()
    made = customer.submit(factories.tool())
    seen = invocations.get(made, customer.user_id).sequence
    key = keys.create(customer.user_id, "resumes", actor=OPERATOR)[1]
    headers = {"X-API-Key": key, "Last-Event-ID": str(seen)}
    with ThreadPoolExecutor() as pool:
        told = pool.submit(http.get, f"{API}/invocations/{made}/events", headers=headers).result(30)
    assert next(iter(told.iter_encoded())).startswith(b": still here\n")
    told.close()
    assert not is_waited_for(str(made))


@pytest.mark.parametrize(("size", "held"), [(10, 0), (large_reads.SMALL_BYTES, 1)], ids=["small", "large"])
def test_a_change_that_its_client_does_not_take_holds_a_permit_only_if_it_is_large(
    http: FlaskClient, size: int, held: int
) -> None:
    """Otherwise two clients that do not read would keep all others of their account from hearing of changes."""
    customer = factories.customer()
    made = customer.submit(factories.tool(input_schema={}), input={"text": "x" * size})
    key = keys.create(customer.user_id, "stalls", actor=OPERATOR)[1]
    told = http.get(f"{API}/invocations/{made}/events", headers={"X-API-Key": key})
    permits = large_reads._pacer._accounts[customer.user_id]
    while_sending = permits.free
    told.close()
    assert (while_sending, permits.free) == (large_reads.READS_AT_ONCE - held, large_reads.READS_AT_ONCE)
