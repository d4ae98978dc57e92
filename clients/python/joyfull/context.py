"""What every operation of a client is given."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from joyfull.job import AnyJob
    from joyfull.journal import Journal
    from joyfull.models import Invocation


def _no_jobs(_invocation: Invocation, _replayed: bool) -> AnyJob:
    raise NotImplementedError("a client sets this")


@dataclass(slots=True)
class Context:
    """Settings of a client, and what tests put in the place of clocks and chance."""

    #: The address of the platform.
    server: str = ""
    #: Seconds for one request.
    timeout: float = 30.0
    #: How often a request is sent again.
    retries: int = 4
    user_agent: str = "joyfull"
    journal: Journal | None = None
    #: Seconds, for deadlines.
    now: Callable[[], float] = time.monotonic
    #: The time of day, for what is kept.
    today: Callable[[], datetime] = lambda: datetime.now(UTC)
    new_key: Callable[[], str] = lambda: secrets.token_hex(16)
    #: A number from 0 to 1.
    chance: Callable[[], float] = secrets.SystemRandom().random
    job: Callable[[Invocation, bool], AnyJob] = field(default=_no_jobs)
