"""The texts of a chat model's answer, as something to read; of bounded size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from common.invocations import Story
from web.console.show import count

#: Characters of each text that are shown: its beginning, or its end while it grows.
MOST_CHARS: Final = 6_000
#: Texts of one answer.
MOST_TEXTS: Final = 4


@dataclass(frozen=True, slots=True)
class WrittenText:
    """A text; `before`, `after`: how much of it is left out there."""

    shown: str
    before: str = ""
    after: str = ""


def texts(story: Story) -> list[WrittenText]:
    """What is written so far, or what was; empty for anything but the answer of a chat model."""
    if story.shown is not None:
        return [_end(text) for text in _of(story.shown.output)]
    output = story.invocation.output
    return [] if output is None else [_beginning(text) for text in _of(json.loads(output))]


def _of(output: object) -> list[str]:
    choices = output.get("choices") if isinstance(output, dict) else None
    found = [_said(choice) for choice in choices] if isinstance(choices, list) else []
    return [text for text in found if text][:MOST_TEXTS]


def _said(choice: object) -> str:
    message = choice.get("message") if isinstance(choice, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, str) else ""


def _beginning(text: str) -> WrittenText:
    return WrittenText(text[:MOST_CHARS], after=_left_out(len(text) - MOST_CHARS))


def _end(text: str) -> WrittenText:
    return WrittenText(text[-MOST_CHARS:], before=_left_out(len(text) - MOST_CHARS))


def _left_out(characters: int) -> str:
    return count(characters, "character") if characters > 0 else ""
