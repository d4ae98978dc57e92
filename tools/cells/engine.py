"""A network of queues, simulated event by event: jobs visit stations in the order of their routes.

A station has some equal servers and one queue, first come first served; or it is a flush, which takes all that wait at
once (group commit). Times are seconds. The same arrivals and the same `Draw` give the same outcome.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

#: A kind of resource, and which of them: ("gate", 3).
Place = tuple[str, int]
#: The duration of one service, from its mean.
Draw = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Visit:
    """What a job needs of one station: `seconds` of service on average."""

    place: Place
    seconds: float


Route = tuple[Visit, ...]


@dataclass(frozen=True, slots=True)
class Station:
    """A resource. `servers`: how many jobs it serves at once.

    `background`: the share of each server's time that other work takes, 0 to 1; what is over 0.95 is in the load only.
    `flush`: seconds that each service takes beside the jobs' own; given, one service takes all jobs that wait.
    """

    servers: int = 1
    background: float = 0.0
    flush: float | None = None


@dataclass(slots=True)
class _Job:
    route: Iterator[Visit]
    counted: bool
    since: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0


@dataclass(slots=True)
class _Queue:
    station: Station
    slowed: float
    busy: int = 0
    serving: int = 0  # jobs: more than `busy` in a flush
    work: float = 0.0
    waiting: deque[_Job] = field(default_factory=deque)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen.

    `waits`: seconds that each counted job spent in queues, sorted. `done` and `waiting` (in a queue or in service) are
    counted at the last arrival. `loads`: offered work ÷ what the servers can do until then; above 1 the queue grows.
    """

    arrived: int
    done: int
    waiting: int
    waits: Sequence[float]
    loads: Mapping[Place, float]

    def wait(self, share: float) -> float:
        """Seconds that this share of the jobs waits at most: 0.99 gives the p99."""
        return self.waits[min(len(self.waits) - 1, int(share * len(self.waits)))]


class Simulation:
    """One run. `stations` has a station for each place that a route names."""

    def __init__(self, stations: Mapping[Place, Station], draw: Draw) -> None:
        self._queues = {
            place: _Queue(station, 1 / (1 - min(station.background, 0.95))) for place, station in stations.items()
        }
        self._draw = draw
        self._calendar: list[tuple[float, int, _Queue, list[_Job]]] = []
        self._numbers = count()
        self._waits: list[float] = []
        self._done = 0

    def run(self, arrivals: Iterable[tuple[float, Route]], warm_up: float = 0.0) -> Outcome:
        """Let jobs arrive (seconds, in order, and routes) and serve all of them.

        Waits of those that arrive in the first `warm_up` seconds are not counted: the queues are still filling.
        """
        arrived, now = 0, 0.0
        for now, route in arrivals:
            self._serve_until(now)
            self._move(_Job(iter(route), counted=now >= warm_up), now)
            arrived += 1
        done = self._done
        waiting = sum(len(queue.waiting) + queue.serving for queue in self._queues.values())
        loads = {place: _load(queue, now) for place, queue in self._queues.items()}
        self._serve_until(float("inf"))
        return Outcome(arrived, done, waiting, sorted(self._waits), loads)

    def _serve_until(self, until: float) -> None:
        calendar = self._calendar
        while calendar and calendar[0][0] <= until:
            now, _, queue, jobs = heapq.heappop(calendar)
            queue.busy -= 1
            queue.serving -= len(jobs)
            if queue.waiting:
                self._begin(queue, now)
            for job in jobs:
                self._move(job, now)

    def _move(self, job: _Job, now: float) -> None:
        """To the next station of its route, or out."""
        visit = next(job.route, None)
        if visit is None:
            self._done += 1
            if job.counted:
                self._waits.append(job.waited)
            return
        queue = self._queues[visit.place]
        job.since, job.seconds = now, visit.seconds
        queue.work += visit.seconds
        queue.waiting.append(job)
        if queue.busy < queue.station.servers:
            self._begin(queue, now)

    def _begin(self, queue: _Queue, now: float) -> None:
        """The next service: of the first that waits, or of all in a flush."""
        flush = queue.station.flush
        if flush is None:
            jobs = [queue.waiting.popleft()]
            seconds = self._draw(jobs[0].seconds) * queue.slowed
        else:
            jobs = list(queue.waiting)
            queue.waiting.clear()
            seconds = flush + sum(job.seconds for job in jobs)
        for job in jobs:
            job.waited += now - job.since
        queue.busy += 1
        queue.serving += len(jobs)
        heapq.heappush(self._calendar, (now + seconds, next(self._numbers), queue, jobs))


def _load(queue: _Queue, seconds: float) -> float:
    return queue.work / (queue.station.servers * seconds) + queue.station.background if seconds else 0.0
