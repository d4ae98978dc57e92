"""A JSON value as a tree of `<details>`, of bounded size: what is left out is counted."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

#: Characters of names, texts and markup of a whole tree, about.
MOST_CHARS: Final = 7_000
#: Characters of a text.
MOST_TEXT: Final = 400
#: Members of one object or array.
MOST_MEMBERS: Final = 60
#: Levels; below, values are shown as text.
MOST_DEPTH: Final = 12
#: Levels that are open at first.
OPEN: Final = 2
#: What the markup of a node takes, about.
_MARKUP: Final = 70


@dataclass(slots=True)
class Node:
    """A value. `label`: its name or index; `said`: what it is; `inside`: its members that are shown; `more`: others."""

    label: str
    said: str
    kind: str = "value"
    is_open: bool = False
    inside: list[Node] = field(default_factory=list)
    more: int = 0


def of(value: object) -> Node:
    """The tree of a value: level by level, until there is enough of it."""
    root = _node("", value, 0)
    left = MOST_CHARS
    waiting = deque([(root, value, 1)])
    while waiting:
        node, at, depth = waiting.popleft()
        for label, member in islice(_members(at), MOST_MEMBERS):
            made = _node(label, member, depth)
            left -= len(made.label) + len(made.said) + _MARKUP
            if left < 0:
                break
            node.inside.append(made)
            if depth < MOST_DEPTH:
                waiting.append((made, member, depth + 1))
        node.more = len(at) - len(node.inside) if isinstance(at, dict | list) else 0
    return root


def _members(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from ((str(index), member) for index, member in enumerate(value))


def _node(label: str, value: object, depth: int) -> Node:
    name = label if len(label) <= MOST_TEXT else f"{label[:MOST_TEXT]}…"
    if isinstance(value, dict | list) and value and depth < MOST_DEPTH:
        what = "member" if isinstance(value, dict) else "item"
        return Node(name, f"{len(value):,} {what}{'' if len(value) == 1 else 's'}", "branch", depth < OPEN)
    return Node(name, _text(value), "text" if isinstance(value, str) else "value")


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}… ({len(text):,} characters)"
