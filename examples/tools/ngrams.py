"""A language model of word n-grams (Shannon 1948): it has read the project's documentation, and goes on as that does.

Small enough to need nothing but the standard library, and a real model all the same: it is trained, it has tokens, and
what it says depends on what it was asked. The same question with the same seed has the same answer.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[2]
#: A word (with its hyphens and apostrophes), a number, or one sign.
TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|\d+|[^\w\s]")
ENDS = frozenset(".!?")
#: Words that the next one depends on: the longest of these contexts that was read decides.
CONTEXTS = (3, 2, 1)
_CLOSING, _OPENING = frozenset(".,;:!?)’"), frozenset("(")
#: Code, tables, headings, links and markup: what is left are sentences.
_NO_PROSE = re.compile(r"^```.*?^```|^[|#>].*?$|<[^>]*>", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_MARKUP = re.compile(r"[`*_\[\]{}|\\\"/=<>$&#~^+]+")

Context = tuple[str, ...]
T = TypeVar("T")


def tokens(text: str) -> list[str]:
    """The tokens of a text; what is counted and billed."""
    return TOKEN.findall(text)


@dataclass(frozen=True, slots=True)
class Model:
    """Which tokens followed which context, as often as they did; and the sentences' beginnings."""

    following: dict[Context, list[str]]
    beginnings: list[Context]

    @classmethod
    def trained(cls, text: str) -> Model:
        following: defaultdict[Context, list[str]] = defaultdict(list)
        read = tokens(text)
        for size in CONTEXTS:
            for place in range(size, len(read)):
                following[tuple(read[place - size : place])].append(read[place])
        starts = [place + 1 for place, token in enumerate(read[:-3]) if token in ENDS and read[place + 1].istitle()]
        return cls(dict(following), [tuple(read[start : start + 2]) for start in starts] or [tuple(read[:2])])

    def story(self, asked: str, seed: int) -> Iterator[str]:
        """Tokens without end: it begins with a word of the question that it has read, if there is one."""
        chance = _chances(f"{seed}\n{asked}")
        so_far = list(self._beginning(tokens(asked), chance))
        yield from so_far
        while True:
            token = self._next(so_far, chance)
            yield token
            so_far.append(token)

    def _beginning(self, asked: Sequence[str], chance: Iterator[int]) -> Context:
        known = [start for start in self.beginnings if start[0] in {word.capitalize() for word in asked}]
        return _pick(known or self.beginnings, chance)

    def _next(self, so_far: Sequence[str], chance: Iterator[int]) -> str:
        for size in CONTEXTS:
            if found := self.following.get(tuple(so_far[-size:])):
                return _pick(found, chance)
        return "."


def _pick(among: Sequence[T], chance: Iterator[int]) -> T:
    return among[next(chance) % len(among)]


def _chances(seed: str) -> Iterator[int]:
    """Numbers that look random and follow from the seed, in every version of Python."""
    digest = seed.encode()
    while True:
        digest = hashlib.sha256(digest).digest()
        yield int.from_bytes(digest[:8], "big")


def joined(token: str, before: str) -> str:
    """The token as it is written after another: with a space, or without."""
    return token if not before or token in _CLOSING or before in _OPENING else f" {token}"


@cache
def model() -> Model:
    """The model, trained when it is first asked."""
    return Model.trained("\n\n".join(map(prose, corpus())))


def corpus() -> list[str]:
    """The project's documentation."""
    files = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples/README.md"]
    return [file.read_text(encoding="utf-8") for file in files if file.exists()]


def prose(markdown: str) -> str:
    """The sentences of a page."""
    return _MARKUP.sub(" ", _LINK.sub(r"\1", _NO_PROSE.sub("", markdown)))
