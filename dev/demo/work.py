"""The demo's invocations, and the ways their results are received."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import cycle, zip_longest
from typing import TYPE_CHECKING, Unpack

from dev.demo import texts
from dev.demo.receiver import Receiver
from joyfull import Client, models
from joyfull import Job as Submitted
from joyfull.waiting import ENDS
from joyfull.wire import Json

if TYPE_CHECKING:
    from joyfull.models.bodies import SubmitOptions

WAYS = ("long-poll", "stream", "webhook")
LONGEST_SECONDS = 60.0


@dataclass(slots=True)
class Job:
    """One invocation of the demo: its input, the expected result, and its current state."""

    tool: str
    input: dict[str, object]
    author: str = ""
    expected: str = ""
    way: str = ""
    key: str = field(default_factory=lambda: f"demo-{secrets.token_hex(8)}")
    #: As it was last heard of; and what it can be waited for with.
    invocation: models.Invocation | None = None
    submitted: Submitted | None = None
    failure: str = ""
    listed: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def id(self) -> str:
        return self.invocation.id if self.invocation else ""

    @property
    def status(self) -> str:
        return self.invocation.status if self.invocation else "not sent"

    @property
    def ended(self) -> bool:
        return self.status in ENDS

    @property
    def stage(self) -> str:
        """Its status; `on its way` when it has ended but its own way has not delivered the result yet."""
        return "on its way" if self.listed in ENDS and not self.ended else self.status

    @property
    def output(self) -> Json:
        """What the tool brought, as far as there is anything."""
        return self.invocation.output if self.invocation else None

    @property
    def charged(self) -> int:
        """Tokens."""
        return self.invocation.billing.charged if self.invocation else 0

    def submit(self, client: Client, **options: Unpack[SubmitOptions]) -> Submitted:
        """Submit it, under its own key: once, however often."""
        self.submitted = client.submit(self.tool, self.input, idempotency_key=self.key, **options)
        self.saw(self.submitted.invocation)
        return self.submitted

    def saw(self, invocation: models.Invocation) -> None:
        """Update from a newer representation; never overwrites a final one. Called from two threads."""
        with self._lock:
            if not self.ended:
                self.invocation = invocation


def everything() -> list[Job]:
    """All jobs, interleaved so that every tool is busy from the start and every way is used."""
    groups = [
        [Job("patience", {"seconds": seconds}) for seconds in (3, 2, 2, 1)],
        [Job("language", {"text": text}, author, code) for code, _, author, text in texts.LANGUAGES],
        [Job("sentiment", {"text": text}, author, label) for label, author, text in texts.SENTIMENTS],
        [Job("keywords", {"text": text, "top": 4}, author) for author, text in texts.KEYWORDS],
        [Job("summary", {"text": text, "sentences": 1}, author) for author, text in texts.SUMMARIES],
        [Job("flaky", {"share": 0.5}) for _ in range(6)],
    ]
    jobs = [job for row in zip_longest(*groups) for job in row if job is not None]
    for job, way in zip(jobs, cycle(WAYS), strict=False):
        job.way = way
    return jobs


def run(client: Client, receiver: Receiver, jobs: list[Job], watch: Callable[[], None]) -> float:
    """Submit every job and receive every result, calling `watch` meanwhile. Returns the duration in seconds."""
    began = time.monotonic()
    deadline = began + LONGEST_SECONDS
    carriers = [threading.Thread(target=_carry, args=(client, receiver, job, deadline), daemon=True) for job in jobs]
    for carrier in carriers:
        carrier.start()
    while any(carrier.is_alive() for carrier in carriers) and time.monotonic() < deadline:
        _look(client, jobs)
        watch()
        time.sleep(0.1)
    for job, carrier in zip(jobs, carriers, strict=True):
        if carrier.is_alive():
            job.failure = f"still {job.status} after {LONGEST_SECONDS:.0f} s"
    return time.monotonic() - began


def _look(client: Client, jobs: list[Job]) -> None:
    """Update the display from one listing. Final results come only by each job's own way."""
    listed = {entry.id: entry for entry in client.invocations.list(limit=100, payloads=False).first(100)}
    for job in jobs:
        if entry := listed.get(job.id):
            job.listed = entry.status
            if job.listed not in ENDS:
                job.saw(models.Invocation.of(entry.raw))


def _carry(client: Client, receiver: Receiver, job: Job, deadline: float) -> None:
    """Submit one job and receive its result by its own way. A failure is kept in `job.failure`."""
    try:
        submitted = job.submit(client)
        for news in _news(submitted, receiver, job.way, deadline - time.monotonic()):
            job.saw(news)
    except Exception as error:  # noqa: BLE001 - shown beside the results of the other jobs
        job.failure = f"{type(error).__name__}: {error}"


def _news(submitted: Submitted, receiver: Receiver, way: str, left: float) -> Iterable[models.Invocation]:
    if way == "long-poll":
        return [submitted.wait(left)]
    if way == "stream":
        return submitted.events()
    return [receiver.wait_for(submitted.id, left)]
