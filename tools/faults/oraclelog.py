"""What the oracle saw, read as it grows."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Hook:
    """One POST that a receiver got: the bytes, and what it said."""

    at: float
    path: str
    status: int
    id: str
    timestamp: str
    signature: str
    body: bytes


@dataclass(slots=True)
class Seen:
    """Calls by Idempotency-Key, and webhooks as they came.

    `started`: when. `units`: what was answered with 200. `refused`: how many were answered 429, which alone says that
    the tool did not run; whatever else was answered may have had its effect.
    """

    started: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    units: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    refused: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    hooks: list[Hook] = field(default_factory=list)

    def executed(self, key: str) -> int:
        """How often the tool may have run for this key."""
        return len(self.started.get(key, ())) - self.refused.get(key, 0)


class OracleLog:
    """The file, and how far it has been read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self.seen = Seen()

    def read(self) -> Seen:
        """Take in what was written since the last time."""
        if not self.path.exists():
            return self.seen
        with self.path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                self._take(json.loads(line))
        return self.seen

    def _take(self, line: dict[str, object]) -> None:
        what, key = line["what"], str(line.get("key", ""))
        if what == "start":
            self.seen.started[key].append(float(str(line["at"])))
        elif what == "end":
            if line["status"] == 200:
                self.seen.units[key].add(int(str(line["units"])))
            elif line["status"] == 429:
                self.seen.refused[key] += 1
        else:
            self.seen.hooks.append(_hook(line))


def _hook(line: dict[str, object]) -> Hook:
    text = {name: str(line[name]) for name in ("path", "id", "timestamp", "signature", "body")}
    return Hook(
        at=float(str(line["at"])),
        path=text["path"],
        status=int(str(line["status"])),
        id=text["id"],
        timestamp=text["timestamp"],
        signature=text["signature"],
        body=text["body"].encode("latin-1"),
    )
