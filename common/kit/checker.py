"""Child processes that validate values against schemas whose evaluation may take long (`jsonschemas.py`).

Each process has two of them, started when they are needed, and each checks one value at a time for accounts in turn.
A check begins in the first, which has a low priority. What takes it too long there is checked in the second, and so is
everything of an account that has kept the first busy lately. The second gets only CPU time that nobody else wants, and
an account's checks there are followed by pauses: the kernel weighs whole containers against each other, so a child that
is last in its own still takes time from PostgreSQL in another. Such an account delays itself. The second ones of all
processes of a host check one at a time. Works with threads and under gevent: callers block nothing else.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

from common.kit import host_turns, jsonschemas, log
from common.kit.children import FD, Child
from common.kit.fairness import FairTurns, NoTurn, RecentUse
from common.kit.jsonschemas import CheckAnswer, Fault, Question, Unusable
from common.kit.pacing import Crowded, Exceeded, Pacer

#: Limit (seconds of CPU time) for one check, including compiling its schema.
SECONDS: Final = 2.0
#: Limit (seconds of CPU time) in the first child.
FIRST_SECONDS: Final = 0.25
#: On a busy machine, where the children go last, these may take so much longer.
LATE: Final = 3.0
#: How long a child may take to start, which does not count against a schema.
START_SECONDS: Final = 10.0
#: How long a caller waits for a child to be free, and for the turn of the second child among those of this host.
TURN_SECONDS: Final = 10.0
#: A check takes no longer than this, all waits included (a schema may have to be sent twice).
LONGEST_SECONDS: Final = 2 * START_SECONDS + 4 * TURN_SECONDS + 2 * (FIRST_SECONDS + LATE) + 2 * (SECONDS + LATE)
#: An account that has used so much CPU time of the first child (seconds) gets the second.
MOST_RECENTLY: Final = 0.25
#: The share of a second, in each second, that is forgotten of this.
SHARE: Final = 0.02
#: A check in the second child is followed by a pause of so many times its CPU time for the same account, at most
#: `LONGEST_PAUSE`, once such pauses have added up to `PAUSES_BEFORE` (seconds).
PAUSE_FACTOR: Final = 9.0
LONGEST_PAUSE: Final = 9.0
PAUSES_BEFORE: Final = 10.0

logger = log.get(__name__)


class TooLong(Exception):
    """The check exceeded its time or memory limit and was stopped."""


class CheckerBusy(Exception):
    """No child was free or had its turn within `TURN_SECONDS`, or the account had to pause."""


class _UsedUp(Exception):
    """The account has used much of this child lately."""


class _Started:
    """A running child, and the schemas that it knows."""

    def __init__(self, *, last: bool) -> None:
        self.child = Child(["-I", str(Path(jsonschemas.__file__)), str(FD)], last=last)
        self._known: set[str] = set()
        self._ready = False

    def check(self, question: Question, value: bytes) -> CheckAnswer:
        """Raises `EOFError`, `OSError`: it did not answer in time, or was killed."""
        if not self._ready:
            self.child.socket.settimeout(START_SECONDS)
            jsonschemas.receive(self.child.socket)
            self._ready = True
        known = question["key"] in self._known
        answer = self._ask({**question, "schema": None} if known else question, value)
        if "unknown" in answer:
            answer = self._ask(question, value)
        if "faults" in answer:
            self._known.add(question["key"])
        return answer

    def _ask(self, question: Question, value: bytes) -> CheckAnswer:
        sock = self.child.socket
        sock.settimeout(question["seconds"] + LATE)
        jsonschemas.send(sock, json.dumps(question).encode() + b"\n" + value)
        answer: CheckAnswer = json.loads(jsonschemas.receive(sock))
        return answer


class Checker(ABC):
    """One of the two children, which is started again whenever it had to be stopped. Thread-safe."""

    def __init__(self, *, last: bool) -> None:
        self.turns = FairTurns[UUID | None]()
        self.started: _Started | None = None
        self._last = last

    def check(self, question: Question, value: bytes, account: UUID | None) -> list[Fault]:
        """Raises `Unusable`, `TooLong`, `CheckerBusy`; `_UsedUp`, if there is another child."""
        with self._admitted(account) as spent:
            answer = self._answer(question, value, spent)
        if "unusable" in answer:
            raise Unusable(*answer["unusable"])
        return [(list(path), message) for path, message in answer["faults"]]

    @abstractmethod
    def _admitted(self, account: UUID | None) -> AbstractContextManager[Callable[[float], None]]:
        """Around a check. Gives what is to be told the seconds of CPU time that it took."""

    @contextmanager
    def _turn(self, account: UUID | None) -> Iterator[None]:
        try:
            with self.turns.turn(account, TURN_SECONDS):
                yield
        except NoTurn:
            raise CheckerBusy from None

    def _answer(self, question: Question, value: bytes, spent: Callable[[float], None]) -> CheckAnswer:
        seconds = question["seconds"]
        try:
            answer = self._running().check(question, value)
            seconds = answer["seconds"]
        except (EOFError, OSError) as error:
            logger.warning("schema check exceeded its limits", schema=question["key"], reason=type(error).__name__)
            self._stop()
            self._running()  # it starts meanwhile
            raise TooLong from error
        finally:
            spent(seconds)
        return answer

    def _running(self) -> _Started:
        if self.started is None or not self.started.child.is_alive():
            self._stop()
            self.started = _Started(last=self._last)
        return self.started

    def _stop(self) -> None:
        if self.started is not None:
            with suppress(OSError):
                self.started.child.end()
            self.started = None


class First(Checker):
    """For everybody who has not used much of it lately, and for the operator."""

    def __init__(self) -> None:
        super().__init__(last=False)
        self.used = RecentUse[UUID | None](SHARE)

    @contextmanager
    def _admitted(self, account: UUID | None) -> Iterator[Callable[[float], None]]:
        self._require_little_use(account)
        with self._turn(account):
            self._require_little_use(account)  # its checks before this one may have taken long
            yield partial(self.used.add, account)

    def _require_little_use(self, account: UUID | None) -> None:
        if account is not None and self.used.of(account) >= MOST_RECENTLY:
            raise _UsedUp


class Second(Checker):
    """For the others, one check at a time of an account, with the pauses that its checks make due."""

    def __init__(self) -> None:
        super().__init__(last=True)
        self._pacer = Pacer[UUID | None](1, PAUSES_BEFORE)

    @contextmanager
    def _admitted(self, account: UUID | None) -> Iterator[Callable[[float], None]]:
        seconds: list[float] = []
        try:
            self._pacer.acquire(account, TURN_SECONDS)
        except (Crowded, Exceeded):
            raise CheckerBusy from None
        try:
            with self._turn(account), host_turns.turn(__file__, TURN_SECONDS) as is_mine:
                if not is_mine:
                    raise CheckerBusy
                yield seconds.append
        finally:
            self._pacer.release(account, min(LONGEST_PAUSE, PAUSE_FACTOR * sum(seconds)))


first, second = First(), Second()


def check(
    key: str,
    schema: Mapping[str, object],
    value: bytes,
    *,
    most: int,
    seconds: float = SECONDS,
    account: UUID | None = None,
) -> list[Fault]:
    """Validate a JSON value; returns at most `most` faults. `key` identifies the schema in the children's caches.

    `account`: for whom, which is whose other checks this one has to wait for; None: for the operator, whose checks all
    run in the first child.

    Raises:
        Unusable: the schema is invalid.
        TooLong: the time or memory limit was exceeded.
        CheckerBusy: the child is busy with other checks, or the account has to pause.
    """
    question: Question = {"key": key, "schema": schema, "most": most, "seconds": seconds}
    if account is None:
        return first.check(question, value, None)
    with suppress(TooLong, _UsedUp):
        return first.check({**question, "seconds": min(seconds, FIRST_SECONDS)}, value, account)
    return second.check(question, value, account)
