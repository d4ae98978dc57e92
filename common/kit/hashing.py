"""Password hashes: Argon2id (RFC 9106), with bounded concurrency, and never on the event loop.

A hash costs about 50 ms of one core and 32 MiB (OWASP minimum: 19 MiB, t=2). Argon2 releases the GIL, so under gevent
it runs in a native thread while the loop serves other requests; elsewhere in the calling thread. The thread pool is
used for hashes only, because gevent's own pool also waits for name servers.
"""

from __future__ import annotations

import os
import threading
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from gevent import monkey
from gevent.threadpool import ThreadPool

T = TypeVar("T")

#: Concurrent hashes in this process: each takes a core and 32 MiB.
SLOTS = max(1, (os.cpu_count() or 2) // 2)
#: How long a caller waits for a slot before `Overloaded`.
QUEUE_SECONDS = 10.0

_hasher = PasswordHasher(time_cost=2, memory_cost=32 * 1024, parallelism=1, type=Type.ID)


class Overloaded(Exception):
    """Too many hashes are waiting; nothing was computed."""


def make(password: str) -> str:
    """The encoded Argon2id hash of a new password. Raises `Overloaded`."""
    return _bounded(lambda: _hasher.hash(password))


def matches(encoded: str, password: str) -> bool:
    """Whether the password matches the hash. Raises `Overloaded`."""

    def verify() -> bool:
        try:
            return _hasher.verify(encoded, password)
        except (VerificationError, InvalidHashError):
            return False

    return _bounded(verify)


def outdated(encoded: str) -> bool:
    """Whether the hash was made with parameters other than the current ones."""
    return _hasher.check_needs_rehash(encoded)


@cache
def decoy() -> str:
    """A hash that no password matches, so that verifying an unknown address takes as long as a known one.

    Random, not computed: otherwise the first unknown address would take twice as long.
    """
    cost = f"m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}"
    salt, digest = (b64encode(os.urandom(n)).decode().rstrip("=") for n in (_hasher.salt_len, _hasher.hash_len))
    return f"$argon2id$v=19${cost}${salt}${digest}"


@cache
def _slots() -> threading.BoundedSemaphore:
    # Created on first use: under gevent this must be the patched, cooperative class.
    return threading.BoundedSemaphore(SLOTS)


def _bounded(compute: Callable[[], T]) -> T:
    if not _slots().acquire(timeout=QUEUE_SECONDS):
        raise Overloaded
    try:
        return _off_loop(compute)
    finally:
        _slots().release()


def _off_loop(compute: Callable[[], T]) -> T:
    if not monkey.is_module_patched("threading"):
        return compute()
    result: T = _threads().apply(compute)
    return result


@cache
def _threads() -> ThreadPool:
    return ThreadPool(SLOTS)
