"""One trace from the request through queue and tool to the webhook, as a collector of OpenTelemetry sees it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from common import boot
from common.kit import tracing
from common.settings import Settings, load
from dev import platform as parts
from dev.ports import free_port
from dev.servers import Redis
from dev.supervisor import Supervisor
from tests.client import Client
from tests.conftest import ROOT, TEMPLATE
from tests.ops.collector import Collector
from tests.outside.receiver import Receiver, Reply
from tests.outside.server import Request

Offer = Callable[..., str]
INVOKE = "POST /api/v1/tools/<tool>/invoke"
#: Seconds that a busy machine may take to start processes.
STARTING = 240
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as server:
        yield server


@pytest.fixture(scope="module")
def own_database(postgres_url: str, database_url: str) -> Iterator[str]:
    """A database of this module alone: a worker of somebody else would run an invocation without a trace."""
    name = sql.Identifier(f"{database_url.partition('?')[0].rpartition('/')[2]}_traced")
    with psycopg.connect(postgres_url.format("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("create database {} template {}").format(name, sql.Identifier(TEMPLATE)))
        yield postgres_url.format(name.as_string(admin).strip('"'))
        admin.execute(sql.SQL("drop database {} with (force)").format(name))


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    server.wait()
    yield server.url()
    server.stop()


@pytest.fixture(scope="module")
def small_platform(
    environ: dict[str, str],
    own_database: str,
    own_redis: str,
    collector: Collector,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Settings]:
    """A small platform that sends its traces to the collector; → its settings."""
    env = {
        **environ,
        "DATABASE_URL": own_database,
        "REDIS_URL": own_redis,
        "PORT": str(free_port()),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    settings = load(env)
    supervisor = Supervisor(env, tmp_path_factory.mktemp("traced"), ROOT)
    supervisor.start(parts.web(settings), parts.worker("invocations", 4), parts.worker("webhooks", 4))
    try:
        url = parts.local_url(settings.host, settings.port)
        supervisor.wait_for(lambda: parts.serving(f"{url}/ready"), "web", STARTING)
        supervisor.wait_for(lambda: workers(own_database) == {"invocations", "webhooks"}, "workers", STARTING)
        yield settings
    finally:
        supervisor.stop()


def workers(url: str) -> set[str]:
    """The queues whose workers have a row, which is when they begin to work."""
    with psycopg.connect(url) as connection:
        return {queue for (queue,) in connection.execute("select split_part(name, '@', 1) from processes").fetchall()}


@pytest.fixture
def traced(db: None, small_platform: Settings, settings: Settings) -> Iterator[str]:
    """The URL of the small platform; this process is connected to the servers of it."""
    boot.connect(replace(small_platform, otel_endpoint=None), process="test", pool_size=4)
    try:
        yield parts.local_url(small_platform.host, small_platform.port)
    finally:
        boot.connect(settings, process="test", pool_size=20)


def span_id(request: Request) -> str:
    """The id of the span in which a request was sent."""
    return (request.header("traceparent") or "--").split("-")[2]


@pytest.mark.xdist_group("tracing")
def test_one_trace_from_the_request_to_the_webhook(
    traced: str, collector: Collector, offer: Offer, receiver: Receiver, own_database: str
) -> None:
    client = Client(traced).join()
    receiver.always("/tool", Reply(200, body=b'{"units": 1}', headers={"Content-Type": "application/json"}))
    slug = offer(endpoint_url=f"{receiver.url}/tool", auth={"type": "bearer", "secret": "canary-of-the-tool"})
    submitted = client.invoke(slug, {"text": "canary-of-the-input"}, webhook_url=f"{receiver.url}/hook")
    ended = client.ended(submitted["id"])
    assert ended["status"] == "succeeded", ended
    hook, called = receiver.wait(1, "/hook", timeout=60)[0], receiver.requests("/tool")[0]

    deliver, call = collector.span(span_id(hook)), collector.span(span_id(called))
    run, request = collector.span(call.parent), collector.span(deliver.parent)
    assert [span.name for span in (request, run, call, deliver)] == [
        INVOKE, "invocations.run", f"call {slug}", "webhooks.deliver",
    ]  # fmt: skip
    assert [span.service for span in (request, run, call, deliver)] == [
        "joyfull-web", "joyfull-invocations", "joyfull-invocations", "joyfull-webhooks",
    ]  # fmt: skip
    assert {span.trace for span in (request, run, call, deliver)} == {request.trace}
    assert [span.parent for span in (request, run, call, deliver)] == ["", request.id, run.id, request.id]
    assert run.attributes["invocation_id"] == submitted["id"]
    assert (request.attributes["http.response.status_code"], request.failed) == (202, False)
    for sent in (hook, called):
        assert (sent.header("traceparent") or "").startswith(f"00-{request.trace}-")
    exported = b"".join(collector.bodies)
    for secret in (b"canary-of-the-tool", b"canary-of-the-input", client.email.encode(), receiver.url.encode()):
        assert secret not in exported
    with psycopg.connect(own_database) as connection:
        stored = connection.execute("select traceparent from invocations where id = %s", (submitted["id"],)).fetchone()
    assert stored
    assert stored[0].startswith(f"00-{request.trace}-{request.id}-")


@pytest.mark.xdist_group("tracing")
def test_a_callers_own_trace_goes_on(traced: str, collector: Collector, offer: Offer) -> None:
    client = Client(traced).join()
    bad = offer("/fail?status=400")
    body, headers = {"input": {"text": "x"}}, {"traceparent": CALLER}
    submitted = client.data("POST", f"/tools/{bad}/invoke", 202, json=body, headers=headers)["id"]
    client.ended(submitted)
    request, run, call = collector.trace_of(submitted, INVOKE, "invocations.run", f"call {bad}")
    assert {span.trace for span in (request, run, call)} == {CALLER.split("-")[1]}
    assert request.parent == CALLER.split("-")[2]
    assert (request.failed, run.failed, call.failed) == (False, True, True)


@pytest.mark.parametrize(
    "sent", ["00-" + "0" * 32 + "-00f067aa0ba902b7-01", "00-abc", CALLER.upper(), CALLER + "-x", "é"]
)
def test_what_is_no_traceparent_begins_a_trace_of_its_own(collector: Collector, sent: str) -> None:
    tracing.configure(collector.url, "test")
    try:
        with tracing.span("around", "server", CALLER), tracing.span("inside", "server", sent):
            found = tracing.traceparent()
    finally:
        tracing.stop()
    assert found
    assert tracing.TRACEPARENT.fullmatch(found)
    assert CALLER.split("-")[1] not in found


def test_without_an_endpoint_nothing_is_imported_and_nothing_sent() -> None:
    code = (
        "import sys; from common.kit import tracing; tracing.configure(None, 'web')\n"
        "with tracing.span('x', 'server', None): tracing.note(failed='y')\n"
        "print((tracing.traceparent(), tracing.headers(), tracing.enabled()))\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google'))])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["(None, {}, False)", "[]"]


def test_an_endpoint_without_the_packages_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "common.kit.spans", raising=False)
    with pytest.raises(tracing.NotInstalled, match=r"requirements-tracing\.txt"):
        tracing.configure("http://127.0.0.1:1", "web")
    assert not tracing.enabled()


@pytest.mark.xdist_group("tracing")
def test_a_silent_collector_costs_no_request(traced: str, collector: Collector, offer: Offer) -> None:
    client = Client(traced).join()
    slug = offer()
    collector.silent = True
    try:
        for _ in range(5):
            assert client.ended(client.invoke(slug, {"text": "x"})["id"])["status"] == "succeeded"
    finally:
        collector.silent = False
