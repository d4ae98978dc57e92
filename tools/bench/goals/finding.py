"""P8_lists: the newest page of an account's invocations by each filter, of a long history and of a short one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from uuid import UUID

from common import invocations
from common.invocations import Matching
from common.kit import clock
from common.kit.paging import Window
from tools.bench import asking, growth
from tools.bench.goals import Found
from tools.bench.ground import Ground

PAGE = 50
MATCHING = {
    "an end user": Matching(end_user=growth.END_USER),
    "a key": Matching(api_key=growth.KEY),
    "reruns of one": Matching(rerun_of=growth.RERUN_OF),
    "common metadata": Matching(metadata={"env": "prod"}),
    "rare metadata": Matching(metadata={"order": "100"}),
    "unknown metadata": Matching(metadata={"order": "none"}),
    "an unknown request id": Matching(request_id="none"),
    "an unknown idempotency key": Matching(idempotency_key="none"),
    "an error": Matching(error="tool_failed"),
    "an error that never occurred": Matching(error="tool_timeout"),
}


def lists(small: Ground, large: Ground) -> dict[str, Found]:
    """The slowest filter judges."""
    return {"P8_lists": asking.compared(small, large, lambda ground: _questions(ground.accounts[0].user_id))}


def _questions(user: UUID) -> dict[str, Callable[[], object]]:
    page = partial(invocations.listing, user, Window(PAGE), payloads=False)
    tool = page().items[0].tool_slug
    plain: dict[str, Callable[[], object]] = {
        "newest": page,
        "failed": partial(page, statuses=["failed"]),
        "expired": partial(page, statuses=["expired"]),
        "of a tool": partial(page, tool=tool),
        "failed, of a tool": partial(page, statuses=["failed"], tool=tool),
        "before yesterday": partial(page, end=clock.now() - timedelta(days=1)),
    }
    return plain | {name: partial(page, matching=matching) for name, matching in MATCHING.items()}
