"""JSON Schema with restricted features, and a child process that evaluates schemas under time and memory limits.

`python -I jsonschemas.py FD` serves on an inherited socket; the other end is `checker.py`. The kernel kills the process
when a check uses too much CPU time (SIGPROF), whatever the validator is doing, or allocates too much memory; the parent
is not affected. It imports none of our modules, so that it starts quickly.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NoReturn, TypedDict

import jsonschema_rs
from cachetools import FIFOCache

#: Maximum size of a compiled pattern, in bytes.
REGEX_SIZE_LIMIT = 1_000_000
OPTIONS = jsonschema_rs.RegexOptions(size_limit=REGEX_SIZE_LIMIT)
MAX_MESSAGE = 300
MEMORY = 512 * 1024 * 1024
KEPT = 200
LENGTH = struct.Struct("!I")

Fault = tuple[list[str | int], str]


class Question(TypedDict):
    """What the child is asked: the schema under its key, or None for one that it knows; at most so many faults."""

    key: str
    schema: Mapping[str, object] | None
    most: int
    seconds: float


class CheckAnswer(TypedDict, total=False):
    """What the child answers, by exactly one of the first three. `unusable`: the arguments of `Unusable`.

    `seconds`: of CPU time that this took.
    """

    faults: list[Fault]
    unusable: tuple[str, Sequence[str | int] | None, str | None]
    unknown: bool
    seconds: float


class Unusable(ValueError):
    """Not a valid schema, or it refers to other documents. `path`: where; `pattern`: the unsupported pattern."""

    def __init__(self, message: str, path: Sequence[str | int] | None = None, pattern: str | None = None) -> None:
        super().__init__(message)
        self.path, self.pattern = path, pattern


def compiled(schema: Mapping[str, object]) -> jsonschema_rs.Validator:
    """A validator (draft 2020-12 by default) without network or file access and with linear-time patterns.

    Raises `Unusable`.
    """
    try:
        return jsonschema_rs.validator_for(
            dict(schema),
            retriever=_no_references,
            pattern_options=OPTIONS,
            validate_formats=True,
        )
    except jsonschema_rs.ValidationError as error:
        kind = error.kind
        regex = isinstance(kind, jsonschema_rs.ValidationErrorKind.Format) and kind.format == "regex"
        pattern = str(error.instance) if regex else None
        raise Unusable(error.message.splitlines()[0][:MAX_MESSAGE], list(error.instance_path), pattern) from error
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        raise Unusable(str(error).splitlines()[0][:MAX_MESSAGE]) from error


def _no_references(uri: str) -> NoReturn:
    raise ValueError(f"references to other documents are not allowed: {uri}")


def faults(validator: jsonschema_rs.Validator, value: object, most: int) -> list[Fault]:
    """Validate a value; returns at most `most` faults (path and message), none when it is valid.

    The validator makes all faults before the first can be had, unless only that is wanted.
    """
    if validator.is_valid(value):
        return []
    if most == 1:
        return _first_fault(validator, value)
    found = islice(validator.iter_errors(value), most)
    return [(list(error.instance_path), error.message[:MAX_MESSAGE]) for error in found]


def _first_fault(validator: jsonschema_rs.Validator, value: object) -> list[Fault]:
    try:
        validator.validate(value)
    except jsonschema_rs.ValidationError as error:
        return [(list(error.instance_path), error.message[:MAX_MESSAGE])]
    return []


# -- the process -----------------------------------------------------------------------------------------------


def receive(sock: socket.socket) -> bytes:
    """Receive one length-prefixed message. Raises `EOFError`, `OSError`."""
    (length,) = LENGTH.unpack(_exactly(sock, LENGTH.size))
    return _exactly(sock, length)


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def send(sock: socket.socket, message: bytes) -> None:
    """Send one length-prefixed message. Raises `OSError`."""
    sock.sendall(LENGTH.pack(len(message)) + message)


def _serve(sock: socket.socket) -> None:
    """An empty message when it is ready; then a `Question`, a line feed and a value → a `CheckAnswer`."""
    known: FIFOCache[str, jsonschema_rs.Validator] = FIFOCache(KEPT)
    send(sock, b"")
    while True:
        head, _, value = receive(sock).partition(b"\n")
        asked: Question = json.loads(head)
        began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, asked["seconds"])
        answer = _answer(known, asked, value)
        answer["seconds"] = time.process_time() - began
        said = json.dumps(answer).encode()
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(sock, said)


def _answer(known: FIFOCache[str, jsonschema_rs.Validator], asked: Question, value: bytes) -> CheckAnswer:
    key = asked["key"]
    if key not in known:
        if asked["schema"] is None:
            return {"unknown": True}
        try:
            known[key] = compiled(asked["schema"])
        except Unusable as error:
            return {"unusable": (str(error), error.path, error.pattern)}
    return {"faults": faults(known[key], json.loads(value), asked["most"])}


def main(fd: int) -> None:
    """Serve on the inherited socket under the limits, until its other end closes."""
    os.closerange(fd + 1, os.sysconf("SC_OPEN_MAX"))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    sock = socket.socket(fileno=fd)
    sock.setblocking(True)  # a gevent parent leaves it non-blocking
    try:
        _serve(sock)
    except (EOFError, OSError):
        return


if __name__ == "__main__":
    main(int(sys.argv[1]))
