"""Random faults under both drivers: what they send is the same to the byte, and no submit is made twice."""

from __future__ import annotations

import json
from ast import literal_eval
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


def _state(sequence: int, state: str) -> bytes:
    name = "snapshot" if sequence == 1 else f"invocation.{state}"
    data = invocation(state, attempts=sequence, output=OUTPUT)
    return f"id: {sequence}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _part(n: int, text: str) -> bytes:
    data = {"attempt": 1, "n": n, "choices": [{"index": 0, "delta": {"content": text}}]}
    return f"id: 2.1-{n}\nevent: output.delta\ndata: {json.dumps(data)}\n\n".encode()


ANSWER = "äbcd"
OUTPUT = {"choices": [{"index": 0, "message": {"content": ANSWER}}], "echo": 1}
EVENTS = ["1", "2", "2.1-1", "2.1-1", "2.1-2", "2.1-3", "3", "4"]
WIRE = [
    _state(1, "queued"), _state(2, "running"), _part(1, "ä"), _part(1, "ä"), _part(2, "b"), _part(3, "c"),
    _state(3, "running"), _state(4, "succeeded"),
]  # fmt: skip


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
        return ok(invocation(id=request.url.path.rpartition("/")[2], output=OUTPUT))

    def _make(self, key: str) -> str:
        return self.made.setdefault(key, f"made-{len(self.made)}")

    def _stream(self, last: str | None) -> Reply:
        """Doubled events, cut in the middle every other time; after a state, the answer comes from its beginning."""
        self.streams += 1
        after = EVENTS.index(last) if last else 0
        whole = last is None or "." not in last
        events = [
            event
            for number, (name, event) in enumerate(zip(EVENTS, WIRE, strict=True))
            if number >= after or (whole and "." in name)
        ]
        if self.streams % 2:
            return Reply(parts=(*events[:3], events[-1][:7]), error=httpx.ReadError)
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
        lambda client: client.stream("echo", {}).text(),
    ):
        try:
            found = stage.do(step)
            jobs.append(found)
            yield [str(each) for each in found] if isinstance(found, list) else str(found)
        except JoyfullError as error:
            yield type(error).__name__
    if not (jobs and hasattr(jobs[0], "events")):
        yield "None"
    else:
        try:
            yield [(each.status, each.attempts) for each in stage.do(lambda _: jobs[0].events())]
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
        assert len(hub.made) <= 9, "two submits, three orders, one run, two inputs, one stream"
        assert set(hub.made) <= {f"key-{n}" for n in range(1, stage.keys + 1)}
        shown, states = came[-2:]
        assert shown.isidentifier() or "".join(literal_eval(shown)) == ANSWER, "all of it, or an error"
        assert states.isidentifier() or _grow([sequence for _, sequence in literal_eval(states)])
    assert told[0] == told[1]


def _grow(sequences: list[int]) -> bool:
    """Whether each was seen once; the last may have been asked for instead."""
    return sequences[:-1] == sorted(set(sequences[:-1]))


def test_without_faults_everything_is_made_once() -> None:
    stage = Stage("sync")
    hub = Hub([], stage)
    stage.replies = hub
    came = list(story(stage))
    assert (len(hub.made), stage.keys) == (9, 9)
    assert came[-2:] == [["ä", "b", "c", "d"], [("queued", 1), ("running", 2), ("running", 3), ("succeeded", 4)]]
