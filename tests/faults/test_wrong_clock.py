"""Found by the fault run: a worker an hour ahead opened a breaker, and for all others it stayed open for that hour."""

from __future__ import annotations

import time
from uuid import UUID

import pytest

from common.kit import memory
from common.tools import breakers
from common.tools.adapters import ToolFailure

TOOL = UUID(int=7)


@pytest.mark.parametrize("ahead", [3600.0, -7200.0])
def test_a_breaker_stays_open_as_long_whoever_opened_it(
    redis: object, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    memory.forget()
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + ahead)
    for _ in range(breakers.FAIL_MAX):
        with pytest.raises(ToolFailure), breakers.calling(TOOL, 30):
            raise ToolFailure("tool_failed", "500", sent=True, http_status=500, counts_against_tool=True)
    monkeypatch.setattr(time, "time", right)
    memory.forget()
    assert 0 < breakers.retry_after(TOOL) <= breakers.RESET_SECONDS + 1
    breakers.close(TOOL)
