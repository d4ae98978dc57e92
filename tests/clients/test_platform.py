"""The Python client against the running platform: the main job, and every operation of the document."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from common.identity import accounts
from common.identity.audit import OPERATOR
from dev.platform import Platform
from joyfull import AsyncClient, Client, Session, codes, models, webhooks
from joyfull.operations import OPERATIONS
from tests.client import PASSWORD
from tests.client import Client as Account
from tests.clients import processes
from tests.outside.receiver import Receiver
from tests.outside.tool import Tool

Offer = Callable[..., str]


class Watched(Account):
    """An account that remembers which operations it called."""

    def __init__(self, url: str, called: set[str]) -> None:
        def note(request: httpx.Request) -> None:
            path = request.url.raw_path.decode().partition("?")[0]
            named = [name for name, pattern in _PATTERNS.items() if pattern.fullmatch(f"{request.method} {path}")]
            called.update(named[:1])

        super().__init__(url, event_hooks={"request": [note]})


def _pattern(method: str, path: str) -> re.Pattern[str]:
    return re.compile(f"{method} " + re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))


#: Those with fewer placeholders first: `/invocations/cancel` could also be the id of an invocation.
_PATTERNS = {
    name: _pattern(each.method, each.path)
    for name, each in sorted(OPERATIONS.items(), key=lambda operation: operation[1].path.count("{"))
}


@pytest.fixture
def called() -> set[str]:
    return set()


@pytest.fixture
def client(hub: Platform, called: set[str]) -> Watched:
    return Watched(hub.url, called).join()


def test_the_main_job(client: Watched, offer: Offer, receiver: Receiver) -> None:
    slug = offer("/echo?after=300")
    assert client.run(slug, {"text": "abc"})["echo"] == {"text": "abc"}
    secret = client.webhooks.default_secret().secret
    job = client.submit(slug, {"text": "hello"}, webhook_url=f"{receiver.url}/hook", metadata={"order": "7"})
    assert [each.status for each in job.events()][-1] == "succeeded"
    assert job.result()["echo"] == {"text": "hello"}
    assert (job.billing.charged, job.billing.units, job.billing.price.max_tokens) == (6, 5, 50)
    (received,) = receiver.wait(1, timeout=15)
    event = webhooks.unwrap(received.body, dict(received.headers), secret)
    assert isinstance(event, models.InvocationEvent)
    assert (event.data.id, event.data.output) == (job.id, job.output)
    results = list(client.map(slug, [{"text": "x" * n} for n in range(1, 5)]))
    assert [each.output["echo"]["text"] for each in results] == ["x", "xx", "xxx", "xxxx"]
    assert client.usage.summary().totals.tokens_used == 4 + 6 + 2 + 3 + 4 + 5
    with pytest.raises(codes.ToolInputRejected, match=r"/input/text: "):
        client.submit(slug, {"text": 5})


def test_the_main_job_in_an_event_loop(client: Watched, offer: Offer) -> None:
    slug = offer("/echo?after=300")

    async def story() -> list[str]:
        async with AsyncClient(base_url=client.base_url, session=client.login) as other:
            job = await other.submit(slug, {"text": "hello"})
            seen = [each.status async for each in job.events()]
            outputs = await asyncio.gather(*(other.run(slug, {"text": "x"}) for _ in range(5)))
            assert all(each["echo"] == {"text": "x"} for each in outputs)
            assert len([entry async for entry in other.usage.list(limit=2)]) == 6
            return seen

    assert asyncio.run(story())[-1] == "succeeded"


STREAMING = {
    "adapter": "chat_completion", "streaming": True,
    "price": {
        "base_tokens": 1, "max_tokens": 100,
        "per_unit": {"pointer": "/usage/total_tokens", "tokens": 1, "unit": "token"},
    },
}  # fmt: skip


def test_an_answer_is_read_while_it_is_made(client: Watched, offer: Offer, tool: Tool) -> None:
    slug, given = offer("/stream?words=6&hold=2,4", **STREAMING), {"messages": [], "text": ""}
    whole = "".join(f"wörd{number} " for number in range(6))
    shown = ""
    answer = client.stream(slug, given)
    for text in answer.text():
        shown += text
        if shown in {whole[:12], whole[:24]}:
            assert answer.job.refresh().status == "running"
            tool.let_go()
    assert (shown, answer.job.output["choices"][0]["message"]["content"]) == (whole, whole)
    assert answer.job.billing.charged == 10

    async def again() -> str:
        async with AsyncClient(base_url=client.base_url, session=client.login) as other:
            job = await other.job(answer.job.id)
            return "".join([text async for text in job.stream().text()])

    assert asyncio.run(again()) == whole


def test_the_command_prints_an_answer_while_it_is_made(
    client: Watched, offer: Offer, tool: Tool, tmp_path: Path
) -> None:
    slug, key = offer("/stream?words=2&hold=1", **STREAMING), client.keys.create(name="A shell").key
    with processes.start(client.base_url, key, tmp_path, "run", slug, "messages:=[]", "text=", "--stream") as shell:
        assert shell.stdout is not None
        assert shell.stdout.read(7).decode() == "wörd0 "
        tool.let_go()
        rest, noted = shell.communicate()
    assert (shell.returncode, rest.decode()) == (0, "wörd1 \n"), noted
    assert "charged 6 of " in noted.decode()


def test_every_operation_is_called(
    client: Watched, called: set[str], offer: Offer, receiver: Receiver, tmp_path: Path
) -> None:
    slug = offer()
    _as_anybody(client)
    _as_customer(client, slug, tmp_path)
    _with_webhooks(client, slug, receiver)
    _with_keys(client)
    admin = Watched(client.base_url, called).join(plan=None)
    accounts.administer(UUID(admin.id), actor=OPERATOR, role="admin")
    _as_admin(admin, client.id, receiver)
    _goodbye(client)
    assert set(OPERATIONS) - called == set()


def _as_anybody(client: Watched) -> None:
    assert (client.platform.health().status, client.platform.ready().status) == ("ok", "ready")
    assert "# TYPE" in client.platform.metrics()
    client.account.request_password_reset(email=client.email)
    client.account.request_verification(email=client.email)
    with pytest.raises(codes.InvalidLink):
        client.account.reset_password("no-token", password=PASSWORD)
    with pytest.raises(codes.InvalidLink):
        client.account.verify_email("no-token")


def _as_customer(client: Watched, slug: str, directory: Path) -> None:
    assert client.account.update(name="Another").name == "Another"
    assert [each.current for each in client.sessions.list()] == [True]
    assert slug in [each.slug for each in client.tools.list()]
    tool = client.tools.get(slug)
    assert [each.version for each in client.tools.versions(slug)] == [tool.version]
    assert client.tools.quote(slug, {"text": "abc"}).allowed
    job = client.submit(slug, {"text": "abc"}, wait=20)
    assert client.invocations.rerun_price(job.id).input_stored
    again = client.invocations.rerun(job.id)
    assert again.wait().rerun_of == job.id
    assert client.invocations.get(job.id).status == "succeeded"
    assert {each.id for each in client.invocations.list(status="succeeded")} == {job.id, again.id}
    assert [each.n for each in client.invocations.attempts(job.id)] == [1]
    (later,) = client.invocations.batch([{"tool": slug, "input": {"text": "x"}, "not_before": _later()}])
    assert later.invocation is not None
    assert client.job(later.invocation.id).cancel().status == "canceled"
    assert client.invocations.cancel_many(ids=[later.invocation.id]).already_finished == 1
    assert list(client.invocations.failures()) == []
    assert len(list(client.usage.list())) == 3
    assert client.usage.summary().totals.tokens_used == 8
    assert client.invocations.receipt(job.id).claims
    assert list(client.platform.signing_keys()) == ["keys"]
    assert client.usage.export(directory / "usage.csv").read_text().count("\n") == 4
    assert client.usage.forecast().available is not None
    assert client.subscription.current().tokens.charged == client.subscription.statement().charged == 8
    assert next(iter(client.subscription.plans())).slug == "free"
    assert client.subscription.preview(plan="free").kind == "nothing"
    assert client.account.attention().endpoints == ()
    (period,) = client.subscription.periods()
    assert client.subscription.check_statement(period=period.id).difference == 0
    schedule = client.schedules.create(tool=slug, input={"text": "a"}, every_seconds=3600)
    assert client.schedules.update(schedule.id, paused=True).paused
    assert [each.id for each in client.schedules.list()] == [client.schedules.get(schedule.id).id]
    client.schedules.delete(schedule.id)
    assert list(job.events())[-1].id == job.id


def _later() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def _with_webhooks(client: Watched, slug: str, receiver: Receiver) -> None:
    endpoint = client.webhooks.create(url=f"{receiver.url}/all")
    assert client.webhooks.update(endpoint.id, description="All").description == "All"
    assert client.webhooks.get(endpoint.id).url == endpoint.url
    assert [each.id for each in client.webhooks.list()] == [endpoint.id]
    assert client.webhooks.test(endpoint.id).http_status == 204
    client.run(slug, {"text": "abc"})
    receiver.wait(2, "/all")
    job_id = client.invocations.list().first(1)[0].id
    assert len(list(client.invocations.deliveries(job_id))) == 1
    delivery = client.webhooks.deliveries(endpoint.id).first(1)[0]
    assert client.webhooks.delivery(endpoint.id, delivery.id).attempts
    client.webhooks.resend(endpoint.id, delivery.id)
    assert client.webhooks.health(endpoint.id).failed == 0
    assert client.webhooks.replayable(endpoint.id, since=datetime.now(UTC) - timedelta(hours=1)).count == 0
    assert client.webhooks.replay(endpoint.id, since=datetime.now(UTC) - timedelta(hours=1)).replayed == 0
    assert client.webhooks.rotate_secret(endpoint.id).secret != endpoint.secret
    assert client.webhooks.rotate_default_secret().secret == client.webhooks.default_secret().secret
    assert "invocation.succeeded" in {each.type for each in client.events.list()}
    client.webhooks.delete(endpoint.id)


def _with_keys(client: Watched) -> None:
    key = client.keys.create(name="All", allowance={"tokens": 100, "window": "total"})
    with Client(key.key, base_url=client.base_url) as own:
        assert own.account.me().credential.key_id == key.id
    assert client.keys.rotate(key.id, overlap_seconds=0).key != key.key
    child = client.keys.delegate(tokens=10, expires_in=60)
    assert child.allowance.tokens == 10
    assert key.id in [each.id for each in client.keys.list()]
    client.keys.revoke(key.id)


def _as_admin(admin: Watched, user_id: str, receiver: Receiver) -> None:
    assert admin.admin.users.get(user_id).plan == "free"
    assert user_id in [each.id for each in admin.admin.users.list(plan="free")]
    assert admin.admin.users.update(user_id, is_active=True).is_active
    grant = admin.admin.users.grant(user_id, tokens=5, reason="a test")
    assert admin.admin.users.get_grant(user_id, grant.id).tokens == 5
    made = admin.admin.tools.create(
        slug=f"made-{uuid4().hex[:8]}",
        name="Made",
        endpoint_url=f"{receiver.url}/tool",
        input_schema={},
        price={"base_tokens": 1, "max_tokens": 1},
    )
    assert admin.admin.tools.update(made.id, name="Changed", description=None).name == "Changed"
    assert admin.admin.tools.get(made.id).version == 2
    assert [each.version for each in admin.admin.tools.versions(made.id)] == [2, 1]
    assert admin.admin.tools.test(made.id, input={}).tokens == 0
    assert admin.admin.tools.breaker(made.id).state == "closed"
    assert admin.admin.tools.reset_breaker(made.id).state == "closed"
    assert made.slug in [each.slug for each in admin.admin.tools.list()]
    admin.admin.tools.archive(made.id)
    document = {"openapi": "3.1.0", "info": {"title": "T", "version": "1"}, "paths": {}}
    assert admin.admin.tools.import_document(document=document, base_url="https://example.com").tools == ()
    plan = admin.admin.plans.create(slug=f"plan-{uuid4().hex[:8]}", name="P", monthly_tokens=None)
    assert admin.admin.plans.update(plan.slug, is_active=False).is_active is False
    assert admin.admin.plans.get(plan.slug).slug in [each.slug for each in admin.admin.plans.list()]
    theirs = list(admin.admin.invocations.list(user=user_id))
    assert {each.user_id for each in theirs} == {user_id}
    assert admin.admin.invocations.get(theirs[0].id).user_id == user_id
    assert [each.name for each in admin.admin.users.keys(user_id)] in ([], ["All"])
    assert admin.admin.stats().totals.invocations > 0
    assert admin.admin.operations().version
    assert list(admin.admin.verifications()) == []
    assert "grant" in " ".join(each.action for each in admin.admin.audit.list(limit=100))


def _goodbye(client: Watched) -> None:
    assert client.subscription.cancel(at_period_end=True).cancel_at_period_end
    other = Session(client.email, PASSWORD)
    with Client(base_url=client.base_url, session=other) as elsewhere:
        elsewhere.account.me()
        others = [each for each in client.sessions.list() if not each.current]
        client.sessions.revoke(others[0].id)
    assert client.sessions.revoke_others().revoked == 0
    tokens = client.login.store.read()
    assert tokens is not None
    client.login.store.write(replace(tokens, ends=0.0))  # as after 14 minutes: refreshed before the next request
    client.login._tokens = None
    client.account.delete(password=PASSWORD)
    client.logout()
    with pytest.raises(codes.InvalidCredentials):
        client.account.me()
