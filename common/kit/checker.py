"""A child process that validates values against schemas whose evaluation may take long (`jsonschemas.py`).

Each process has one such child, with a low priority. Accounts take turns: an account with slow checks delays only
its own. Works with threads and under gevent: callers wait on a socket and block nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from common.kit import clock, jsonschemas, log
from common.kit.children import FD, Child
from common.kit.fairness import FairTurns, NoTurn
from common.kit.jsonschemas import CheckAnswer, Fault, Question, Unusable

#: Limit (seconds of CPU time) for one check, including compiling its schema.
SECONDS = 2.0
#: On a busy machine, where the child goes last, these may take so much longer.
LATE = 3.0
#: Allowance for starting the child, which must not count against a schema.
START_SECONDS = 10.0
#: How long a caller waits for the child to be free.
TURN_SECONDS = 10.0

logger = log.get(__name__)


class TooLong(Exception):
    """The check exceeded its time or memory limit and was stopped."""


class CheckerBusy(Exception):
    """The child was not free within `TURN_SECONDS`."""


class _Checker:
    def __init__(self) -> None:
        self.child = Child(["-I", str(Path(jsonschemas.__file__)), str(FD)])
        self.known: set[str] = set()
        self.fresh = True

    def ask(self, question: Question, value: bytes) -> CheckAnswer:
        sock = self.child.socket
        sock.settimeout(question["seconds"] + LATE + (START_SECONDS if self.fresh else 0))
        jsonschemas.send(sock, json.dumps(question).encode() + b"\n" + value)
        answer: CheckAnswer = json.loads(jsonschemas.receive(sock))
        self.fresh = False
        return answer


class _CheckerState:
    checker: _Checker | None = None
    turns = FairTurns[UUID | None]()


def check(
    key: str,
    schema: Mapping[str, object],
    value: bytes,
    *,
    most: int,
    seconds: float = SECONDS,
    account: UUID | None = None,
) -> list[Fault]:
    """Validate a JSON value; returns at most `most` faults. `key` identifies the schema in the child's cache.

    `account`: for whom, which is whose other checks this one has to wait for.

    Raises:
        Unusable: the schema is invalid.
        TooLong: the time or memory limit was exceeded.
        CheckerBusy: the child is busy with other checks.
    """
    try:
        _CheckerState.turns.acquire(account, TURN_SECONDS)
    except NoTurn:
        raise CheckerBusy from None
    began = clock.monotonic()
    try:
        return _check(_checker(), {"key": key, "schema": schema, "most": most, "seconds": seconds}, value)
    except (EOFError, OSError) as error:
        logger.warning("schema check exceeded its limits", schema=key, reason=type(error).__name__)
        _drop()
        raise TooLong from error
    finally:
        _CheckerState.turns.release(account, clock.monotonic() - began)


def _check(checker: _Checker, question: Question, value: bytes) -> list[Fault]:
    known = question["key"] in checker.known
    answer = checker.ask({**question, "schema": None} if known else question, value)
    if "unknown" in answer:
        answer = checker.ask(question, value)
    if "unusable" in answer:
        raise Unusable(*answer["unusable"])
    checker.known.add(question["key"])
    return [(list(path), message) for path, message in answer["faults"]]


def _checker() -> _Checker:
    if _CheckerState.checker is None or not _CheckerState.checker.child.is_alive():
        _drop()
        _CheckerState.checker = _Checker()
    return _CheckerState.checker


def _drop() -> None:
    if _CheckerState.checker is not None:
        with suppress(OSError):
            _CheckerState.checker.child.end()
        _CheckerState.checker = None
