"""A stream with very many choices, or items with an `index`: each takes the work of the first, and there is an end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from common.kit.outbound import OutboundClient
from common.tools.adapters import ToolFailure
from common.tools.adapters.stream_redaction import Choices
from common.tools.streamed import MAX_INDEXED, Assembly
from tests.kit.peers import running
from tests.steps import steps
from tests.worker.test_chat_streams import HELLO, USAGE, ask, delta, events, message, outbound, streams

__all__ = ["outbound"]
MANY = 300


def calls(first: int, count: int) -> list[dict[str, Any]]:
    return [{"index": index, "function": {"arguments": "x"}} for index in range(first, first + count)]


def tool_calls(count: int) -> None:
    said = Assembly()
    said.write([{"index": 0, "delta": {"tool_calls": calls(0, count)}}] * 2)
    assert len(said.choices()[0]["message"]["tool_calls"]) == count  # type: ignore[index]


def items_of_any_name(count: int) -> None:
    Assembly().write([{"index": 0, "delta": {}, "annotations": calls(-count, count)}])


def choices_that_end(count: int) -> None:
    """After as many that go on, each with a text of which something is held back."""
    texts = Choices(["secret"])
    texts.redacted([{"index": index, "delta": {"content": "a s"}} for index in range(count)])
    texts.redacted([{"index": -index, "delta": {}, "finish_reason": "stop"} for index in range(1, count)])
    assert len(texts.rest()) == count


@pytest.mark.parametrize("say", [tool_calls, items_of_any_name, choices_that_end])
def test_twice_as_many_take_twice_the_work(say: Callable[[int], None]) -> None:
    assert steps(lambda: say(2 * MANY)) < 2.2 * steps(lambda: say(MANY))


def test_there_may_be_many_but_not_any_number(outbound: OutboundClient) -> None:
    most = MAX_INDEXED - 1  # beside the choice itself
    called = [delta(tool_calls=calls(0, most)), delta(tool_calls=calls(0, 9))]
    with running(streams(events(*called, *HELLO, USAGE))) as peer:
        said = message(ask(outbound, peer))
    assert [each["function"]["arguments"] for each in said["tool_calls"]] == ["xx"] * 9 + ["x"] * (most - 9)
    for more in (delta(tool_calls=calls(most, 1)), delta(index=1), delta(odd=calls(0, 1))):
        with running(streams(events(*called, more, *HELLO, USAGE))) as peer, pytest.raises(ToolFailure) as caught:
            ask(outbound, peer)
        assert (caught.value.code, caught.value.detail) == (
            "tool_bad_response",
            "The response has more than 4,096 choices and indexed items.",
        )
