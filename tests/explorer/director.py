"""Who may go on: actors that run verbs, stopped at their exchanges with the outside, and the faults that happen there.

One operating-system thread: each actor is a greenlet, and the director lets one of them go on at a time, so a schedule
always runs in the same way. An actor has the memories of a process of its own, and a clock whose time passes only in
`sleep`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

import psycopg
import redis as redis_py
from greenlet import getcurrent, greenlet
from psycopg.pq import TransactionStatus

from common.kit import clock, memory, redis, seam
from common.kit.memory import Memory
from common.tools import breakers
from tests.explorer import spares

#: The modules: their packages export functions of the same names.
catalogue: Any = import_module("common.tools.catalogue")
gate: Any = import_module("common.budgets.gate")
#: psycopg's own housekeeping: nothing of ours, and nothing on the wire when there is no transaction.
_HOUSEKEEPING = {"_set_autocommit_gen", "_set_isolation_level_gen", "_set_read_only_gen", "_set_deferrable_gen"}
_WRITES = re.compile(r"\b(insert\s+into|update|delete\s+from)\b", re.IGNORECASE)
_TABLE = re.compile(r"\b(?:from|join|into|update)\s+(?:only\s+)?([a-z_]+)", re.IGNORECASE)
#: What is called for what it does: the tables are those of its body.
_MONTHS = re.compile(r"\busage_logs_(?:add|retire)_month\(")
_READING = {"GET", "MGET", "HGET", "HMGET", "HGETALL", "EXISTS", "HEXISTS", "HLEN", "SCAN", "LLEN", "INFO", "TIME"}
FAULTS = ("wait", "freeze", "lost", "cut", "refused", "late", "stuck", "dies", "parted")


class Died(BaseException):
    """The process of this actor is dead: nothing that it does from here on reaches anybody."""


class VirtualClock(clock.Clock):
    """Time passes only while somebody sleeps; keys in Redis that would have expired meanwhile do.

    Nobody else goes on meanwhile, so who sleeps again and again only to look once more oversleeps, longer each time.
    """

    def __init__(self, age: Callable[[float], None]) -> None:
        self.passed = 0.0
        self._age = age
        self._owed = 0.0
        self._slept = 0

    def monotonic(self) -> float:
        return 1000.0 + self.passed

    def sleep(self, seconds: float) -> None:
        self._slept += 1
        seconds = max(seconds, min(0.25, seconds * 1.5**self._slept))
        self.passed += seconds
        self._owed += seconds
        if self._owed >= 0.25:
            owed, self._owed = self._owed, 0.0
            self._age(owed)

    def wall(self) -> float:
        return time.time() + self.passed


# -- what a process remembers ------------------------------------------------------------------------------------


def remember(what: Memory) -> Memory:
    """Give this process another memory; what it knows of breakers is read anew. Returns the one before."""
    what.parts.pop(breakers._view, None)
    return memory.use(what)


@dataclass(slots=True)
class Step:
    """One exchange of a verb: what was sent, whether it changes something that others see, and what it touches."""

    server: str
    what: str
    changes: bool
    touches: frozenset[str]
    plain: bool  # one statement that is its own transaction, or one command


@dataclass(slots=True)
class Actor:
    """A verb on its way. `stop_at`: its exchange, from 1, at which the director is asked."""

    name: str
    work: Callable[[Actor], object]
    memory: Memory = field(default_factory=Memory)
    stop_at: int = 0
    on_stop: Callable[[Actor, Step, Any, Any, Callable[[], Any]], Any] | None = None
    after_next: Callable[[], None] | None = None
    steps: list[Step] = field(default_factory=list)
    dead: bool = False
    parted: bool = False  # from Redis: nothing that it sends gets there
    frame: Any = None
    error: BaseException | None = None

    @property
    def over(self) -> bool:
        return self.frame is not None and bool(self.frame.dead)


class Director:
    """Installs itself at the seam; everything that no actor does passes untouched."""

    def __init__(self, call_tool: Callable[[Any, Any, Any], Any]) -> None:
        self.actors: dict[greenlet, Actor] = {}
        self._call_tool = call_tool
        self._scripts = {redis.source(path.stem)[1]: path.stem for path in redis.LUA.glob("*.lua")}
        self._wrote: dict[int, set[str]] = {}
        self.pids: set[int] = set()

    def start(self, actor: Actor) -> None:
        """Let an actor go until it stops or is over. Comes back to whoever called."""

        def life() -> None:
            try:
                actor.work(actor)
            except Died:
                pass
            except BaseException as error:  # noqa: BLE001 - handed to the schedule, which judges it
                actor.error = error

        actor.frame = greenlet(life, parent=getcurrent())
        self.actors[actor.frame] = actor
        self.go_on(actor)

    def go_on(self, actor: Actor) -> None:
        if actor.frame.dead:
            return
        before = remember(actor.memory)
        actor.frame.parent = getcurrent()
        actor.frame.switch()
        remember(before)

    @staticmethod
    def pause() -> None:
        """Called by an actor that stops: back to whoever let it go."""
        frame = getcurrent()
        frame.parent.switch()

    def hook(self, server: str, what: Any, on: Any, do: Callable[[], Any]) -> Any:
        actor = self.actors.get(getcurrent())
        if server == "tool":
            do = partial(self._call_tool, what, on, do)
        if actor is None:
            return do()
        if actor.dead:
            lost_answer(on, dead=True)
            raise Died
        step = self._step(server, what, on)
        if step is None:
            return do()
        actor.steps.append(step)
        if actor.parted and server == "redis":
            raise lost_answer(on)
        if len(actor.steps) == actor.stop_at and actor.on_stop is not None:
            return actor.on_stop(actor, step, what, on, do)
        release, actor.after_next = actor.after_next, None
        try:
            return do()
        finally:
            if release is not None:
                release()

    # -- reading an exchange ---------------------------------------------------------------------------------------

    def _step(self, server: str, what: Any, on: Any) -> Step | None:
        if server == "postgresql":
            return self._statement(what, on)
        if server == "redis":
            return self._commands([what] if isinstance(what, tuple) else [command for command, _ in what])
        if server == "piece":  # between two of them its worker's heart beats, and looks at the row
            return Step("tool", server, changes=False, touches=frozenset({"r:queue"}), plain=True)
        return Step(server, server, changes=server == "tool", touches=frozenset({server}), plain=True)

    def _statement(self, gen: Any, on: Any) -> Step | None:
        name = gen.gi_code.co_name
        idle = on.pgconn.transaction_status == TransactionStatus.IDLE
        self.pids.add(on.pgconn.backend_pid)
        if name in _HOUSEKEEPING or (name in ("_commit_gen", "_rollback_gen") and idle):
            return None
        if name in ("_commit_gen", "_rollback_gen"):
            wrote = frozenset(self._wrote.pop(id(on), ()))
            commits = name == "_commit_gen"
            return Step("postgresql", name[1:-4], bool(wrote) and commits, wrote if commits else frozenset(), False)
        query = gen.gi_frame.f_locals.get("query", "")
        sent = query.decode() if isinstance(query, bytes) else str(query)
        months = {"usage_logs", "watermarks"} if _MONTHS.search(sent) else set()
        writes, alone = bool(months or _WRITES.search(sent)), bool(on.autocommit)
        named = months.union(table.lower() for table in _TABLE.findall(sent))
        tables = frozenset(f"{'w' if writes else 'r'}:{table}" for table in named)
        if writes and not alone:
            self._wrote.setdefault(id(on), set()).update(tables)
        return Step("postgresql", " ".join(sent.split()), writes and alone, tables, alone)

    def _commands(self, commands: list[tuple[Any, ...]]) -> Step:
        names = [str(command[0]).upper() for command in commands]
        said, keys = [], set()
        for name, command in zip(names, commands, strict=True):
            script = self._scripts.get(str(command[1])) if name == "EVALSHA" else None
            said.append(script or name)
            first = command[3] if name == "EVALSHA" else (command[1] if len(command) > 1 else "")
            keys.add(f"k:{str(first).partition(':')[0]}")
        reads = all(name in _READING for name in names)
        return Step("redis", " ".join(said), not reads, frozenset(keys), plain=True)


# -- faults ------------------------------------------------------------------------------------------------------


def possible(fault: str, step: Step) -> str | None:
    """This fault, or what comes nearest to it at an exchange like this; None: there is none."""
    if step.server == "tool":
        return None
    if not step.changes or step.what == "notify":
        return "cut"
    if fault == "late" and not step.plain and step.what != "commit":
        return "lost"
    return fault


def lost_answer(on: Any, *, dead: bool = False) -> Exception:
    """The connection is gone, and nobody knows what was done. `dead`: nor is there anybody who would want to know."""
    if isinstance(on, psycopg.Connection):
        spares.end(on, dead=dead)
        return psycopg.OperationalError("the connection was closed")
    return redis_py.ConnectionError("the connection was closed")


def refusal(on: Any, step: Step) -> Exception:
    """The server says no; to a COMMIT it says so after it has rolled back."""
    if isinstance(on, psycopg.Connection):
        if step.what == "commit":
            on.pgconn.exec_(b"rollback")
        return psycopg.errors.DeadlockDetected("deadlock detected")
    return redis_py.exceptions.BusyLoadingError("Redis is loading the dataset in memory")


def statement_of(gen: Any) -> tuple[bytes, list[Any]]:
    """The statement that a psycopg generator is about to send, and its parameters."""
    local = gen.gi_frame.f_locals
    return local["query"], list(local.get("params") or [])


@contextmanager
def installed(director: Director, virtual: VirtualClock) -> Iterator[None]:
    before = clock.use(virtual)
    seam.install(director.hook)
    try:
        yield
    finally:
        seam.install(None)
        clock.use(before)
