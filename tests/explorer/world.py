"""Start states, made once by the real verbs and put back before each run, and what the outside saw and was told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from uuid import UUID, uuid4

import psycopg
import redis as redis_py
from psycopg import sql

from common import budgets, invocations, tools
from common.errors import PlatformError
from common.identity import accounts, email_addresses
from common.identity.audit import Actor as Admin
from common.invocations import Again, ClaimOptions, Submitted, Task, storing
from common.kit import db, memory, redis
from common.kit.clock import uuid7
from common.kit.memory import Memory
from common.tools import ListedTool, Version
from common.tools.adapters import Reply, ToolResult
from tests import factories
from tests.explorer import appointments, deadlines, streams, sums
from tests.explorer.alike import Ends
from tests.explorer.appointments import Appointment
from tests.explorer.deadlines import Deadlines
from tests.explorer.hooks import Receiver
from tests.explorer.people import Person
from tests.explorer.quotes import Quotes
from tests.explorer.streams import Streams
from tests.factories import Customer
from worker import runner
from worker.heartbeat import WorkerProcess

#: What each call of the tool costs, by its price and by what it answers: 3 + 4 units of 1, of 10 that are held.
COST = 7
HELD = 10
PRICE = {"base_tokens": 3, "per_unit": {"pointer": "/units", "tokens": 1, "unit": "word"}, "max_tokens": HELD}


@dataclass(frozen=True, slots=True)
class Told:
    """What a client was told of one request. `no`: that nothing was stored; `unknown`: that nobody knows."""

    request: str
    answer: str  # "id", "no", "unknown", "nothing" (the process died)
    id: UUID | None = None
    why: str = ""


@dataclass(slots=True)
class Seen:
    """What clients were told and what the tool saw, in one run."""

    told: list[Told] = field(default_factory=list)
    calls: Counter[UUID] = field(default_factory=Counter)
    canceled: list[UUID] = field(default_factory=list)
    granted: int = 0
    problems: list[str] = field(default_factory=list)


class Part(Protocol):
    """What a start state has more than others, and what must hold of it."""

    def again(self) -> Part:
        """The same, of which nothing has been seen yet."""

    def come(self, connection: psycopg.Connection[Any]) -> None:
        """Everything settles now: what waits for a moment has waited for it."""

    def broken(self, connection: psycopg.Connection[Any], calls: Counter[UUID], *, settled: bool) -> list[str]:
        """What does not hold, after both verbs and when nothing is under way any more (`settled`)."""


@dataclass(slots=True)
class World:
    """A start state: the ids that its rows have in every run."""

    name: str
    customer: Customer
    other: Customer
    tool: ListedTool
    admin: Admin
    me: WorkerProcess
    bigger: str
    smaller: str
    task: Task | None = None
    child: Customer | None = None
    tasks: tuple[Task, ...] = ()
    person: Person | None = None
    receiver: Receiver | None = None
    appointment: Appointment | None = None
    expiring_grant: UUID | None = None
    streams: Streams | None = None
    part: Part | None = None
    seen: Seen = field(default_factory=Seen)
    memory: Memory = field(default_factory=Memory)

    def process(self, id_: UUID) -> WorkerProcess:
        """A worker process: one for all, but where it has streams of its own."""
        return self.me if self.streams is None else self.streams.process(id_)

    def work(self) -> None:
        """A worker that is new to the books takes what is due, and runs it."""
        worker = uuid7()
        invocations.heartbeat(worker, name="new", progress=True, stopping=False)
        task = invocations.claim(ClaimOptions(worker))
        if task is not None:
            runner.run(self.process(worker), task, lambda: ClaimOptions(worker, take_next=False))

    def call_tool(self, ids: Any, version: Version, ask: Any) -> Reply:
        """The tool itself: the only thing here that is not real. `ask`: how it would be called."""
        self.seen.calls[ids.invocation_id] += 1
        if self.streams is not None:
            return self.streams.call(ids, ask)
        units = 4 if version.price.per_unit else None
        return Reply(24, lambda: ToolResult({"ok": True, "units": 4}, units, 200, 1))

    def submit(self, request: str, *, customer: Customer | None = None, key: str | None = None, **more: Any) -> bool:
        """A client submits, and keeps what it is told. Returns whether the servers were there."""
        who, more = customer or self.customer, {"stream": self.tool.current.streaming, **more}
        order = factories.order(idempotency_key=key, metadata={"request": request}, **more)
        return self.told(request, lambda: invocations.submit(who.caller, self.tool.slug, order))

    def rerun(self, request: str, original: UUID) -> bool:
        """A client submits once more, as `submit`."""
        again = Again(original, {"metadata": {"request": request}}, "test")
        return self.told(request, lambda: invocations.rerun(self.customer.caller, again))

    def told(self, request: str, ask: Callable[[], Submitted]) -> bool:
        self.seen.told.append(told := Told(request, "nothing"))
        place = len(self.seen.told) - 1
        there = True
        try:
            told = Told(request, "id", ask().id)
        except db.CommitUnknown:
            told, there = Told(request, "unknown"), False
        except (PlatformError, db.Unreachable, redis.RedisUnreachable) as error:
            told = Told(request, "no", why=type(error).__name__)
            there = isinstance(error, PlatformError)
        self.seen.told[place] = told
        return there


Build = Callable[[], World]


def _base(name: str, *, tokens: int, at_once: int | None = None, **tool_is: Any) -> World:
    customer, other = factories.customer(tokens, at_once=at_once), factories.customer(100)
    tool = factories.tool(**{"price": PRICE, **tool_is})
    bigger, smaller = factories.plan(tokens + 20, at_once=at_once, price=9), factories.plan(5, at_once=at_once)
    me = WorkerProcess()
    world = World(name, customer, other, tool, factories.admin(), me, bigger, smaller)
    invocations.heartbeat(me.id, name="worker", progress=True, stopping=False)
    me._known.set()
    return world


def exact() -> World:
    """A budget for exactly four calls, three of them waiting."""
    world = _base("exact", tokens=4 * HELD)
    for number in range(3):
        world.submit(f"before-{number}")
    return world


def moved() -> World:
    """As `exact`, but the period's epoch has moved and its gate was not told: as a process leaves it that dies then."""
    world = replace(exact(), name="moved")
    with db.transaction() as session:
        session.execute(storing.MOVE_EPOCH, {"period_id": world.customer.period_id, "epoch": _epoch(world)})
    return world


def _epoch(world: World) -> int:
    with db.transaction() as session:
        (epoch,) = (
            session.connection()
            .exec_driver_sql("select epoch from periods where id = %s", (world.customer.period_id,))
            .one()
        )
    return int(epoch)


def in_hand() -> World:
    """A worker has a task, another waits; at most one at once."""
    world = _base("in-hand", tokens=4 * HELD, at_once=1)
    for number in range(2):
        world.submit(f"before-{number}")
    world.task = factories.taken(ClaimOptions(world.me.id))
    return world


def two_in_hand() -> World:
    """A worker has two quick tasks, which it will store together; two more wait for their slots."""
    world = _base("two-in-hand", tokens=4 * HELD, at_once=2)
    for number in range(4):
        world.submit(f"before-{number}")
    options = ClaimOptions(world.me.id, most=2, quick=(world.tool.current.id,))
    world.tasks = tuple(invocations.claim_several(options))
    assert len(world.tasks) == 2
    return world


def once() -> World:
    """A tool that must not be repeated: its worker has a task, and is dead to the books."""
    world = _base("once", tokens=4 * HELD, idempotent=False)
    world.submit("before-0")
    world.task = factories.taken(ClaimOptions(world.me.id))
    invocations.leave(world.me.id)
    return world


def once_in_hand() -> World:
    """A tool that must not be repeated, in the hands of a worker that the books know; it has lost sight of it."""
    world = _base("once-in-hand", tokens=4 * HELD, idempotent=False)
    for number in range(2):
        world.submit(f"before-{number}")
    world.task = factories.taken(ClaimOptions(world.me.id))
    return world


def foreign() -> World:
    """A gate of a period that the database does not know, and a third account's leaked hold."""
    world = _base("foreign", tokens=4 * HELD)
    world.submit("before-0")
    leak(factories.customer(100))
    add_foreign_gate()
    return world


def keyed() -> World:
    """A key with an allowance for exactly four calls, two at once, of an account with a budget for six, two at once.

    Three of its calls are open: one in hand, one that waits for a slot of the account (a call without the key has the
    other), and one, by a key that comes from it, that waits for the key.
    """
    world = _base("keyed", tokens=6 * HELD, at_once=2)
    without, key = world.customer, factories.keyed(world.customer, 4 * HELD, at_once=2)
    world = replace(world, customer=key, child=factories.delegated(key, 4 * HELD))
    world.submit("before-0")
    world.task = factories.taken(ClaimOptions(world.me.id))
    for number, customer in enumerate((without, key, world.child), 1):
        world.submit(f"before-{number}", customer=customer)
    return world


def leak(customer: Customer) -> None:
    """As a web process leaves it that dies between hold and commit."""
    budgets.hold(customer.account(), uuid4(), HELD)


def add_foreign_gate() -> None:
    """As a restored backup leaves it, or another platform on the same Redis."""
    user, period = UUID(int=1), UUID(int=2)
    run = redis.client().info("server")["run_id"]
    fields: dict[Any, Any] = {"run": run, "epoch": 1, "granted": 5, "charged": 5, "held": 0, "active": 0}
    redis.client().hset(budgets.budget_key(user, period), mapping=fields)


def people() -> World:
    """Somebody is logged in and has a key; both have been used."""
    world = _base("people", tokens=4 * HELD)
    email = f"person-{uuid4().hex[:8]}@example.com"
    made = accounts.create(email_addresses.parse(email), factories.PASSWORD, "Ada")
    world.person = Person.make(made.id, email, factories.PASSWORD)
    return world


def hooks() -> World:
    """Two deliveries are due at one endpoint."""
    world = _base("hooks", tokens=4 * HELD)
    world.receiver = Receiver.make(world.customer.user_id)
    for number in range(2):
        world.submit(f"before-{number}")
        task = factories.taken(ClaimOptions(world.me.id))
        world.seen.calls[task.id] += 1
        invocations.complete(task, replace(factories.GOOD, cost=COST), ClaimOptions(world.me.id, take_next=False))
    return world


def scheduled() -> World:
    """A budget for exactly two calls, one of them waiting; a schedule is due."""
    world = _base("scheduled", tokens=2 * HELD)
    world.submit("before-0")
    return replace(world, appointment=Appointment.make(world.customer, world.tool))


def expiring() -> World:
    """A budget for two calls, and a grant for two more that has just expired; one call is open from before."""
    world = _base("expiring", tokens=2 * HELD)
    granted = appointments.granted_for_a_day(world.customer, 2 * HELD, world.admin)
    world.submit("before-0")
    appointments.is_over(granted)
    return replace(world, expiring_grant=granted)


def streamed() -> World:
    """Three answers to be shown while they are made, on a budget for exactly four: a worker has one in hand, another
    has died after the first piece of its one was read, and one waits.
    """
    world = _base("streamed", tokens=4 * HELD, **streams.TOOL)
    world.streams = Streams()
    for number in range(3):
        world.submit(f"before-{number}")
    world.task = factories.taken(ClaimOptions(world.me.id))
    dead = factories.worker()
    begun = factories.taken(dead)
    world.seen.calls[begun.id] += 1
    streams.begin(begun, world.streams, dead.worker)
    return world


def timed() -> World:
    """A budget for exactly five calls, two at once; of four, one must not start yet, and two must not any more."""
    world = _base("timed", tokens=5 * HELD, at_once=2)
    deadlines.put(world)
    return replace(world, part=Deadlines())


def quoted() -> World:
    """A budget for exactly four calls, one of them waiting; there are quotes of the tool."""
    world = _base("quoted", tokens=4 * HELD)
    world.submit("before-0")
    world.part = Quotes(world.customer, world.tool.slug)
    world.part.again()
    tools.numbered(world.tool.id, world.tool.current.version)  # remembered by this process for good: it has been asked
    return world


def summed() -> World:
    """A budget for exactly five calls, two of which have ended; and old months of usage."""
    world = _base("summed", tokens=5 * HELD)
    world.part = sums.put(world, COST)
    return world


STATES: dict[str, Build] = {
    "people": people,
    "hooks": hooks,
    "exact": exact,
    "moved": moved,
    "in-hand": in_hand,
    "two-in-hand": two_in_hand,
    "once": once,
    "once-in-hand": once_in_hand,
    "foreign": foreign,
    "keyed": keyed,
    "scheduled": scheduled,
    "expiring": expiring,
    "streamed": streamed,
    "timed": timed,
    "quoted": quoted,
    "summed": summed,
}
#: What is done before the rows of a state are put back, beside what is done in all.
FIRST = {"summed": sums.MONTHS}


_AGE = """
for _, key in ipairs(redis.call('keys', '*')) do
  local left = redis.call('pttl', key)
  if left > 0 then redis.call('pexpire', key, math.max(1, left - ARGV[1])) end
end
"""


class StateStore:
    """Keeps start states, and puts one back: rows, sequences, Redis. On connections that no seam sees."""

    def __init__(self, database_url: str, redis_url: str) -> None:
        self.connection = psycopg.connect(database_url, autocommit=True)
        self.connection.execute("set session_replication_role = replica")  # past triggers and foreign keys
        self.blocker = psycopg.connect(database_url)
        self.redis = redis_py.Redis.from_url(redis_url)
        self._age = self.redis.register_script(_AGE)
        self._batches: dict[str, bytes] = {}
        self._keys: dict[str, list[tuple[bytes, int, bytes]]] = {}
        self._worlds: dict[str, World] = {}
        self._tables = self._query(
            "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')"
            " and not relispartition and relname <> 'alembic_version' order by 1"
        )
        self.ends = Ends(self.connection, self.redis, self._tables)

    def forget_months(self) -> None:
        """No partitions but those of the migrations, for the tests that come after these."""
        self.connection.execute(sums.WITHOUT_MONTHS)

    def close(self) -> None:
        self.connection.close()
        self.blocker.close()
        self.redis.close()

    def _query(self, query: str) -> list[str]:
        return [str(row[0]) for row in self.connection.execute(query.encode())]

    def empty(self) -> None:
        """Rows and Redis as the migrations left them."""
        steps: list[sql.Composable] = []
        seeds = self._query("select relname from pg_class where relnamespace = 'seed'::regnamespace and relkind = 'r'")
        for table in map(sql.Identifier, self._tables):
            steps.append(sql.SQL("delete from {}").format(table))
        for table in map(sql.Identifier, seeds):
            steps.append(sql.SQL("insert into {0} select * from seed.{0}").format(table))
        self.connection.execute(sql.SQL("; ").join(steps))
        self.redis.flushall()

    def knows(self, name: str) -> bool:
        return name in self._worlds

    def build(self, name: str) -> None:
        """Make a start state on an empty database, and remember it, with what its makers' process remembers."""
        world = STATES[name]()
        world.memory = memory.current()
        self._worlds[name] = world
        self._remember(name)
        self.ends.begin(name)

    def _remember(self, name: str) -> None:
        schema = sql.Identifier(f"start_{name.replace('-', '_')}")
        self.connection.execute(sql.SQL("drop schema if exists {0} cascade; create schema {0}").format(schema))
        steps: list[sql.Composable] = [sql.SQL(FIRST.get(name, "null"))]
        steps += [sql.SQL("delete from {}").format(sql.Identifier(table)) for table in self._tables]
        for table in self._tables:
            named = sql.Identifier(table)
            if not self.connection.execute(sql.SQL("select 1 from {} limit 1").format(named)).fetchone():
                continue
            self.connection.execute(sql.SQL("create table {}.{} as table {}").format(schema, named, named))
            columns = sql.SQL(", ").join(map(sql.Identifier, self._columns(table)))
            copy = "insert into {0} ({1}) overriding system value select {1} from {2}.{0}"
            steps.append(sql.SQL(copy).format(named, columns, schema))
        steps.append(sql.SQL("update processes set heartbeat_at = now(), suspect_at = null"))
        steps.append(sql.SQL(appointments.DUE))
        for sequence, value in self.connection.execute(
            "select sequencename, last_value from pg_sequences where schemaname = 'public' and last_value is not null"
        ).fetchall():
            steps.append(sql.SQL("perform setval({}, {})").format(sql.Literal(sequence), sql.Literal(value)))
        # A function: its statements are planned once.
        body = sql.SQL("begin {}; end").format(sql.SQL("; ").join(steps)).as_string(self.connection)
        function = sql.SQL("create function {}.put_back() returns void language plpgsql as {}")
        self.connection.execute(function.format(schema, sql.Literal(body)))
        self._batches[name] = sql.SQL("select {}.put_back()").format(schema).as_bytes(self.connection)
        self._keys[name] = [
            (bytes(key), max(0, int(self.redis.pttl(key))), bytes(self.redis.dump(key) or b""))
            for key in map(_bytes, self.redis.keys("*"))
        ]

    def _columns(self, table: str) -> list[str]:
        rows = self.connection.execute(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
            " and attgenerated = ''",
            (table,),
        )
        return [str(row[0]) for row in rows]

    def restore(self, name: str) -> World:
        """Everything as it was when the state was built, and nothing seen yet but by those who made it."""
        self.connection.execute(self._batches[name])
        with self.redis.pipeline(transaction=False) as pipeline:
            pipeline.flushall()
            for key, ttl, value in self._keys[name]:
                pipeline.restore(key, ttl, value)
            pipeline.execute()
        world = self._worlds[name]
        told = [told for told in world.seen.told if told.request.startswith("before-")]
        seen = Seen(told=told, calls=Counter(world.seen.calls))
        person, receiver = world.person, world.receiver
        return replace(
            world,
            seen=seen,
            person=person.again() if person else None,
            receiver=receiver.again() if receiver else None,
            streams=world.streams.again(self.redis) if world.streams else None,
            part=world.part.again() if world.part else None,
        )

    def age(self, seconds: float) -> None:
        """So much time has passed for keys that expire."""
        self._age(args=[int(1000 * seconds)])

    def requests(self) -> set[str]:
        """The requests that have a row."""
        return {str(row[0]) for row in self.connection.execute("select metadata->>'request' from invocations")}

    def dismiss(self, pids: set[int]) -> None:
        """End what the dead have left on the server."""
        query = """select pg_terminate_backend(pid) from pg_stat_activity
                    where pid = any(%s) and state <> 'idle' and pid <> pg_backend_pid()"""
        self.connection.execute(query, (list(pids),))


def _bytes(key: Any) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode()
