"""Random faults under both drivers: what they send is the same to the byte, and no submit is made twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from joyfull import JoyfullError
from tests.clients.scripted import CUT, REFUSED, RESET, SILENT, Reply, Stage, invocation, ok, problem

#: What can happen to a request that does not reach the application, and to an answer of it.
BEFORE = [REFUSED, RESET, SILENT, Reply(502), problem(429, "rate_limited", 3), problem(503, "tool_unavailable", 1)]
AFTER = [RESET, SILENT, CUT, Reply(504)]
FAULTS = st.lists(
    st.one_of(
        st.none(),
        st.tuples(st.just("before"), st.sampled_from(range(len(BEFORE)))),
        st.tuples(st.just("after"), st.sampled_from(range(len(AFTER)))),
    ),
    max_size=40,
)


class Hub(list[Reply]):
    """A server that keeps its promises about keys, on a line that keeps none. It stands in for a script of replies."""

    def __init__(self, faults: list[tuple[str, int] | None], stage: Stage) -> None:
        self.faults: Iterator[tuple[str, int] | None] = iter(faults)
        self.stage = stage
        self.made: dict[str, str] = {}
        self.streams = 0

    def __bool__(self) -> bool:
        return True

    def pop(self, _place: Any = -1) -> Reply:
        when, which = next(self.faults, None) or ("", 0)
        if when == "before":
            return BEFORE[which]
        reply = self._carried_out(self.stage.sent[-1])
        return AFTER[which] if when == "after" else reply

    def _carried_out(self, request: httpx.Request) -> Reply:
        if request.url.path.endswith("/invoke"):
            return ok(invocation("queued", id=self._make(request.headers["idempotency-key"])), 202)
        if request.url.path.endswith("/batch"):
            keys = [item["idempotency_key"] for item in json.loads(request.content)["items"]]
            accepted = [{"status": 202, "invocation": invocation("queued", id=self._make(key))} for key in keys]
            return ok(accepted, 207)
        if request.url.path.endswith("/events"):
            return self._stream(request.headers.get("last-event-id"))
        return ok(invocation(id=request.url.path.rpartition("/")[2]))

    def _make(self, key: str) -> str:
        return self.made.setdefault(key, f"made-{len(self.made)}")

    def _stream(self, last: str | None) -> Reply:
        """Doubled events, cut in the middle the first time."""
        self.streams += 1
        states = ["queued", "running", "running", "succeeded"]
        events = [
            f"id: {number}\ndata: {json.dumps(invocation(state))}\n\n".encode()
            for number, state in zip((1, 2, 2, 3), states, strict=True)
            if last is None or number >= int(last)
        ]
        if self.streams == 1:
            return Reply(parts=(*events[:2], events[2][:7]), error=httpx.ReadError)
        return Reply(parts=tuple(events))


def story(stage: Stage) -> Iterator[Any]:
    """What is done, each step on its own: what came of it, or the name of what was raised."""
    jobs: list[Any] = []

    def submit(client: Any) -> Any:
        return client.submit("echo", {"text": "ä"}, metadata={"n": str(len(jobs))})

    orders = [{"tool": "echo", "input": {"n": n}} for n in range(3)]
    for step in (
        submit,
        lambda client: client.submit_many(orders, in_flight=2),
        submit,
        lambda client: client.run("echo", {}, timeout=20),
        lambda client: client.map("echo", ["a", "b"], ordered=False),
    ):
        try:
            found = stage.do(step)
            jobs.append(found)
            yield [str(each) for each in found] if isinstance(found, list) else str(found)
        except JoyfullError as error:
            yield type(error).__name__
    if jobs and hasattr(jobs[0], "events"):
        try:
            yield [each.status for each in stage.do(lambda _: jobs[0].events())]
        except JoyfullError as error:
            yield type(error).__name__


@settings(max_examples=60)
@given(FAULTS)
def test_both_drivers_send_the_same_bytes_and_no_submit_is_made_twice(faults: list[tuple[str, int] | None]) -> None:
    told = []
    for kind in ("sync", "async"):
        stage = Stage(kind)
        hub = Hub(faults, stage)
        stage.replies = hub
        came = [str(each).replace("AsyncJob", "Job") for each in story(stage)]
        told.append((stage.bytes_sent, stage.slept, came))
        assert len(hub.made) <= 8, "two submits, three orders, one run, two inputs"
        assert set(hub.made) <= {f"key-{n}" for n in range(1, stage.keys + 1)}
        states = came[-1]
        assert "'queued', 'queued'" not in states
        assert "'running', 'running'" not in states
    assert told[0] == told[1]


def test_without_faults_everything_is_made_once() -> None:
    stage = Stage("sync")
    hub = Hub([], stage)
    stage.replies = hub
    came = list(story(stage))
    assert (len(hub.made), stage.keys) == (8, 8)
    assert came[-1] == ["queued", "running", "succeeded"]
