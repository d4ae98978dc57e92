"""What takes long, or fails, keeps nothing from its turn."""

from __future__ import annotations

import pytest

from common.kit import apart, clock, db, memory


class Watch(clock.Clock):
    """Time passes when somebody waits."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.passed


@pytest.mark.parametrize("busy", [1, 2, 6, 19])
def test_busy_items_take_turns_with_all_others(busy: int) -> None:
    """Each takes half the time of a walk; free ones are done all the same, and busy ones tried again."""
    watch, left, tried = Watch(), list(range(20)), list[int]()

    def do(item: int) -> int:
        tried.append(item)
        if item < busy:
            watch.passed += apart.SECONDS / 2
            raise db.Busy("locked")
        left.remove(item)
        return 1

    before, kept = clock.use(watch), memory.use(memory.Memory())
    try:
        for _ in range(busy + 1):
            apart.in_turn("test", left, do, str)
            watch.passed += 1
        assert left == list(range(busy))
        assert all(tried.count(item) > 1 for item in left)
        watch.passed += apart.REMEMBERED_SECONDS
        assert apart.left("test") == []
        assert apart.left_last("test", left, str) == left
    finally:
        clock.use(before)
        memory.use(kept)
