"""A session that is kept on disk, for several programs and for later."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict
from pathlib import Path

from joyfull.credentials import Store, Tokens
from joyfull.errors import ConfigurationError
from joyfull.private_files import read_private, write_private


class SessionFile(Store):
    """A file that only its owner can read; one thread of one process changes it at a time (flock)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    def try_lock(self) -> bool:
        """Whether it is ours now. The kernel frees it when its process dies."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def unlock(self) -> None:
        """Let others."""
        lock, self._lock = self._lock, -1
        os.close(lock)

    def read(self) -> Tokens | None:
        """What was written last, by whichever process."""
        text = read_private(self.path)
        try:
            return None if text is None else Tokens(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"{self.path} does not hold a session: {error}") from error

    def write(self, tokens: Tokens | None) -> None:
        """On disk when this returns; None removes it."""
        if tokens is None:
            self.path.unlink(missing_ok=True)
        else:
            write_private(self.path, json.dumps(asdict(tokens)) + "\n")
