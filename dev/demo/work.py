"""The demo's invocations, and the ways their results are received."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import cycle, zip_longest

from dev.demo import texts
from dev.demo.client import ENDED, ApiClient, Json
from dev.demo.receiver import Receiver

WAYS = ("long-poll", "stream", "webhook")
LONGEST_SECONDS = 60.0


@dataclass(slots=True)
class Job:
    """One invocation of the demo: its input, the expected result, and its current state."""

    tool: str
    input: Json
    author: str = ""
    expected: str = ""
    way: str = ""
    key: str = field(default_factory=lambda: f"demo-{secrets.token_hex(8)}")
    invocation: Json = field(default_factory=dict)
    failure: str = ""
    listed: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def id(self) -> str:
        return str(self.invocation.get("id", ""))

    @property
    def status(self) -> str:
        return str(self.invocation.get("status", "not sent"))

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def stage(self) -> str:
        """Its status; `on its way` when it has ended but its own way has not delivered the result yet."""
        return "on its way" if self.listed in ENDED and not self.ended else self.status

    def saw(self, invocation: Json) -> None:
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


def run(api: ApiClient, receiver: Receiver, jobs: list[Job], watch: Callable[[], None]) -> float:
    """Submit every job and receive every result, calling `watch` meanwhile. Returns the duration in seconds."""
    began = time.monotonic()
    deadline = began + LONGEST_SECONDS
    carriers = [threading.Thread(target=_carry, args=(api, receiver, job, deadline), daemon=True) for job in jobs]
    for carrier in carriers:
        carrier.start()
    while any(carrier.is_alive() for carrier in carriers):
        _look(api, jobs)
        watch()
        time.sleep(0.1)
    return time.monotonic() - began


def _look(api: ApiClient, jobs: list[Job]) -> None:
    """Update the display from one listing. Final results come only by each job's own way."""
    listed = {entry["id"]: entry for entry in api.get("/invocations", limit=100)["data"]}
    for job in jobs:
        if entry := listed.get(job.id):
            job.listed = entry["status"]
            if job.listed not in ENDED:
                job.saw(entry)


def _carry(api: ApiClient, receiver: Receiver, job: Job, deadline: float) -> None:
    """Submit one job and receive its result by its own way. A failure is kept in `job.failure`."""
    try:
        job.saw(api.invoke(job.tool, {"input": job.input}, job.key).json()["data"])
        for news in _news(api, receiver, job, deadline):
            job.saw(news)
        if not job.ended:
            job.failure = f"still {job.status} when the {job.way} ended"
    except Exception as error:  # noqa: BLE001 - shown beside the results of the other jobs
        job.failure = f"{type(error).__name__}: {error}"


def _news(api: ApiClient, receiver: Receiver, job: Job, deadline: float) -> Iterable[Json]:
    if job.way == "long-poll":
        return api.long_poll(job.id, deadline)
    if job.way == "stream":
        return api.stream(job.id, deadline)
    return [receiver.wait_for(job.id, deadline - time.monotonic())]
