"""Limits how many clients of an account wait in this process at a time, whatever they wait for."""

from __future__ import annotations

import threading
from collections import Counter
from uuid import UUID

from flask import current_app

from common import subscriptions
from common.errors import RateLimited


class Places:
    """Waiting clients by account. Thread-safe."""

    def __init__(self) -> None:
        self._taken: Counter[UUID] = Counter()
        self._lock = threading.Lock()

    def take(self, account: UUID, most: int) -> None:
        """One more client waits; `give_back` when it does not any more. Raises `RateLimited` beyond `most`."""
        with self._lock:
            if self._taken[account] >= most:
                raise RateLimited(
                    f"This account already has {most} event streams and long-polls. Close one or retry later.",
                    retry_after=5,
                )
            self._taken[account] += 1

    def require_one(self, account: UUID, most: int) -> None:
        """Raises `RateLimited` if there is none left: before something is begun that is then waited for."""
        self.take(account, most)
        self.give_back(account)

    def give_back(self, account: UUID) -> None:
        """One request less of the account is waiting."""
        with self._lock:
            self._taken[account] -= 1
            if not self._taken[account]:
                del self._taken[account]


#: Of this process.
places = Places()


def most(account: UUID) -> int:
    """How many clients of this account may wait: by its plan, or else by the operator's setting."""
    plan = subscriptions.limits(account)
    of_all: int = current_app.config["SETTINGS"].max_streams
    return plan.max_streams if plan and plan.max_streams else of_all
