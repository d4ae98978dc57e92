"""Concurrency limiter: few threads of a process use the CPU at once, however many wait for their tools.

Threads that compute compete for the interpreter: with a tool that answers immediately, two of them achieve more than
four, and four more than two hundred. Threads that wait for a slow tool cost nothing, and the whole pool may do so. So a
job takes one of a few compute slots, and releases it while it waits for its tool: immediately if the tool is usually
slow, otherwise when a waiting thread finds that the call has taken too long. (Releasing it during database waits was
tried too: on a busy machine these get longer with every additional thread.)

The estimate of a tool's usual duration follows short calls quickly and long ones slowly: on a busy machine every tool
seems slow at times, and more threads would only make it busier.

A thread that returns from its tool waits for a slot again, with priority over new jobs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from common.kit import clock

SLOTS: Final = 2
#: Factor for threads that return from their tool: storing a result is mostly waiting for the database.
RETURNING_FACTOR: Final = 4
#: A tool that usually takes longer than this (seconds) is called without a slot.
SLOW: Final = 0.005
#: How long (seconds) a call of a usually fast tool keeps its slot.
STALLED: Final = 0.05
#: How long (seconds) a job keeps its slot: one that hangs must not block all others.
HUNG: Final = 1.0
POLL_SECONDS: Final = 0.01


class ConcurrencyLimiter:
    """`slots` threads compute at once; those that return from their tool have priority. Thread-safe."""

    def __init__(self, slots: int = SLOTS) -> None:
        self._slots = slots
        #: Threads that hold a slot, and when it expires.
        self._holders: dict[int, float] = {}
        self._returning = 0
        self._returning_threads: set[int] = set()
        self._usual: dict[UUID, float] = {}
        lock = threading.Lock()
        self._free, self._free_for_returning = threading.Condition(lock), threading.Condition(lock)
        #: One thread of each kind polls for a slot; the others wait for its lock at no cost.
        self._first, self._first_returning = threading.Lock(), threading.Lock()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Around a job: waits for a slot and holds it."""
        with self._first, self._free:
            while self._returning or not self._has_free_slot(self._slots):
                self._free.wait(POLL_SECONDS)
            self._hold(HUNG)
        try:
            yield
        finally:
            with self._free:
                self._release()

    @contextmanager
    def waiting(self, tool: UUID) -> Iterator[None]:
        """Around a call of `tool`, in a thread that holds a slot."""
        began = clock.monotonic()
        with self._free:
            if self._usual.get(tool, 0.0) > SLOW:
                self._release()
            else:
                self._hold(STALLED)
        try:
            yield
        finally:
            if not self._kept_slot(tool, clock.monotonic() - began):
                self._return()

    def is_quick(self, tool: UUID) -> bool:
        """Whether a tool is known to answer within milliseconds, usually."""
        return self._usual.get(tool, SLOW + 1) <= SLOW

    @contextmanager
    def released(self) -> Iterator[None]:
        """Around a wait for another process, or work that is limited in other ways: without the slot that it has."""
        with self._free:
            had_slot = threading.get_ident() in self._holders
            self._release()
        try:
            yield
        finally:
            if had_slot:
                with self._free:
                    self._returning += 1
                self._return()

    @property
    def returning(self) -> set[int]:
        """The threads that wait for a slot after their tool has answered, or after work that was limited otherwise."""
        return self._returning_threads.copy()

    def _kept_slot(self, tool: UUID, seconds: float) -> bool:
        """After a call: update the tool's usual duration; returns whether this thread still holds its slot."""
        with self._free:
            usual = self._usual.get(tool, 0.0)
            self._usual[tool] = usual + (seconds - usual) * (0.5 if seconds < usual else 0.05)
            if kept := threading.get_ident() in self._holders:
                self._hold(HUNG)
            else:
                self._returning += 1
            return kept

    def _return(self) -> None:
        self._returning_threads.add(threading.get_ident())
        with self._first_returning, self._free:
            while not self._has_free_slot(RETURNING_FACTOR * self._slots):
                self._free_for_returning.wait(POLL_SECONDS)
            self._returning -= 1
            self._hold(HUNG)
        self._returning_threads.discard(threading.get_ident())

    def _has_free_slot(self, slots: int) -> bool:
        """Whether fewer than `slots` are held, after expiring those held for too long."""
        if len(self._holders) >= slots:
            now = clock.monotonic()
            for thread in [thread for thread, until in self._holders.items() if until < now]:
                del self._holders[thread]
        return len(self._holders) < slots

    def _hold(self, seconds: float) -> None:
        self._holders[threading.get_ident()] = clock.monotonic() + seconds

    def _release(self) -> None:
        if self._holders.pop(threading.get_ident(), None) is not None:
            (self._free_for_returning if self._returning else self._free).notify()
