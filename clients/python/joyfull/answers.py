"""A streamed answer: its parts, and what they amount to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from joyfull.wire import Json


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an answer to write on with; with `replaces`, all of it so far: drop what came before.

    `choices` are as in a `chat.completion.chunk`: each has an `index` and a `delta`.
    """

    choices: tuple[Mapping[str, Json], ...]
    replaces: bool = False
    #: Which attempt wrote it, and its number in that.
    attempt: int = 0
    n: int = 0

    @property
    def text(self) -> str:
        """What the first choice says; other choices, reasoning and tool calls are in `choices`."""
        deltas = (each["delta"] for each in self.choices if each.get("index", 0) == 0)
        return "".join(delta.get("content") or "" for delta in deltas)


class Answer:
    """The text of an answer, as far as it was shown."""

    def __init__(self) -> None:
        self.text = ""
        self._began = False

    def add(self, part: Part) -> str:
        """Take a part; returns what there is to write on with: a part that replaces repeats what is there."""
        before, self._began = self.text, True
        self.text = part.text if part.replaces else before + part.text
        return self.text.removeprefix(before)

    def missing(self, output: Json) -> Part | None:
        """All of the output of an invocation, if it says more than was shown."""
        choices = output.get("choices") if isinstance(output, Mapping) else None
        whole = Part(tuple(map(_as_delta, choices or ())), replaces=True)
        return whole if whole.choices and not (self._began and whole.text == self.text) else None


def _as_delta(choice: Mapping[str, Json]) -> Mapping[str, Json]:
    return {**{name: value for name, value in choice.items() if name != "message"}, "delta": choice.get("message", {})}
