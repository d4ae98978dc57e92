"""How much a computation does, counted instead of timed: the instructions of Python that are executed within it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def steps(compute: Callable[[], object]) -> int:
    """The instructions while `compute` runs in this thread; what C code does within one of them is not counted."""
    counted = 0

    def traced(frame: FrameType, event: str, what: object) -> Any:  # Any: itself, as `sys.settrace` asks for
        nonlocal counted
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        counted += event == "opcode"
        return traced

    before = sys.gettrace()
    sys.settrace(traced)
    try:
        compute()
    finally:
        sys.settrace(before)
    return counted
