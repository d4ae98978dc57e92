"""A client that keeps what it was told: what is said of an invocation later must fit what was said before.

Whatever the API answers, the feed tells and a webhook brings is kept by invocation. An end is final: each telling of it
says the same, and a question asked after it is never answered by an open one. What never changes is always told the
same.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

ENDS = ("succeeded", "failed", "canceled", "expired")
_NEVER_CHANGES = ("id", "tool", "created_at", "expires_at", "metadata")
_OF_AN_END = ("status", "output", "error", "attempts", "billing", "started_at", "finished_at")
#: Any: JSON of the API, read as it has to be: what it lacks fails the run.
Told = Mapping[str, Any]


@dataclass(slots=True)
class _Known:
    """What one invocation was said to be. Times: monotonic, of the question and of the answer."""

    always: str
    end: str | None = None
    ended_at: float = 0.0
    open_asked_at: float = 0.0
    contradictions: list[str] = field(default_factory=list)


class Memory:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}

    def heard(self, answer: object, asked_at: float, answered_at: float) -> None:
        """Any JSON of the API: every invocation in it is taken in."""
        for told in _invocations(answer):
            self.told(told, asked_at, answered_at)

    def hooked(self, body: bytes) -> None:
        """What a webhook brought, whenever that was."""
        self.heard({"data": [json.loads(body)]}, 0.0, math.inf)

    def told(self, told: Told, asked_at: float, answered_at: float) -> None:
        always, status = _view(told, _NEVER_CHANGES), told["status"]
        with self._lock:
            known = self._known.setdefault(told["id"], _Known(always))
            if known.always != always:
                known.contradictions.append(f"what never changes: {known.always} then {always}")
            if status not in ENDS:
                known.open_asked_at = max(known.open_asked_at, asked_at)
                return
            end = _view(told, _OF_AN_END)
            if known.end is None:
                known.end, known.ended_at = end, answered_at
            elif known.end != end:
                known.contradictions.append(f"an end that changed: {known.end} and {end}")
            known.ended_at = min(known.ended_at, answered_at)

    def violations(self) -> Iterator[str]:
        with self._lock:
            for id_, known in self._known.items():
                for each in known.contradictions[:1]:
                    yield f"I5 told of {id_}: {each}"
                if known.end is not None and known.open_asked_at > known.ended_at:
                    yield f"I5 told of {id_}: open {known.open_asked_at - known.ended_at:.3f} s after its end"


def _view(told: Told, names: tuple[str, ...]) -> str:
    return json.dumps({name: told.get(name) for name in names}, sort_keys=True)


def _invocations(answer: object) -> Iterator[Told]:
    """One, a page of them, the items of a batch, or events: of these, the ends (others tell of the past)."""
    data = answer.get("data") if isinstance(answer, dict) else None
    for each in data if isinstance(data, list) else [data]:
        if not isinstance(each, dict):
            continue
        if "type" in each and isinstance(each.get("data"), dict):
            if each["type"].partition(".")[2] in ENDS and "billing" in each["data"]:
                yield {**each["data"], "status": each["type"].partition(".")[2]}
        elif "billing" in each:
            yield each
        elif "billing" in (inner := each.get("invocation") or {}):
            yield inner
