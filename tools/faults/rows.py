"""The matrix: one function per fault. Each breaks something, puts it back, and says in words what it did.

Load is on the platform before, during and after; what must hold afterwards is checked for every row alike (`checks`).
A row raises `Violation` for what only it can see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tools.faults.world import World

Fault = Callable[[World], str]


@dataclass(frozen=True, slots=True)
class Row:
    """`ids`: the rows of the matrix that this shows. `needs`: what the machine must allow. `rate`: orders a second."""

    ids: tuple[str, ...]
    title: str
    fault: Fault
    rate: float = 8.0
    after: float = 3.0
    settle: float = 180.0
    needs: str = ""
    sends_messages: bool = False


ROWS: Final[list[Row]] = []


def row(
    ids: str,
    title: str,
    *,
    rate: float = 8.0,
    after: float = 3.0,
    settle: float = 180.0,
    needs: str = "",
    sends_messages: bool = False,
) -> Callable[[Fault], Fault]:
    """Put a fault into the matrix; `sends_messages`: it sends messages of its own, so their number says nothing."""

    def add(fault: Fault) -> Fault:
        ROWS.append(Row(tuple(ids.split()), title, fault, rate, after, settle, needs, sends_messages))
        return fault

    return add
