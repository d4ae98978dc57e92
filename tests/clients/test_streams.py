"""Answers that are read while they are made: nothing twice, nothing lost, and the end is that of the invocation."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from joyfull import ConfigurationError, errors
from joyfull.codes import StreamingUnsupported
from tests.clients.canned import Canned
from tests.clients.conftest import Run
from tests.clients.scripted import RESET, Reply, Stage, invocation, ok, problem


@pytest.fixture(params=["sync", "async"])
def stage(request: pytest.FixtureRequest) -> Callable[..., Stage]:
    return lambda *replies: Stage(request.param, ok(invocation("queued"), 202), *replies)


def event(kind: str, identifier: str, data: Any) -> bytes:
    return f"id: {identifier}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def part(n: int, text: str, kind: str = "delta", attempt: int = 1) -> bytes:
    choices = [{"index": 0, "delta": {"content": text}}]
    return event(f"output.{kind}", f"1.{attempt}-{n}", {"attempt": attempt, "n": n, "choices": choices})


def said(text: str, **message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": text, **message}}]}


def end(text: str, status: str = "succeeded", sequence: int = 2) -> bytes:
    return event(f"invocation.{status}", str(sequence), invocation(status, output=said(text)))


def streamed(*parts: bytes, error: type[httpx.TransportError] | None = None) -> Reply:
    return Reply(headers={"Content-Type": "text/event-stream"}, parts=parts, error=error)


BEGUN = event("snapshot", "1", invocation("running"))


def text_of(world: Stage) -> list[str]:
    return list(world.do(lambda client: client.stream("chat", {"messages": []}).text()))


def test_it_goes_on_where_the_connection_was_lost_and_repeats_nothing(stage: Callable[..., Stage]) -> None:
    world = stage(
        streamed(BEGUN, part(1, "One, "), part(2, "two, ")[:20], error=httpx.ReadError),
        RESET,
        streamed(part(2, "two, "), part(2, "two, "), b": still here\n", event("of.the.future", "1.1-3", 7)),
        streamed(part(1, "One, "), part(2, "two, "), part(3, "three."), end("One, two, three.")),
    )
    assert text_of(world) == ["One, ", "two, ", "three."]
    assert json.loads(world.sent[0].content) == {"input": {"messages": []}, "stream": True}
    assert [each.headers.get("last-event-id") for each in world.sent[1:]] == [None, "1.1-1", "1.1-1", "1.1-2"]


def test_a_snapshot_replaces_what_was_shown(stage: Callable[..., Stage]) -> None:
    lines = streamed(BEGUN, part(1, "One, "), part(3, "One, two, ", "snapshot"), part(4, "three."), end("…"))
    found = stage(lines).do(lambda client: client.stream("chat", {}))
    assert [(each.text, each.replaces, each.n) for each in found[:3]] == [
        ("One, ", False, 1), ("One, two, ", True, 3), ("three.", False, 4),
    ]  # fmt: skip
    lines = streamed(BEGUN, part(5, "One, "), part(7, "One, two, ", "snapshot"), part(8, "three."), end("…")[:9])
    again = streamed(event("output.reset", "1.2-0", {"attempt": 2}), part(1, "A", attempt=2), end("A"))
    assert text_of(stage(lines, again)) == ["One, ", "two, ", "three.", "A"]


def test_what_was_not_shown_comes_at_the_end(stage: Callable[..., Stage]) -> None:
    assert text_of(stage(streamed(BEGUN, end("All of it.")))) == ["All of it."]
    assert text_of(stage(streamed(BEGUN, part(1, "All "), end("All of it.")))) == ["All ", "of it."]
    assert text_of(stage(Reply(204), ok(invocation(output=said("All of it."))))) == ["All of it."]
    called = {"content": None, "tool_calls": [{"index": 0}]}
    whole = event("invocation.succeeded", "2", invocation(output=said("", **called)))
    (only,) = stage(streamed(BEGUN, whole)).do(lambda client: client.stream("chat", {}))
    assert (only.text, only.choices[0]["delta"], only.replaces) == ("", called, True)


def test_other_choices_are_handed_on_as_they_came(stage: Callable[..., Stage]) -> None:
    choices = [{"index": 1, "delta": {"content": "B"}}, {"index": 0, "delta": {"reasoning": "hm"}, "logprobs": None}]
    lines = event("output.delta", "1.1-1", {"attempt": 1, "n": 1, "choices": choices})
    found = stage(streamed(BEGUN, lines, end(""))).do(lambda client: client.stream("chat", {}))
    assert [(list(each.choices), each.text) for each in found] == [(choices, "")]


@pytest.mark.parametrize(
    ("status", "kind"),
    [("failed", errors.WorkerLost), ("canceled", errors.InvocationCanceled), ("expired", errors.InvocationExpired)],
)
def test_every_other_end_is_raised_after_what_was_shown(
    stage: Callable[..., Stage], status: str, kind: type[errors.InvocationEnded]
) -> None:
    ended = invocation(
        status, output=None, error={"code": "worker_lost", "detail": "…"} if status == "failed" else None
    )
    world = stage(streamed(BEGUN, part(1, "One, "), event(f"invocation.{status}", "2", ended)))
    shown: list[str] = []
    with pytest.raises(kind) as raised:
        world.do(lambda client: remembering(client.stream("chat", {}).text(), shown))
    assert (shown, raised.value.job.id, raised.value.job.status) == (["One, "], "01a2", status)


def remembering(texts: Any, shown: list[str]) -> Any:
    """Keeps what comes before an error."""

    def kept() -> Iterator[str]:
        for text in texts:
            shown.append(text)
            yield text

    async def kept_async() -> AsyncIterator[str]:
        async for text in texts:
            shown.append(text)
            yield text

    return kept() if hasattr(texts, "__iter__") else kept_async()


def test_it_ends_with_its_time_and_cancels_nothing(stage: Callable[..., Stage]) -> None:
    silent = streamed(BEGUN, part(1, "One, "), error=httpx.ReadTimeout)
    world = stage(silent, *[RESET] * 50)
    with pytest.raises(errors.WaitTimeout) as raised:
        world.do(lambda client: client.stream("chat", {}, timeout=60).text())
    assert (world.time <= 60, raised.value.job.status) == (True, "running")
    world = stage(*[streamed(BEGUN, b": still here\n")] * 50)
    world.slow = 10.0
    with pytest.raises(errors.WaitTimeout):
        world.do(lambda client: client.stream("chat", {}, timeout=60))
    assert (world.time, {each.method for each in world.sent[1:]}) == (62.0, {"GET"}), "with the answer under way"


def test_an_outage_is_gone_through(stage: Callable[..., Stage]) -> None:
    away = [problem(503, "dependency_unavailable"), Reply(502), problem(429, "too_many_connections", 1), RESET]
    world = stage(streamed(BEGUN, part(1, "One, ")), *away * 3, streamed(part(2, "two."), end("One, two.")))
    assert text_of(world) == ["One, ", "two."]


def test_a_refusal_is_raised(stage: Callable[..., Stage]) -> None:
    world = stage(problem(403, "scope_missing", scope="invocations:read"))
    with pytest.raises(errors.JoyfullError, match="scope_missing"):
        text_of(world)
    world = stage()
    world.replies = [problem(422, "streaming_unsupported")]
    with pytest.raises(StreamingUnsupported):
        text_of(world)


def test_a_job_can_be_read_again_from_its_beginning(stage: Callable[..., Stage]) -> None:
    world = stage(ok(invocation("running")), streamed(BEGUN, part(2, "One, ", "snapshot"), end("One, two.")))
    world.do(lambda client: client.submit("chat", {}, stream=True))
    job = world.do(lambda client: client.job("01a2"))
    assert world.do(lambda _: job.stream().text()) == ["One, ", "two."]
    assert (job.status, job.output) == ("succeeded", said("One, two."))


def test_states_are_followed_without_the_answer(stage: Callable[..., Stage]) -> None:
    world = stage(streamed(BEGUN, part(1, "One, "), end("One, ")))
    job = world.do(lambda client: client.submit("chat", {}, stream=True))
    assert [each.status for each in world.do(lambda _: job.events())] == ["running", "succeeded"]
    assert world.sent[1].url.params["output"] == "false"


def test_whoever_leaves_reads_no_more_and_the_work_goes_on() -> None:
    world = Stage("sync", ok(invocation("queued"), 202), streamed(BEGUN, part(1, "One, "), part(2, "two, ")))
    with world.client.stream("chat", {}) as answer:
        with pytest.raises(ConfigurationError, match="nothing has been submitted yet"):
            print(answer.job)
        assert world.sent == []
        assert next(answer.text()) == "One, "
        assert answer.job.id == "01a2"
    assert list(answer) == []
    assert [each.method for each in world.sent] == ["POST", "GET"]


# -- the command ------------------------------------------------------------------------------------------------


def test_the_command_prints_the_text_and_says_how_it_ended_on_stderr(canned: Canned, run: Run) -> None:
    canned.on("POST /api/v1/tools/chat/invoke", ok(invocation("queued", waiting=None), 202))
    canned.on("GET /api/v1/invocations/01a2", ok(invocation("running", waiting=None)))
    events = "GET /api/v1/invocations/01a2/events"
    canned.on(events, streamed(BEGUN, part(1, "One, "), part(2, "One, two.", "snapshot"), end("One, two.")))
    printed = run("run", "chat", "--stream", typed="{}")
    assert (printed.status, printed.out) == (0, "One, two.\n")
    assert "✓ succeeded  01a2" in printed.err
    assert run("wait", "01a2", "--stream").out == printed.out
    lines = [json.loads(line) for line in run("run", "chat", "--stream", "--json-lines", typed="{}").out.splitlines()]
    assert [(each["n"], each["replaces"]) for each in lines[:-1]] == [(1, False), (2, True)]
    assert (
        lines[-1]["output"] == said("One, two.") == json.loads(run("wait", "01a2", "--stream", "--json").out)["output"]
    )


def test_what_was_printed_stays_where_it_ended_otherwise(canned: Canned, run: Run) -> None:
    canned.on("POST /api/v1/tools/chat/invoke", ok(invocation("queued", waiting=None), 202))
    ended = invocation("failed", output=None, error={"code": "worker_lost", "detail": "It was lost."})
    lines = streamed(BEGUN, part(1, "One, "), event("invocation.failed", "2", ended))
    canned.on("GET /api/v1/invocations/01a2/events", lines)
    printed = run("run", "chat", "--stream", typed="{}")
    assert (printed.status, printed.out) == (3, "One, \n")
    assert "worker_lost: It was lost." in printed.err
