"""Turns among the processes of a host: what computes for long in one of them, while no other does.

The more processes compute at once, the longer everybody else waits for a core (docs/decisions/pacing.md).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: Seconds between two looks: at first, and at most.
SOON, LATER = 0.002, 0.05


@contextmanager
def turn(file: str, seconds: float) -> Iterator[bool]:
    """Wait for up to so many seconds until no other block with this file is being run on this host.

    Yields whether that is so; on file systems without locks always. `file`: any that all these processes have, such as
    a module: it is locked (flock), not read. A process that ends gives its turn away. Those that wait have no order.
    Works with threads and under gevent.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield _locked(descriptor, time.monotonic() + seconds)
    finally:
        os.close(descriptor)


def _locked(descriptor: int, until: float) -> bool:
    pause = SOON
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(pause)
            pause = min(LATER, 2 * pause)
        except OSError:
            return True
        else:
            return True
