"""Limit the share of this process that one webhook receiver can use: slow or dead ones must not take all threads.

Each receiver (lane) is classified by its last delivery: it succeeded (*good*), failed (*bad*), or there was none
(unknown). The rules follow the sharing of buffers in switches and slow start:

* a good receiver may use a share of the *free* threads (Choudhury, Hahne: Dynamic Queue Length Thresholds, 1998), so
  that any number of busy ones leaves threads free, and a single one can use the maximum;
* any other receiver may have two deliveries under way, or one when there are many such deliveries;
* one with a limit per second rests between two turns;
* the bad ones together may use half of the threads, together with the unknown ones three quarters: the last quarter is
  reserved for good ones.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cachetools import FIFOCache

from common.webhooks import LaneCapacity

#: Maximum concurrent deliveries to one receiver, in each process.
MOST: Final = 16
FREE_SHARE: Final = 8
PROBES: Final = 2
REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class _Shares:
    """The current division of the threads."""

    free: int
    probes: int
    bad_are_full: bool
    doubtful_are_full: bool


class Lanes:
    """Deliveries under way in this process, by lane. `threads`: the number of delivering threads. Thread-safe."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._busy: Counter[int] = Counter()
        self._good: FIFOCache[int, bool] = FIFOCache(REMEMBERED)
        self._resting: set[int] = set()
        self._lock = threading.Lock()

    def room(self, *ending: int) -> LaneCapacity:
        """Which lanes may be claimed from now; `ending`: the lanes of deliveries that have just ended."""
        with self._lock:
            shares = self._shares()
            full = {lane for lane in self._busy if not self._has_room(lane, shares)} | self._resting
            if shares.bad_are_full:
                full |= {lane for lane, good in self._good.items() if not good}
            only = None
            if shares.doubtful_are_full:
                only = [lane for lane, good in self._good.items() if good and lane not in full]
            ended = Counter(ending).items()
            successors = [lane for lane, ends in ended for _ in range(min(ends, self._room(lane, shares)))]
            return LaneCapacity(list(full), only, successors)

    def enter(self, lane: int, *, failing: bool) -> bool:
        """Count a new delivery; `failing`: the receiver's state in the database. Returns False if there is no room."""
        with self._lock:
            if failing:
                self._good.setdefault(lane, False)
            if not self._has_room(lane, self._shares()):
                return False
            self._busy[lane] += 1
            return True

    def leave(self, lane: int, *, good: bool) -> None:
        """Count the end of a delivery; `good`: it succeeded."""
        with self._lock:
            self._busy[lane] -= 1
            if not self._busy[lane]:
                del self._busy[lane]
            self._good[lane] = good

    def rest(self, lane: int, *, going: bool) -> bool:
        """Let a lane rest until its next turn; `going`: the delivery that it was entered for has a turn.

        Returns False if it was resting before. Undo with `wake`.
        """
        with self._lock:
            if not going:
                self._busy[lane] -= 1
                if not self._busy[lane]:
                    del self._busy[lane]
            fresh = lane not in self._resting
            self._resting.add(lane)
            return fresh

    def wake(self, lane: int) -> None:
        """Its next turn has come."""
        with self._lock:
            self._resting.discard(lane)

    def idle(self, lanes: Sequence[int]) -> list[int]:
        """The lanes that have room but no delivery under way whose end would unpark their rows."""
        with self._lock:
            shares = self._shares()
            return [lane for lane in lanes if lane not in self._busy and self._has_room(lane, shares)]

    def _has_room(self, lane: int, shares: _Shares) -> bool:
        return self._room(lane, shares) > 0

    def _room(self, lane: int, shares: _Shares) -> int:
        """How many more deliveries of this lane may be under way."""
        if lane in self._resting:
            return 0
        busy, good = self._busy.get(lane, 0), self._good.get(lane)
        if good:
            return max(1, min(MOST, shares.free // FREE_SHARE)) - busy
        if shares.doubtful_are_full or (shares.bad_are_full and good is False):
            return 0
        return shares.probes - busy

    def _shares(self) -> _Shares:
        total = doubtful = bad = 0
        for lane, count in self._busy.items():
            good = self._good.get(lane)
            total += count
            doubtful += 0 if good else count
            bad += count if good is False else 0
        return _Shares(
            free=self._threads - total,
            probes=PROBES if doubtful < self._threads // 2 else 1,
            bad_are_full=bad >= max(1, self._threads // 2),
            doubtful_are_full=doubtful >= max(1, self._threads * 3 // 4),
        )
