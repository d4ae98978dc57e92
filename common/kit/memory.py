"""What this process remembers to be quick (caches, pauses, where a walk goes on): one object, made anew at start.

A module declares its part, `_terms = memory.Part(lambda: Cache(1_000))`, and reads the current one with `_terms()`.
Nothing depends on what is in it: a process that has forgotten everything is slower for a moment.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Memory:
    """The parts of all modules, each made when it is first read. `copy` copies the parts that there are."""

    def __init__(self) -> None:
        self.parts: dict[object, Any] = {}  # Any: each part has a type of its own

    def __copy__(self) -> Memory:
        other = Memory()
        other.parts = {part: copy(value) for part, value in self.parts.items()}
        return other


class _State:
    memory = Memory()


class Part(Generic[T]):
    """One module's part of the memory; `make` gives an empty one."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make

    def __call__(self) -> T:
        """This process's part. Thread-safe."""
        parts = _State.memory.parts
        found: T = parts[self] if self in parts else parts.setdefault(self, self._make())
        return found


def current() -> Memory:
    """This process's memory."""
    return _State.memory


def use(memory: Memory) -> Memory:
    """Replace this process's memory. Returns the previous one."""
    before, _State.memory = _State.memory, memory
    return before


def forget() -> None:
    """Begin with an empty memory: at start, and when a process connects elsewhere."""
    use(Memory())
