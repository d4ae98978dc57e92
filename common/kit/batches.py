"""Work on many rows, in statements that each take a bounded number of them."""

from __future__ import annotations

from collections.abc import Callable

from common.kit import clock


def repeat(once: Callable[[], int], size: int, seconds: float) -> int:
    """Call `once` until it has changed fewer than `size` rows, for about so many seconds. Returns how many in all."""
    give_up, total = clock.monotonic() + seconds, 0
    while True:
        count = once()
        total += count
        if count < size or clock.monotonic() > give_up:
            return total
