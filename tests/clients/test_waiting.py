"""Waiting always ends and never loses the id; streams are resumed, and each state is seen once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from joyfull import errors
from joyfull.sse import Parser, ServerEvent
from tests.clients.scripted import RESET, Reply, Stage, invocation, ok, problem


@pytest.fixture(params=["sync", "async"])
def stage(request: pytest.FixtureRequest) -> Callable[..., Stage]:
    return lambda *replies, **options: Stage(request.param, *replies, **options)


def event(number: int, status: str) -> bytes:
    return f"id: {number}\nevent: snapshot\ndata: {json.dumps(invocation(status))}\n\n".encode()


def streamed(*parts: bytes, error: type[httpx.TransportError] | None = None) -> Reply:
    return Reply(headers={"Content-Type": "text/event-stream"}, parts=parts, error=error)


def following(world: Stage) -> Any:
    """What one sees of a job, from its submit on."""
    world.replies.insert(0, ok(invocation("queued"), 202))
    job = world.do(lambda client: client.submit("echo", {}))
    return [each.status for each in world.do(lambda _: job.events())]


def test_run_returns_the_output(stage: Callable[..., Stage]) -> None:
    world = stage(ok(invocation("running"), 202), ok(invocation("running")), ok(invocation()))
    world.slow = 20.0
    assert world.do(lambda client: client.run("echo", {}, timeout=100)) == {"echo": 1}
    assert [each.url.params.get("wait") for each in world.sent] == [None, "30", "30"]
    assert world.sent[0].headers["prefer"] == "wait=30"


@pytest.mark.parametrize(
    ("ended", "kind"),
    [
        (invocation("failed", error={"code": "tool_timeout", "detail": "late"}), errors.ToolTimeout),
        (invocation("failed", error={"code": "of_the_future", "detail": "?"}), errors.InvocationFailed),
        (invocation("canceled"), errors.InvocationCanceled),
        (invocation("expired"), errors.InvocationExpired),
    ],
    ids=["failed", "failed-unknown", "canceled", "expired"],
)
def test_every_other_end_is_raised_with_the_job(stage: Callable[..., Stage], ended: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind) as raised:
        stage(ok(ended)).do(lambda client: client.run("echo", {}))
    assert type(raised.value) is kind
    assert raised.value.job.id == "01a2"  # type: ignore[attr-defined]


def test_a_wait_that_runs_out_has_the_job_and_cancels_nothing(stage: Callable[..., Stage]) -> None:
    world = stage(ok(invocation("queued"), 202), *[ok(invocation("running"))] * 4)
    world.slow = 30.0
    with pytest.raises(errors.WaitTimeout) as raised:
        world.do(lambda client: client.run("echo", {}, timeout=100))
    assert (raised.value.job.id, raised.value.job.status) == ("01a2", "running")
    assert [each.url.params.get("wait") for each in world.sent] == [None, "30", "30", "10"]
    world.replies.append(ok(invocation()))
    assert world.do(lambda _: raised.value.job.result()) == {"echo": 1}


def test_a_wait_goes_through_an_outage_and_ends_with_its_time(stage: Callable[..., Stage]) -> None:
    away = [RESET, problem(503, "dependency_unavailable", 1), Reply(502)] * 10
    world = stage(ok(invocation("queued"), 202), *away[:9], ok(invocation()))
    assert world.do(lambda client: client.run("echo", {})) == {"echo": 1}
    world = stage(ok(invocation("queued"), 202), *away)
    with pytest.raises(errors.WaitTimeout) as raised:
        world.do(lambda client: client.run("echo", {}, timeout=60))
    assert world.time <= 60
    assert raised.value.job.id == "01a2"


def test_a_wait_without_an_end_goes_through_hours(stage: Callable[..., Stage]) -> None:
    world = stage(ok(invocation("queued"), 202), *[RESET] * 1100, ok(invocation()))
    assert world.do(lambda client: client.run("echo", {}, timeout=None)) == {"echo": 1}
    assert (max(world.slept), world.time > 2 * 3600) == (8.0, True)


def test_a_server_that_does_not_hold_polls_open_is_not_hammered(stage: Callable[..., Stage]) -> None:
    world = stage(ok(invocation("queued"), 202), *[ok(invocation("running"))] * 3, ok(invocation()))
    world.do(lambda client: client.run("echo", {}))
    assert world.slept == [0.5] * 3, "poll_after_ms"


def test_changes_are_told(stage: Callable[..., Stage]) -> None:
    world = stage(ok(invocation("queued"), 202), ok(invocation("running")), ok(invocation("running")), ok(invocation()))
    seen: list[str] = []
    job = world.do(lambda client: client.submit("echo", {}))
    world.do(lambda _: job.wait(on_change=lambda found: seen.append(found.status)))
    assert seen == ["running", "succeeded"]


def test_a_cancel_whose_answer_was_lost_is_a_cancel(stage: Callable[..., Stage]) -> None:
    finished = problem(409, "already_finished")
    world = stage(ok(invocation("queued"), 202), RESET, finished, ok(invocation("canceled")))
    job = world.do(lambda client: client.submit("echo", {}))
    assert world.do(lambda _: job.cancel()).status == "canceled"
    world.replies += [finished, ok(invocation())]
    with pytest.raises(Exception, match="already_finished"):
        world.do(lambda _: job.cancel())
    assert job.status == "succeeded"


# -- streams ----------------------------------------------------------------------------------------------------


def test_a_stream_that_is_cut_is_resumed_and_repeats_nothing(stage: Callable[..., Stage]) -> None:
    world = stage(
        streamed(event(1, "queued"), event(2, "running")[:9], error=httpx.ReadError),
        streamed(event(1, "queued"), event(2, "running"), event(2, "running"), b": still here\n"),
        streamed(event(3, "succeeded")),
    )
    assert following(world) == ["queued", "running", "succeeded"]
    assert [each.headers.get("last-event-id") for each in world.sent[1:]] == [None, "1", "2"]
    assert {each.extensions["timeout"]["read"] for each in world.sent[1:]} == {25.0}


def test_a_silent_stream_is_replaced_by_a_long_poll(stage: Callable[..., Stage]) -> None:
    world = stage(
        streamed(event(1, "queued"), error=httpx.ReadTimeout),
        ok(invocation("running")),
        streamed(error=httpx.ReadTimeout),
        ok(invocation()),
    )
    assert following(world) == ["queued", "running", "succeeded"]
    assert [each.url.params.get("wait") for each in world.sent] == [None, None, "30", None, "30"]


def test_a_stream_that_has_nothing_more_is_read_as_it_is(stage: Callable[..., Stage]) -> None:
    assert following(stage(Reply(204), ok(invocation()))) == ["succeeded"]


TEXT = (
    b"\xef\xbb\xbf: hello\n\nid: 1\r\nevent: a\r\ndata: one\r\ndata:  two\r\n\r\ndata\rid: x\0y\r\rretry: 5\n\n"
    b"data: \xf0\x9f\x8c\x9e\n\ndata: half"
)
EVENTS = [ServerEvent("1", "a", "one\n two"), ServerEvent("1", "message", ""), ServerEvent("1", "message", "🌞")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_the_parser_takes_bytes_cut_anywhere(size: int) -> None:
    parser = Parser()
    parts = [TEXT[at : at + size] for at in range(0, len(TEXT), size)]
    assert [each for part in parts for each in parser.feed(part)] == EVENTS
