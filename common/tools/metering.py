"""Counting units by a price's meter, where a tool reports none: pure, and recomputable from input and output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from common.models.tools import Metered


def units(meter: Metered, value: object, answer: Mapping[str, object]) -> int:
    """Units of a chat completion for the input `value`.

    Characters (Unicode code points) of content, reasoning and tool-call arguments of all messages in the answer,
    divided by `chars_per_unit` and rounded up; plus the same of the messages in the input, if the meter counts them.
    """
    messages = [choice.get("message") for choice in _objects(answer.get("choices"))]
    counted = _units(meter, messages)
    if meter["input"] and isinstance(value, Mapping):
        counted += _units(meter, value.get("messages"))
    return counted


def _units(meter: Metered, messages: object) -> int:
    characters = sum(len(text) for message in _objects(messages) for text in _texts(message))
    return -(-characters // meter["chars_per_unit"])


def _texts(message: Mapping[str, object]) -> Iterator[str]:
    for name in ("content", "reasoning", "reasoning_content"):
        value = message.get(name)
        yield from _strings([part.get("text") for part in _objects(value)] if isinstance(value, list) else [value])
    calls = [call.get("function") for call in _objects(message.get("tool_calls"))]
    for function in _objects([*calls, message.get("function_call")]):
        yield from _strings([function.get("arguments")])


def _objects(value: object) -> list[Mapping[str, object]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _strings(values: Iterable[object]) -> Iterator[str]:
    return (each for each in values if isinstance(each, str))
