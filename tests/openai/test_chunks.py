"""Whatever of a log a reader gets, and however often it begins anew: what it has at the end is the stored answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.invocations import Invocation
from common.invocations.streams import OutputPart, PartId
from common.tools import Price, streamed
from common.tools.streamed import Assembly
from web.openai import answers
from web.openai.chunks import Change, Writer

TEXT = st.text(st.sampled_from("ab ö🙂"), min_size=1, max_size=4)
NOW = datetime(2027, 1, 31, tzinfo=UTC)
ENDED = Invocation(
    UUID(int=1), UUID(int=2), "succeeded", UUID(int=3), "tool", "A tool", 1, None, None, None, None, {}, 1, 10, 5,
    "request", NOW, NOW, NOW, NOW, None, Price(1, None, 10), stream=True,
)  # fmt: skip


def tool_call(index: int, text: str, first: bool) -> dict[str, object]:
    named = {"id": f"call-{index}", "type": "function"} if first else {}
    return {"tool_calls": [{"index": index, **named, "function": {"name": "f", "arguments": text}}]}


DELTA = st.one_of(
    st.builds(lambda text: {"content": text}, TEXT),
    st.builds(lambda text: {"role": "assistant", "content": text}, TEXT),
    st.builds(lambda text: {"reasoning": text}, TEXT),
    st.builds(tool_call, st.integers(0, 1), TEXT, st.booleans()),
)
LOGPROBS = st.builds(lambda text: {"logprobs": {"content": [{"token": text}]}}, TEXT)
CHOICE = st.builds(
    lambda index, delta, more: {"index": index, "delta": delta, **more},
    st.integers(0, 1),
    DELTA,
    st.just({}) | LOGPROBS,
)
#: What a tool says, and what happens to the log after that: nothing, a gap that only a snapshot closes, a lost reader.
STEPS = st.lists(
    st.tuples(st.lists(CHOICE, min_size=1, max_size=3), st.sampled_from(("", "", "gap", "behind"))), max_size=12
)


def log_of(steps: list[Any]) -> Iterator[OutputPart]:
    """What a reader is given of the log of these steps, each choice a page of its own."""
    said, log, n = Assembly(), list[OutputPart](), 0
    given = 0
    for choices, what in steps:
        said.write(choices)
        pages = streamed.as_deltas(said.choices()) if what == "gap" else choices
        if what == "gap":
            log, given = [], 0
        for page in pages:
            n += 1
            log.append(OutputPart(PartId(1, n), json.dumps([page]), is_snapshot=what == "gap" and page is pages[0]))
        if what == "behind":  # it is read from its start
            yield log[0]._replace(is_snapshot=True)
            yield from log[1:]
        else:
            yield from log[given:]
        given = len(log)


def sent(changes: list[Change]) -> list[Any]:
    writer = Writer(answers.head("a-model", ENDED), usage_wanted=False, answered=lambda: None)
    events = [event.decode() for event in writer.written(changes, lambda: True)]
    assert all(event.startswith("data: ") and event.endswith("\n\n") for event in events)
    assert events.pop() == "data: [DONE]\n\n"
    return [json.loads(event.removeprefix("data: ")) for event in events]


@given(STEPS, st.integers(0, 8))
def test_a_reader_has_the_stored_answer_at_the_end(steps: list[Any], lost: int) -> None:
    """Also if the log is gone before that."""
    whole, has = Assembly(), Assembly()
    for choices, _ in steps:
        whole.write(choices)
    ended = replace(ENDED, output=json.dumps({"choices": whole.choices()}))
    for chunk in sent([*log_of(steps[:lost]), ended]):
        indexes = [choice["index"] for choice in chunk["choices"]]
        assert len({*indexes}) == len(indexes)
        has.write(chunk["choices"])
    assert has.choices() == whole.choices()


def test_an_answer_that_begins_otherwise_is_never_done() -> None:
    part = OutputPart(PartId(1, 1), '[{"index":0,"delta":{"content":"no"}}]')
    ended = replace(ENDED, output='{"choices": [{"index": 0, "message": {"content": "yes"}}]}')
    writer = Writer({"id": "x"}, usage_wanted=False, answered=lambda: pytest.fail("it was not answered"))
    *_, last = writer.written([part, ended], lambda: True)
    assert json.loads(last.decode().removeprefix("data: "))["error"]["code"] == "tool_bad_response"
