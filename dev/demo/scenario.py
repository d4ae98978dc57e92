"""What the steps of the demo share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dev.demo.receiver import Receiver
from dev.demo.screen import Screen
from dev.demo.work import Job
from joyfull import Client


@dataclass(slots=True)
class Demo:
    """The state of one run: a new user, their invocations, and the failed checks. Files are left in `folder`.

    `talker`: the tool whose answers are streamed.
    """

    client: Client
    screen: Screen
    receiver: Receiver
    keep_up: Callable[[], None]
    folder: Path
    email: str
    password: str
    talker: str = "storyteller"
    jobs: list[Job] = field(default_factory=list)
    extras: list[Job] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def expect(self, condition: bool, otherwise: str) -> bool:
        """Record a fault unless `condition`; the demo continues and fails at the end."""
        if not condition:
            self.faults.append(otherwise)
            self.screen.fault(otherwise)
        return condition

    def confirm(self, condition: bool, markup: str, otherwise: str) -> None:
        if self.expect(condition, otherwise):
            self.screen.done(markup)
