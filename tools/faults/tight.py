"""An account with a budget for exactly so many calls, spent from while something is broken.

However often it is asked, whatever is lost or wiped: that many calls are charged in the end, and never more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from uuid import uuid4

from tools.faults.load import Account, Client, History, Order
from tools.faults.people import FLAT, join, plan

CALLS = 12
EVERY_SECONDS = 1.5
#: A refusal is checked against the rows once a second.
AGAIN_SECONDS = 1.1
TRIES = 60


class Spender:
    """Asks for more than there is, every second time without a key. `exhaust` once all is well again."""

    def __init__(self, url: str, hook_url: str, history: History) -> None:
        slug = f"tight-{uuid4().hex[:8]}"
        plan(slug, CALLS * FLAT["max_tokens"], 100)
        self.account: Account = join(0, hook_url, slug)
        self._client = Client(url, history)
        self._over = threading.Event()
        self._asked = 0
        self._thread = threading.Thread(target=self._spend, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _spend(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            self.ask(self._over)

    def ask(self, over: threading.Event | None = None) -> Order:
        self._asked += 1
        order = Order(self.account, "flat", uuid4().hex, time.time(), without_key=bool(self._asked % 2))
        return self._client.submit(order, over and _Until(over))

    def exhaust(self, is_quiet: Callable[[], bool], sleep: Callable[[float], None]) -> str | None:
        """Ask until there is no more; what is wrong with what was charged, or None."""
        for _ in range(TRIES):
            order = self.ask()
            if str(order.refused).startswith("402") and is_quiet():
                break
            sleep(AGAIN_SECONDS)
        answer, said = self._client.ask("tokens", self.account, "GET", "/subscriptions/current")
        if answer != "200":
            return f"the budget for {CALLS} calls cannot be read: {answer}"
        charged = said["data"]["tokens"]["charged"]
        if charged != CALLS * FLAT["base_tokens"]:
            return (
                f"I17 a budget for {CALLS} calls of {FLAT['base_tokens']}: charged {charged}, {said['data']['tokens']}"
            )
        return None


class _Until:
    """Whether to go on, asked of an event that says when to stop."""

    def __init__(self, over: threading.Event) -> None:
        self._over = over

    def is_set(self) -> bool:
        return not self._over.is_set()
