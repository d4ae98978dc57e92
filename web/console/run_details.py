"""What the pages of a run have in common, whoever looks at it: its sentences, its timeline, its input and output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, TypedDict

from common import invocations
from common.invocations import Invocation, Story
from common.kit.paging import Window
from web.console import chat_texts, explanations, trees
from web.console.chat_texts import WrittenText
from web.console.explanations import Step
from web.console.trees import Node

#: Input and output together, in bytes: of more, the beginning is shown.
SHOWN_BYTES: Final = 64 * 1024
#: Characters of that.
BEGINNING: Final = 1_500
#: How often a streamed answer is read again by a page that is open: while it is written, and while it has not begun.
GROWING_SECONDS: Final = 1
WAITING_SECONDS: Final = 2
#: Calls and deliveries that are shown.
WINDOW: Final = Window(100)


class RunDetails(TypedDict):
    """What the templates of a run need. `files`: paths of input and output; `is_own`: it belongs to the reader.

    `texts`: of an answer that is or was written by a chat model; `looked_again`: seconds until it is looked at again.
    """

    run: Invocation
    sentence: str
    receipt: str
    steps: list[Step]
    more_deliveries: bool
    is_own: bool
    files: Mapping[str, str]
    texts: list[WrittenText]
    looked_again: int | None
    trees: Mapping[str, Node]
    beginnings: Mapping[str, str | None]
    beginning_chars: int


def details(story: Story, files: Mapping[str, str], *, is_own: bool) -> RunDetails:
    """A run, with the paths of the files of its input and output."""
    run = story.invocation
    return {
        "run": run,
        "sentence": explanations.sentence(run),
        "receipt": explanations.receipt(run, story.shown),
        "steps": explanations.timeline(story),
        "more_deliveries": story.deliveries.has_more,
        "is_own": is_own,
        "files": files,
        "texts": chat_texts.texts(story),
        "looked_again": _looked_again(run),
        "trees": {name: trees.of(json.loads(text)) for name, text in _texts(run) if text is not None},
        "beginnings": {} if run.payloads else _beginnings(run),
        "beginning_chars": BEGINNING,
    }


def _looked_again(run: Invocation) -> int | None:
    """A streamed answer grows without being an event: it is read again and again while it is written."""
    return None if run.ended or not run.stream else GROWING_SECONDS if run.status == "running" else WAITING_SECONDS


def _texts(run: Invocation) -> tuple[tuple[str, str | None], ...]:
    return ("input", run.input), ("output", run.output)


def _beginnings(run: Invocation) -> Mapping[str, str | None]:
    found = invocations.beginnings(run.id, run.user_id, BEGINNING)
    return {"input": found.input, "output": found.output}
