"""Clients at work on the public API, and the history of what they were told.

Most orders have an Idempotency-Key of their own and are sent again, under the same key, for as long as nobody says yes
or no (503, a reset, a time-out): what a careful client does. Others have none and are sent once: what becomes of them
is found by their metadata. Beside submits: cancels, reads, lists, and the feed of events. What is told is remembered.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol
from uuid import UUID, uuid4

import requests

from common.kit.clock import uuid7
from tools.faults.memory import Memory

THREADS = 10
TRIES = 60
RETRY_SECONDS = 0.5
TIMEOUT = (3.0, 25.0)
#: slug → share of the orders.
MIX = {"echo": 40, "brief": 25, "slow": 15, "once": 12, "flaky": 5, "once-fails": 1, "once-flaky": 1, "once-busy": 1}
#: Of the orders, so many have no Idempotency-Key, and so many a limit of their own.
WITHOUT_KEY, WITH_LIMIT = 0.2, 0.3
LIMIT = 6


class Going(Protocol):
    """Says whether to go on."""

    def is_set(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Account:
    """Who calls: an API key, and the secret of an endpoint that is told of every end."""

    user_id: UUID
    period_id: UUID
    email: str
    key: str
    endpoint_id: UUID
    secret: str
    path: str


@dataclass(slots=True)
class Order:
    """One thing that a client wanted, and everything that it was told. `without_key`: sent once, never again."""

    account: Account
    tool: str
    key: str
    at: float
    asked: list[tuple[str, str]] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    refused: str | None = None
    without_key: bool = False
    max_tokens: int | None = None

    @property
    def accepted(self) -> bool:
        return bool(self.ids)


class History:
    """All orders and all answers; each line is in the file before the next request goes out. Thread-safe."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("a", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()
        self.orders: list[Order] = []
        self.answers: Counter[str] = Counter()
        self.accepted: list[float] = []
        self.slowest = 0.0
        self.canceled: dict[str, str] = {}
        self.memory = Memory()

    def begin(self, order: Order) -> None:
        with self._lock:
            self.orders.append(order)

    def note(self, op: str, answer: str, seconds: float, **more: object) -> None:
        line = {"wall": time.time(), "mono": time.monotonic(), "op": op, "answer": answer, "seconds": seconds, **more}
        with self._lock:
            self.answers[f"{op} {answer}"] += 1
            self.slowest = max(self.slowest, seconds)
            self._file.write(json.dumps(line) + "\n")

    def fresh(self) -> History:
        """From here on a new row: the file goes on, the counts begin anew."""
        with self._lock:
            self.orders, self.answers, self.slowest, self.canceled = [], Counter(), 0.0, {}
            self.memory = Memory()
        return self

    def count(self, *answers: str) -> int:
        return sum(count for text, count in self.answers.items() if text.split(" ")[1] in answers)


#: A status or a word, and Any: what JSON the API answered, which the checks read as it has to be.
Reply = tuple[str, Any]


class Client:
    """One thread's connection to the API."""

    def __init__(self, url: str, history: History) -> None:
        self.url, self.api, self.history = url, f"{url}/api/v1", history
        self._http = requests.Session()
        self._http.trust_env = False

    # Any: options of requests, as they are.
    def ask(self, op: str, account: Account, method: str, path: str, **kwargs: Any) -> Reply:
        """`(answer, JSON)`: the status, `refused` (no connection was had), or `lost` (nobody knows).

        `path`: below that of the API, or of the site where it begins with `/v1`.
        """
        began = time.monotonic()
        headers = {"X-API-Key": account.key, **kwargs.pop("headers", {})}
        try:
            response = self._http.request(
                method,
                (self.url if path.startswith("/v1/") else self.api) + path,
                headers=headers,
                timeout=kwargs.pop("timeout", TIMEOUT),
                **kwargs,
            )
            said = response.json() if response.content else None
            answer = str(response.status_code)
        except requests.ConnectionError as error:
            answer, said = ("refused" if "NewConnectionError" in repr(error) else "lost"), None
        except (requests.RequestException, ValueError):
            answer, said = "lost", None
        ended = time.monotonic()
        self.history.memory.heard(said, began, ended)
        self.history.note(op, answer, ended - began, path=path, request=headers.get("X-Request-ID"))
        return answer, said

    def submit(self, order: Order, going: Going | None = None, **body: object) -> Order:
        """Ask until somebody says yes or no; without a key, once."""
        self.history.begin(order)
        for number in range(1 if order.without_key else TRIES):
            answer, said = self._once(order, number, body)
            if answer in ("200", "202"):
                order.ids.add(said["data"]["id"])
                self.history.accepted.append(time.time())
                break
            if _is_no(answer, code := str(said and said.get("code"))) or (
                order.without_key and _was_not_done(answer, said)
            ):
                order.refused = f"{answer} {code}"
                break
            if going is not None and not going.is_set() and number >= TRIES // 2:
                break
            time.sleep(RETRY_SECONDS)
        return order

    def _once(self, order: Order, number: int, more: Mapping[str, object]) -> Reply:
        limit = {} if order.max_tokens is None else {"max_tokens": order.max_tokens}
        text = order.key[: 8 + int(order.key[-1], 16)]  # of several lengths: they differ in price
        body = {"input": {"text": text}, "metadata": {"key": order.key}, **limit, **more}
        request_id = f"{order.key}-{number}"
        key = {} if order.without_key else {"Idempotency-Key": order.key}
        headers = {"X-Request-ID": request_id, **key}
        path = f"/tools/{order.tool}/invoke"
        answer, said = self.ask("submit", order.account, "POST", path, json=body, headers=headers)
        order.asked.append((request_id, answer))
        return answer, said

    def batch(self, account: Account, orders: Sequence[Order]) -> None:
        """Ask for up to a hundred at once, again for those that nobody has answered with yes or no."""
        for order in orders:
            self.history.begin(order)
        open_ = list(orders)
        for number in range(TRIES):
            items = [
                {
                    "tool": order.tool,
                    "input": {"text": order.key},
                    "metadata": {"key": order.key},
                    "idempotency_key": order.key,
                }
                for order in open_
            ]
            answer, said = self.ask("batch", account, "POST", "/invocations/batch", json={"items": items})
            for order, each in zip(open_, said["data"] if answer == "207" else (), strict=False):
                order.asked.append((f"{order.key}-{number}", str(each["status"])))
                if each["status"] in (200, 202):
                    order.ids.add(each["invocation"]["id"])
                    self.history.accepted.append(time.time())
                elif _is_no(str(each["status"]), each["problem"]["code"]):
                    order.refused = f"{each['status']} {each['problem']['code']}"
            open_ = [order for order in open_ if not (order.accepted or order.refused)]
            if not open_:
                return
            time.sleep(RETRY_SECONDS)


def _is_no(answer: str, code: str) -> bool:
    """Whether this is a refusal that later tries would only repeat; a tool that rests is one."""
    return code == "tool_unavailable" or (answer.startswith("4") and answer != "429")


def _was_not_done(answer: str, said: object) -> bool:
    """Whether this says that nothing was done: all but silence, a 500, and a 503 that says that it may have been."""
    if answer == "503":
        return "may or may not" not in str(said.get("detail") if isinstance(said, dict) else None)
    return answer in ("refused", "429")


class Load:
    """Orders at a rate, by threads, until it is told to stop."""

    def __init__(self, url: str, accounts: Sequence[Account], history: History, rate: float, seed: int) -> None:
        self._url, self._accounts, self._history = url, accounts, history
        self._rate, self._random = rate, Random(seed)
        self._going = threading.Event()
        self._pace = threading.Lock()
        self._next = 0.0
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._going.set()
        self._next = time.monotonic()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No new orders; returns when every old one was answered (or given up)."""
        self._going.clear()

    @property
    def busy(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        client = Client(self._url, self._history)
        while self._going.is_set():
            account, tool, dice, kind = self._turn()
            order = Order(account, tool, uuid4().hex, time.time(), without_key=kind < WITHOUT_KEY)
            order.max_tokens = LIMIT if kind > 1 - WITH_LIMIT else None
            client.submit(order, self._going)
            if order.accepted:
                self._follow(client, order, dice)

    def _turn(self) -> tuple[Account, str, float, float]:
        """Wait for the next beat of the rate, and draw what is done on it."""
        with self._pace:
            now = time.monotonic()
            self._next = max(self._next + 1 / self._rate, now - 1)
            wait = self._next - now
            drawn = (
                self._random.choice(self._accounts),
                self._random.choices(list(MIX), list(MIX.values()))[0],
                self._random.random(),
                self._random.random(),
            )
        time.sleep(max(0.0, wait))
        return drawn

    def _follow(self, client: Client, order: Order, dice: float) -> None:
        """Some are canceled, some are waited for, some are looked up in a list."""
        (invocation,) = order.ids
        if dice < 0.1:
            answer, said = client.ask("cancel", order.account, "POST", f"/invocations/{invocation}/cancel")
            if answer == "200":
                self._history.canceled[invocation] = said["data"]["status"]
        elif dice < 0.2:
            client.ask("read", order.account, "GET", f"/invocations/{invocation}?wait=1")
        elif dice < 0.3:
            client.ask("list", order.account, "GET", "/invocations?limit=5")


class Feed:
    """One account's pull feed, read by cursor for as long as the world stands."""

    def __init__(self, url: str, account: Account, history: History) -> None:
        self.account = account
        self.lock = threading.Lock()
        self._client = Client(url, history)
        self.begin()

    def begin(self) -> None:
        """Without a cursor, from the first event that there is."""
        self.seen: list[str] = []
        self._cursor: str | None = None

    def pull(self) -> int:
        """Everything that is there now. Returns how many events came."""
        before = len(self.seen)
        while True:
            after = f"&cursor={self._cursor}" if self._cursor else ""
            answer, said = self._client.ask("feed", self.account, "GET", f"/events?limit=100{after}")
            if answer != "200":
                break
            self.seen += [each["id"] for each in said["data"]]
            self._cursor = said["meta"]["next_cursor"] or self._cursor
            if not said["meta"]["has_more"]:
                break
        return len(self.seen) - before


def order_for(account: Account, tool: str) -> Order:
    """An order that is made by a fault and not by the load."""
    return Order(account, tool, str(uuid7()), time.time())
