"""The one child process of this process that checks values against schemas that may take long (`jsonschemas.py`).

Works in threads and under gevent alike: whoever waits for an answer waits on a socket, and nobody else does.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.kit import jsonschemas, log
from common.kit.jsonschemas import Fault, Unusable

#: For one check, the compiling of its schema included.
SECONDS = 2.0
#: The kernel ends the child at `SECONDS`; a machine that is busy may be late with telling.
LATE = 3.0
#: For its start, which is not the fault of any schema.
START_SECONDS = 10.0
#: All that the child is told of ours: it needs no secrets.
ENVIRONMENT = ("LD_LIBRARY_PATH", "PATH")
#: How long somebody waits for their turn.
TURN_SECONDS = 10.0

logger = log.get(__name__)


class TooLong(Exception):
    """The check took too long or too much memory, and was given up."""


class Busy(Exception):
    """Too many others are waiting."""


class _Child:
    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-I", str(Path(jsonschemas.__file__)), str(theirs.fileno())]
            self.process = subprocess.Popen(  # noqa: S603  (ourselves)
                command,
                pass_fds=[theirs.fileno()],
                env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self.socket, self.pid = ours, os.getpid()
        self.known: set[str] = set()
        self.fresh = True

    def ask(self, question: dict[str, Any], value: bytes) -> dict[str, Any]:
        self.socket.settimeout(question["seconds"] + LATE + (START_SECONDS if self.fresh else 0))
        jsonschemas.send(self.socket, json.dumps(question).encode() + b"\n" + value)
        answer: dict[str, Any] = json.loads(jsonschemas.receive(self.socket))
        self.fresh = False
        return answer

    def end(self) -> None:
        self.socket.close()
        if self.pid == os.getpid():
            self.process.kill()
            self.process.wait()


class _State:
    child: _Child | None = None
    turn = threading.Lock()


def check(key: str, schema: Mapping[str, Any], value: bytes, *, most: int, seconds: float = SECONDS) -> list[Fault]:
    """What a value (JSON) has against it: at most so many faults. `key` is the schema's name.

    Raises `Unusable` (no schema), `TooLong`, `Busy`.
    """
    if not _State.turn.acquire(timeout=TURN_SECONDS):
        raise Busy
    try:
        return _check(_child(), {"key": key, "schema": schema, "most": most, "seconds": seconds}, value)
    except (EOFError, OSError) as error:
        logger.warning("a schema took too long, or too much memory", schema=key, reason=type(error).__name__)
        _drop()
        raise TooLong from error
    finally:
        _State.turn.release()


def _check(child: _Child, question: dict[str, Any], value: bytes) -> list[Fault]:
    known = question["key"] in child.known
    answer = child.ask({**question, "schema": None} if known else question, value)
    if "unknown" in answer:
        answer = child.ask(question, value)
    if "unusable" in answer:
        raise Unusable(*answer["unusable"])
    child.known.add(question["key"])
    return [(list(path), message) for path, message in answer["faults"]]


def _child() -> _Child:
    if _State.child is None or _State.child.pid != os.getpid() or _State.child.process.poll() is not None:
        _drop()
        _State.child = _Child()
    return _State.child


def _drop() -> None:
    if _State.child is not None:
        with suppress(OSError):
            _State.child.end()
        _State.child = None
