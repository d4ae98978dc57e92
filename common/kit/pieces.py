"""Long computations in pieces: between two of them, other threads (under gevent: greenlets) run for a moment.

A web process serves everybody with one thread. A body of 200,000 values takes it a tenth of a second; others must not
wait for all of that. The switch may happen in a callback from C code, such as that of a JSON parser.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: Steps in a piece: about a millisecond, at the cost of a JSON parser's callback for each.
STEPS: Final = 2_000
#: Seconds to sleep so that others run. Not 0: gevent then asks only after 50 pieces who else has something to read.
_MOMENT: Final = 1e-9
#: How long a thread may keep the interpreter from others inside `short_turns`, in seconds.
SHORT_TURN_SECONDS: Final = 0.000_2


class StepCounter:
    """Counts the steps of computations that share it."""

    def __init__(self, steps: int = STEPS) -> None:
        self._steps = self._left = steps

    def step(self, count: int = 1) -> None:
        """So many more steps; the last of a piece lets others run."""
        self._left -= count
        if self._left <= 0:
            self._left = self._steps
            let_others_run()


def let_others_run() -> None:
    """Those threads or greenlets that can."""
    time.sleep(_MOMENT)


@contextmanager
def short_turns() -> Iterator[None]:
    """Around a long computation of one thread: others that need the interpreter get it sooner.

    A call needs it twenty times, for moments, and each time waits for the whole turn of a thread that computes. Holds
    for the process, so one thread at a time may be inside.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SHORT_TURN_SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
