"""A job ends after so many calls or seconds, whatever is due."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from common.kit import clock

MAX_TURNS: Final = 100
MAX_SECONDS: Final = 30.0


@dataclass(slots=True)
class JobLimit:
    """What is left of a job: Flower and warm shutdowns need jobs that end."""

    turns: int = 0
    until: float = field(default_factory=lambda: clock.monotonic() + MAX_SECONDS)

    @property
    def seconds_left(self) -> float:
        """0 if the limit is reached."""
        return max(0.0, self.until - clock.monotonic()) if self.turns < MAX_TURNS else 0.0
