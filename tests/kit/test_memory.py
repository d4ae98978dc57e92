"""What a process remembers is one object: replaced as a whole, and copied part by part."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy

import pytest

from common.kit import memory
from common.kit.cache import Cache
from common.kit.memory import Memory, Part

known = Part(lambda: Cache[str, int](10))


@pytest.fixture(autouse=True)
def _own_memory() -> Iterator[None]:
    before = memory.use(Memory())
    yield
    memory.use(before)


def test_each_memory_has_its_own_part() -> None:
    known().put("a", 1)
    here = memory.use(Memory())
    assert known().get("a") is None
    known().put("a", 2)
    there = memory.use(here)
    assert known().get("a") == 1
    memory.use(copy(there))
    known().put("a", 3)
    memory.use(there)
    assert known().get("a") == 2
    memory.forget()
    assert known().get("a") is None


def test_threads_that_read_it_first_at_once_get_the_same() -> None:
    for _ in range(200):
        memory.forget()
        with ThreadPoolExecutor(4) as threads:
            assert len({id(each) for each in threads.map(lambda _: known(), range(8))}) == 1
