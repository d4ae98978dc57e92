"""One run of one schedule.

A schedule is one line: `exact/submit+key/5/lost/grant` means: in the state `exact`, the verb `submit+key` comes to its
fifth exchange; that is carried out and its answer is lost; in the gap `grant` runs whole; then the first goes on. With
`@2` at its end the second verb stops before its own second exchange, and ends after the first has; with `@2=lost` it
has a fault of its own there. With `~7=late` the first verb meets another fault, at its seventh exchange, if it comes to
that; nobody runs in that gap. Afterwards somebody submits until refused, then everything is repaired and run to its
end, and the oracle looks after each of the two.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
from psycopg.pq import TransactionStatus

from common import budgets, invocations
from common.invocations import ClaimOptions, sweeping
from common.kit import apart, db
from common.kit.clock import uuid7
from common.kit.memory import Memory
from tests.explorer import appointments, director, hooks, oracle, people, spares, streams
from tests.explorer.director import Actor, Died, Director, Step, VirtualClock
from tests.explorer.verbs import UNAVAILABLE, VERBS
from tests.explorer.world import StateStore
from worker import runner

OnStop = Callable[[Actor, Step, Any, Any, Callable[[], Any]], Any]
FILL = 8
ROUNDS = 8
_RELEASE_MS = 5_000
#: Also of what waits for its API key, which is due by another column.
_ALL_IS_DUE = b"""
update queue set due_at = least(due_at, case when key_due_at is null then now() - interval '5 s' end),
                 key_due_at = least(key_due_at, case when key_due_at is not null then now() - interval '5 s' end)
 where coalesce(key_due_at, due_at) > now() - interval '5 s'
"""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What happens in one run."""

    state: str
    first: str
    step: int
    fault: str
    second: str
    second_step: int = 0
    second_fault: str = "pause"
    again_step: int = 0
    again_fault: str = ""

    def __str__(self) -> str:
        stops = f"@{self.second_step}" if self.second_step else ""
        fails = f"={self.second_fault}" if self.second_fault != "pause" else ""
        again = f"~{self.again_step}={self.again_fault}" if self.again_step else ""
        return f"{self.state}/{self.first}/{self.step}/{self.fault}/{self.second}{stops}{fails}{again}"

    @classmethod
    def read(cls, line: str) -> Schedule:
        line, _, again = line.partition("~")
        again_step, _, again_fault = again.partition("=")
        state, first, step, fault, second = line.split("/")
        second, _, second_fault = second.partition("=")
        second, _, second_step = second.partition("@")
        stops = int(second_step or 0), second_fault or "pause", int(again_step or 0), again_fault
        return cls(state, first, int(step), fault, second, *stops)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a schedule broke: enough to run it again, and to read what happened."""

    schedule: Schedule
    statement: str
    told: tuple[str, ...]
    broken: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.schedule}\n  at: {self.statement[:160]}\n  told: {self.told}\n  broken: {self.broken}"


class Run:
    """One schedule, from its start state to the oracle's last look."""

    def __init__(self, store: StateStore, schedule: Schedule) -> None:
        self.store, self.schedule = store, schedule
        self.world = store.restore(schedule.state)
        self.director = Director(self.world.call_tool)
        self.first = Actor("A", lambda _: VERBS[schedule.first](self.world, "A"), memory=copy(self.world.memory))
        self.first.stop_at, self.first.on_stop = schedule.step, self._stop
        self.second = Actor("B", lambda _: VERBS[schedule.second](self.world, "B"))
        self.second.stop_at, self.second.on_stop = schedule.second_step, self._stop_second
        self._faults: dict[str, OnStop] = {
            "wait": self._wait,
            "freeze": self._freeze,
            "lost": self._lost,
            "cut": self._cut,
            "refused": self._refused,
            "late": self._late,
            "stuck": self._stuck,
            "dies": self._dies,
            "parted": self._parted,
        }
        self.virtual = VirtualClock(store.age)
        self.statement = ""
        self.afterwards: list[Callable[[], None]] = []

    def __call__(self) -> Finding | None:
        failures = _failures()
        with director.installed(self.director, self.virtual):
            self.director.start(self.first)
            for each in self.afterwards:
                each()
            if self.second.frame is None:
                self.director.start(self.second)
            self.director.go_on(self.second)
            self._judge_errors()
            self._clear_away()
            self._clients_look()
            broken = self._look(failures)
        if not broken:
            return None
        told = tuple(f"{told.request}: {told.answer} {told.why}".strip() for told in self.world.seen.told)
        return Finding(self.schedule, self.statement, told, tuple(broken))

    # -- stops ---------------------------------------------------------------------------------------------------

    def _stop(self, actor: Actor, step: Step, what: Any, on: Any, do: Callable[[], Any]) -> Any:
        self.statement = step.what
        actor.stop_at, actor.on_stop = self.schedule.again_step, self._stop_again
        return self._faults[self.schedule.fault](actor, step, what, on, do)

    def _stop_again(self, actor: Actor, step: Step, what: Any, on: Any, do: Callable[[], Any]) -> Any:
        """Another fault of the first verb: the one that was drawn, or what comes nearest to it at this exchange."""
        fault = director.possible(self.schedule.again_fault, step)
        if fault is None:
            return do()
        return self._alone(lambda: self._faults[fault](actor, step, what, on, do))

    def _alone(self, fail: Callable[[], Any]) -> Any:
        """Nobody runs in the gap of this fault."""
        gap, self._gap = self._gap, lambda: None  # type: ignore[method-assign]
        try:
            return fail()
        finally:
            self._gap = gap  # type: ignore[method-assign]

    def _stop_second(self, actor: Actor, step: Step, what: Any, on: Any, do: Callable[[], Any]) -> Any:
        """The second verb pauses until the first is over, or has a fault of its own, in whose gap nobody else runs."""
        if self.schedule.second_fault == "pause":
            self.director.pause()
            return do()
        return self._alone(lambda: self._faults[self.schedule.second_fault](actor, step, what, on, do))

    def _gap(self) -> None:
        self._clients_look()
        self.director.start(self.second)
        self._clients_look()

    def _clients_look(self) -> None:
        if self.world.streams is not None:
            self.world.streams.look()
            self.world.streams.hear(self.store.connection)

    def _wait(self, _actor: Actor, _step: Step, _what: Any, _on: Any, do: Callable[[], Any]) -> Any:
        self._gap()
        return do()

    def _freeze(self, _actor: Actor, _step: Step, _what: Any, _on: Any, do: Callable[[], Any]) -> Any:
        self._gap()
        self._settle()
        return do()

    def _lost(self, _actor: Actor, _step: Step, _what: Any, on: Any, do: Callable[[], Any]) -> Any:
        with suppress(Exception):
            do()
        error = director.lost_answer(on)
        self._gap()
        raise error

    def _cut(self, _actor: Actor, _step: Step, _what: Any, on: Any, _do: Callable[[], Any]) -> Any:
        error = director.lost_answer(on)
        self._gap()
        raise error

    def _refused(self, _actor: Actor, step: Step, _what: Any, on: Any, _do: Callable[[], Any]) -> Any:
        self._gap()
        raise director.refusal(on, step)

    def _dies(self, actor: Actor, _step: Step, _what: Any, on: Any, do: Callable[[], Any]) -> Any:
        with suppress(Exception):
            do()
        actor.dead = True
        director.lost_answer(on, dead=True)
        raise Died

    def _parted(self, actor: Actor, _step: Step, _what: Any, _on: Any, do: Callable[[], Any]) -> Any:
        """It is carried out, but from the gap on the process does not reach Redis."""
        self._gap()
        actor.parted = True
        return do()

    def _late(self, _actor: Actor, step: Step, what: Any, on: Any, do: Callable[[], Any]) -> Any:
        """Given up by the client; the server carries it out when the first verb is over."""
        if step.server == "redis":
            self.afterwards.append(lambda: _quietly(do))
        elif step.what == "commit":
            session = spares.take(on)
            self.afterwards.append(lambda: spares.leave(session, last=b"commit"))
        else:
            query, parameters = director.statement_of(what)
            self.afterwards.append(lambda: _quietly(lambda: self._raw(query, parameters)))
        error = director.lost_answer(on)
        self._gap()
        raise error

    def _raw(self, query: bytes, parameters: list[Any]) -> None:
        psycopg.RawCursor(self.store.connection).execute(query, parameters)

    def _stuck(self, actor: Actor, step: Step, what: Any, on: Any, _do: Callable[[], Any]) -> Any:
        """Sent, and waiting for a row that a third session has; it lets go after the next exchange."""
        blocker = self.store.blocker
        blocker.execute(*self._obstacle(step))
        pid = on.pgconn.backend_pid
        on.pgconn.exec_(b"set lock_timeout = 0; set statement_timeout = 0")
        waits = _send(what, on, lambda: self._waits_for_lock(pid))
        error = director.lost_answer(on)

        def let_go() -> None:
            blocker.rollback()
            if waits:
                self._wait_until_gone(pid)

        actor.after_next = let_go
        self.afterwards.append(lambda: None if blocker.info.transaction_status == TransactionStatus.IDLE else let_go())
        self._gap()
        raise error

    def _obstacle(self, step: Step) -> tuple[bytes, tuple[UUID]]:
        """The row that a statement waits for: the period's, or that of the call in hand."""
        if "periods" in {name[2:] for name in step.touches}:
            return b"select 1 from periods where id = %s for update", (self.world.customer.period_id,)
        assert self.world.task is not None
        return b"select 1 from queue where id = %s for update", (self.world.task.id,)

    def _waits_for_lock(self, pid: int) -> bool:
        query = "select 1 from pg_stat_activity where pid = %s and wait_event_type = 'Lock'"
        return self.store.connection.execute(query, (pid,)).fetchone() is not None

    def _wait_until_gone(self, pid: int) -> None:
        for _ in range(_RELEASE_MS):
            query = "select 1 from pg_stat_activity where pid = %s and state = 'active'"
            if not self.store.connection.execute(query, (pid,)).fetchone():
                return
            select.select([], [], [], 0.001)
        self.world.seen.problems.append("a released statement did not end")

    # -- afterwards ----------------------------------------------------------------------------------------------

    def _judge_errors(self) -> None:
        for actor in (self.first, self.second):
            if actor.error is not None and not isinstance(actor.error, UNAVAILABLE):
                self.world.seen.problems.append(f"{actor.name} raised {actor.error!r}")
            actor.error = None

    def _clear_away(self) -> None:
        if db.engine().pool.checkedout():  # type: ignore[attr-defined]
            db.engine().dispose()
            self.store.dismiss(self.director.pids)

    def _look(self, failures: float) -> list[str]:
        director.remember(Memory())
        if self.world.person is not None:
            broken = people.broken(self.world.person, [self.schedule.first, self.schedule.second])
        elif self.world.receiver is not None:
            broken = hooks.broken(self.world.receiver, self.store, self._verbs())
            broken += oracle.broken(self.world, self.store, settled=True)
        else:
            return self._kept() or self._look_unless_seen(failures)
        return broken + _failed_since(failures)

    def _kept(self) -> list[str]:
        """What does not hold of what this state has more than others."""
        if self.world.appointment is not None:
            self.store.age(10)  # locks that the dead have left in Redis are gone by now
            return appointments.unkept(self.world.appointment, self.store.connection, self._verbs())
        return self._part(settled=False)

    def _part(self, *, settled: bool) -> list[str]:
        if self.world.part is None:
            return []
        return self.world.part.broken(self.store.connection, self.world.seen.calls, settled=settled)

    def _verbs(self) -> set[str]:
        return {self.schedule.first, self.schedule.second}

    def _look_unless_seen(self, failures: float) -> list[str]:
        """Fill, settle and look after each of them, unless the same was done from an end like this."""
        broken = self.world.seen.problems + _failed_since(failures)
        ends, end = self.store.ends, self._end()
        if not broken and ends.came_out_well(end):
            return []
        broken = self._fill_and_look() + _failed_since(failures)
        filled = self._end()
        if broken or not ends.came_out_well(filled):
            broken += self._settle_and_look() + _failed_since(failures)
        if not broken:
            ends.good(end, filled)
        return broken

    def _end(self) -> bytes:
        return self.store.ends.name(self.schedule.state, self._seen(), self.virtual.passed)

    def _seen(self) -> str:
        """What the oracle will ask about: requests that were accepted or have a row, calls, what was canceled."""
        seen, rows = self.world.seen, self.store.requests()
        told = [f"told {each.request} {each.answer} {each.id}" for each in seen.told]
        told = [line for line, each in zip(told, seen.told, strict=True) if each.id or each.request in rows]
        called = [f"called {id_} {min(calls, 2)}" for id_, calls in seen.calls.items()]
        if self.world.streams is not None:
            called += [f"read {id_} {text}" for id_, text in self.world.streams.read.items()]
        return "\n".join(sorted(told) + sorted(called) + sorted(map(str, seen.canceled)))

    def _fill_and_look(self) -> list[str]:
        for number in range(FILL):
            self.world.submit(f"fill-{number}")
            if self.world.seen.told[-1].answer != "id":
                break
        return oracle.broken(self.world, self.store, settled=False)

    def _settle_and_look(self) -> list[str]:
        self._settle()
        found = self._part(settled=True)
        if self.world.expiring_grant is not None:
            found += appointments.misexpired(self.world.expiring_grant, self.store.connection, self._verbs())
        if self.world.streams is not None:
            found += streams.broken(self.world.streams, self.store.connection)
        return found + oracle.broken(self.world, self.store, settled=True)

    def _settle(self) -> None:
        """Every worker is dead; the sweeps do what they do; a new worker takes everything to its end."""
        before = director.remember(Memory())
        try:
            self._repair_and_work()
        except Exception as error:  # noqa: BLE001 - whatever a repair raises is a finding
            self.world.seen.problems.append(f"settling raised {error!r}")
        director.remember(before)

    def _repair_and_work(self) -> None:
        self.store.connection.execute("delete from processes")
        self.store.age(10)  # locks that the dead have left in Redis are gone by now
        worker = uuid7()
        process = self.world.process(worker)
        if self.world.part is not None:
            self.world.part.come(self.store.connection)
        for _ in range(ROUNDS):
            self.store.connection.execute(_ALL_IS_DUE)
            sweeping.reap_dead_processes()
            sweeping.expire()
            sweeping.admit_waiting([])
            sweeping.place_waiting([])
            sweeping.raise_start_tags()
            budgets.free_orphans(older_than=-1)
            invocations.heartbeat(worker, name="last", progress=True, stopping=False)
            tasks = invocations.claim_several(ClaimOptions(worker))
            while tasks:
                tasks = runner.run(process, tasks[0], partial(ClaimOptions, worker))
            if not self.store.connection.execute("select 1 from queue").fetchone():
                break
        budgets.free_orphans(older_than=-1)


def _quietly(do: Callable[[], object]) -> None:
    with suppress(Exception):
        do()


def _failures() -> float:
    return sum(
        sample.value
        for metric in apart.FAILURES.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


def _failed_since(failures: float) -> list[str]:
    return ["an item of periodic work failed"] if _failures() > failures else []


def _send(gen: Any, on: Any, waits: Callable[[], bool]) -> bool:
    """Send what `gen` has to send, and leave it when the server waits for a lock. False: it was done before."""
    try:
        wanted = next(gen)
        for _ in range(1_000):
            read, write, _ = select.select([on.fileno()], [on.fileno()] if wanted & 2 else [], [], 0.005)
            if read or write:
                wanted = gen.send((1 if read else 0) | (2 if write else 0))
            elif waits():
                return True
    except (StopIteration, psycopg.Error):
        pass
    return False
