"""Every row of what the client tries again, and what it does not; both drivers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import pytest

import joyfull
from joyfull import codes, errors
from tests.clients.scripted import CUT, REFUSED, RESET, SILENT, Reply, Stage, invocation, ok, problem

Call = Callable[[Any], Any]
TOOL = ok({"id": "01", "slug": "echo", "name": "Echo"})
ENDPOINT = ok({"id": "01", "url": "https://example.com", "secret": "whsec_"}, 201)


@pytest.fixture(params=["sync", "async"])
def stage(request: pytest.FixtureRequest) -> Callable[..., Stage]:
    return lambda *replies, **options: Stage(request.param, *replies, **options)


def get(client: Any) -> Any:
    return client.tools.get("echo")


def submit(client: Any) -> Any:
    return client.submit("echo", {"text": "a"})


def rename(client: Any) -> Any:
    return client.account.update(name="B")


def delete(client: Any) -> Any:
    return client.webhooks.delete("01")


def create(client: Any) -> Any:
    return client.webhooks.create(url="https://example.com")


def batch(client: Any) -> Any:
    return client.invocations.batch([{"tool": "echo", "input": {}}])


def register(client: Any) -> Any:
    return client.account.register(email="a@example.com", password="a quiet green river", name="A")


def try_out(client: Any) -> Any:
    return client.admin.tools.test("01")


LOST = [RESET, SILENT, CUT, Reply(502), Reply(504)]
IDS = ["reset", "silent", "cut", "502", "504"]


@pytest.mark.parametrize("lost", LOST, ids=IDS)
@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (get, TOOL),
        (rename, ok({"id": "01"})),
        (delete, Reply(204)),
        (submit, ok(invocation())),
        (create, ENDPOINT),
        (batch, ok([{"status": 202, "invocation": invocation()}], 207)),
    ],
    ids=["get", "patch", "delete", "submit", "keyed-post", "batch"],
)
def test_a_lost_answer_is_asked_for_again_where_that_is_safe(
    stage: Callable[..., Stage], lost: Reply, call: Call, answer: Reply
) -> None:
    world = stage(lost, lost, answer)
    world.do(call)
    assert (
        len({(each.method, str(each.url), each.content, each.headers.get("idempotency-key")) for each in world.sent})
        == 1
    )
    assert len(world.sent) == 3
    assert world.slept == [0.5, 1.0]


@pytest.mark.parametrize("lost", LOST, ids=IDS)
@pytest.mark.parametrize("call", [register, try_out], ids=["register", "try-out"])
def test_a_lost_answer_to_any_other_post_is_an_unknown_outcome(
    stage: Callable[..., Stage], lost: Reply, call: Call
) -> None:
    world = stage(lost)
    with pytest.raises(errors.OutcomeUnknown, match="to see whether") as raised:
        world.do(call)
    assert (len(world.sent), raised.value.idempotency_key) == (1, None)


@pytest.mark.parametrize("call", [register, get, submit], ids=["post", "get", "submit"])
def test_what_never_arrived_is_sent_again_whatever_it_is(stage: Callable[..., Stage], call: Call) -> None:
    world = stage(*[REFUSED] * 5)
    with pytest.raises(errors.ConnectionFailed) as raised:
        world.do(call)
    assert (len(world.sent), raised.value.sent) == (5, False)
    assert world.slept == [0.5, 1.0, 2.0, 4.0]


def test_a_submit_that_stays_unanswered_says_its_key(stage: Callable[..., Stage]) -> None:
    world = stage(*[RESET] * 5)
    with pytest.raises(errors.OutcomeUnknown, match="key-1") as raised:
        world.do(submit)
    assert raised.value.idempotency_key == "key-1"
    assert isinstance(raised.value.__cause__, errors.ConnectionFailed)


def test_deleting_what_a_lost_answer_already_deleted_is_success(stage: Callable[..., Stage]) -> None:
    assert stage(RESET, problem(404, "not_found")).do(delete) is None
    with pytest.raises(codes.ResourceNotFound):
        stage(problem(404, "not_found")).do(delete)


@pytest.mark.parametrize(
    "later",
    [problem(429, "rate_limited", 7), problem(503, "tool_unavailable", 7), problem(408, "request_timeout")],
    ids=["429", "503", "408"],
)
@pytest.mark.parametrize("call", [get, register], ids=["get", "post"])
def test_later_means_later(stage: Callable[..., Stage], later: Reply, call: Call) -> None:
    world = stage(later, TOOL)
    world.do(call)
    assert world.slept == [float(later.headers.get("Retry-After", "0.5"))]


def test_an_outage_is_waited_out_only_where_a_repeat_is_safe(stage: Callable[..., Stage]) -> None:
    """503 `dependency_unavailable` is also the answer when the outcome of a commit is unknown."""
    away = problem(503, "dependency_unavailable", 1)
    stage(away, TOOL).do(get)
    stage(away, ok(invocation())).do(submit)
    with pytest.raises(codes.DependencyUnavailable):
        stage(away).do(register)


def test_a_delay_that_does_not_fit_is_not_waited_for(stage: Callable[..., Stage]) -> None:
    world = stage(problem(429, "rate_limited", 151))
    with pytest.raises(codes.RateLimited) as raised:
        world.do(get)
    assert (raised.value.retry_after, world.slept) == (151.0, [])


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "malformed_json"), (401, "token_expired"), (402, "budget_exhausted"), (403, "scope_missing"),
        (404, "not_found"), (409, "conflict"), (422, "validation_failed"), (429, "too_many_attempts"),
        (500, "internal_error"),
    ],
)  # fmt: skip
def test_a_refusal_is_final(stage: Callable[..., Stage], status: int, code: str) -> None:
    world = stage(problem(status, code, 1))
    with pytest.raises(joyfull.ApiError) as raised:
        world.do(submit)
    assert (len(world.sent), raised.value.status, raised.value.code) == (1, status, code)


def test_a_refusal_after_a_lost_answer_means_that_nothing_was_made(stage: Callable[..., Stage]) -> None:
    """Keys are looked up before anything is refused: a replay would have ended there."""
    with pytest.raises(codes.BudgetExhausted):
        stage(RESET, problem(402, "budget_exhausted")).do(submit)


def test_body_and_key_are_fixed_before_the_first_attempt() -> None:
    value = {"text": "before"}
    world = Stage("sync", RESET, ok(invocation()))
    sleep = world.client._driver.sleep
    world.client._driver.sleep = lambda seconds: (value.update(text="after"), sleep(seconds))
    world.do(lambda client: client.submit("echo", value))
    assert value == {"text": "after"}
    assert [each.content for each in world.sent] == [b'{"input":{"text":"before"}}'] * 2


def test_a_naive_time_is_refused_before_anything_is_sent(stage: Callable[..., Stage]) -> None:
    world = stage()
    naive = datetime(2026, 11, 29)  # noqa: DTZ001 - that is what is refused
    with pytest.raises(ValueError, match="no time zone"):
        world.do(lambda client: client.usage.list(from_=naive))
    with pytest.raises(ValueError, match="no time zone"):
        world.do(lambda client: client.submit("echo", {}, not_before=naive))
    assert world.sent == []


def test_the_read_timeout_of_a_long_poll_is_ten_seconds_longer(stage: Callable[..., Stage]) -> None:
    world = stage(ok(invocation()), ok(invocation()))
    world.do(lambda client: client.submit("echo", {}, wait=45))
    world.do(lambda client: client.invocations.get("01", wait=60))
    assert [each.extensions["timeout"]["read"] for each in world.sent] == [55.0, 70.0]
    assert world.sent[0].headers["prefer"] == "wait=45"


def test_what_is_logged_is_no_secret(stage: Callable[..., Stage], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="joyfull")
    stage(RESET, ok(invocation())).do(lambda client: client.submit("echo", {"text": "private"}))
    said = [record.getMessage() for record in caplog.records if record.name == "joyfull"]
    assert ["again in 0.5 s" in said[0], said[1:]] == [True, ["POST /api/v1/tools/echo/invoke: 200"]]
    assert not any("jh_" in each or "private" in each for each in said)


def test_what_answers_something_else_is_said_so(stage: Callable[..., Stage]) -> None:
    with pytest.raises(errors.BadResponse):
        stage(Reply(200, headers={"Content-Type": "text/html"}, parts=(b"<html>",))).do(get)
    page = Reply(403, parts=(b"<html>no</html>",))
    with pytest.raises(joyfull.ApiError) as raised:
        stage(page).do(get)
    assert (type(raised.value).__name__, raised.value.code) == ("Forbidden", "")


def test_a_session_logs_in_refreshes_and_logs_in_again(stage: Callable[..., Stage]) -> None:
    pair = {"access_token": "A1", "refresh_token": "R1", "token_type": "Bearer", "expires_in": 900}
    world = stage(
        ok(pair), TOOL, TOOL, ok({**pair, "access_token": "A2"}), TOOL, problem(401, "token_revoked"), ok(pair), TOOL,
        session=joyfull.Session("a@example.com", "a quiet green river"),
    )  # fmt: skip
    for pause in (0, 0, 841, 841):
        world.time += pause
        world.do(get)
    asked = [each.url.path.rpartition("/")[2] for each in world.sent]
    assert asked == ["login", "echo", "echo", "refresh", "echo", "refresh", "login", "echo"]
    shown = [each.headers["authorization"] for each in world.sent if each.url.path.endswith("echo")]
    assert shown == ["Bearer A1", "Bearer A1", "Bearer A2", "Bearer A1"]
    assert "authorization" not in world.sent[0].headers


def test_http_client_errors_are_ours(stage: Callable[..., Stage]) -> None:
    world = stage(*[Reply(error=httpx.PoolTimeout)] * 5)
    with pytest.raises(errors.Timeout) as raised:
        world.do(get)
    assert (raised.value.sent, isinstance(raised.value.__cause__, httpx.PoolTimeout)) == (False, True)
