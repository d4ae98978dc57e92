"""Which schedules there are: every exchange of every verb, every fault that means something there, every other verb."""

from __future__ import annotations

import random
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

from tests.explorer import appointments, deadlines, director, hooks, people, quotes, sums
from tests.explorer.director import Actor, Director, Step, VirtualClock
from tests.explorer.search import Schedule
from tests.explorer.verbs import VERBS, WITH_TASK
from tests.explorer.world import StateStore

#: What may happen to a task and to the slots of an account; what accounts and admins do is explored in `exact`.
_WORK = (
    "submit", "batch", "work", "wake", "retry", "give back", "cancel", "take over", "lost", "place", "park",
    "free orphans", "rebuild", "wipe", "plan edit",
)  # fmt: skip
_TWO = ("wake two", "submit", "work", "cancel", "cancel many", "lost", "place", "rebuild", "wipe", "free orphans")
_ONCE = ("work", "wake", "retry", "give back", "cancel", "take over", "lost", "wipe", "tool edit")
#: What the one thread that has a task may do with it: never two of these at once.
_ONE_THREAD = {"wake", "wake two", "retry", "give back", "break off"}
#: What happens to an account that has nothing else to do here.
ELSEWHERE = ("grant elsewhere",)
#: What happens to an API key and to the rows that wait for it, where there is one.
WITH_KEY = ("revoke key", "child submit", "admit")
#: What changes what a key has used, holds, or has at once; the rest of each is explored in `exact` and `in-hand`.
_KEYED = ("submit", "work", "retry", "cancel many", "rebuild", "wipe", "period end", *WITH_KEY)
_ELSE = {
    *WITH_TASK, *ELSEWHERE, *WITH_KEY, *people.VERBS, *hooks.VERBS, *appointments.VERBS, *deadlines.VERBS,
    *quotes.VERBS, *sums.VERBS,
}  # fmt: skip
#: What may be in the way of a schedule's submit, and what becomes of a grant's rest.
_SCHEDULED = (
    *appointments.WITH_SCHEDULE, "submit", "wipe", "tool edit", "tool archive", "unsubscribe", "leave", "period end",
)  # fmt: skip
_EXPIRING = (
    *appointments.WITH_EXPIRY, "submit", "work", "cancel", "take back", "upgrade", "unsubscribe", "rebuild", "wipe",
    "period end",
)  # fmt: skip
#: What a submit meets that has to take its hold twice.
_MOVED = ("submit", "submit+key", "same key", "work", "grant", "free orphans", "rebuild", "wipe")
#: What may happen between the pieces of an answer, and to what a dead worker has shown of one.
_STREAMED = ("wake", "break off", "work", "cancel", "take over", "lost", "wipe")
#: What may happen to calls while their time comes, to what a quote says, and between usage and its sums.
_TIMED = (
    *deadlines.VERBS, "submit", "work", "wake", "retry", "cancel", "cancel many", "lost", "free orphans", "rebuild",
    "wipe",
)  # fmt: skip
_QUOTED = (*quotes.VERBS, "submit", "work", "tool archive", "unsubscribe", "rebuild", "wipe")
_SUMMED = (*sums.VERBS, "work", "wake")
VERBS_OF = {
    "exact": tuple(verb for verb in VERBS if verb not in _ELSE),
    "moved": _MOVED,
    "people": (*people.VERBS, "wipe"),
    "hooks": (*hooks.VERBS, "wipe"),
    "in-hand": _WORK,
    "two-in-hand": _TWO,
    "once": _ONCE,
    "once-in-hand": _ONCE,
    "keyed": _KEYED,
    "scheduled": _SCHEDULED,
    "expiring": _EXPIRING,
    "streamed": _STREAMED,
    "timed": _TIMED,
    "quoted": _QUOTED,
    "summed": _SUMMED,
    "foreign": ("submit", "free orphans", "thresholds", "rebuild", "foreign gate", "wipe", "grant", "work", *ELSEWHERE),
}
#: Verbs of which there is one in each schedule of a state; two of the rest are explored in `exact`.
OWN = {
    "scheduled": {verb for verb in appointments.WITH_SCHEDULE if "fire" in verb},
    "expiring": set(appointments.WITH_EXPIRY),
    "timed": set(deadlines.VERBS),
    "quoted": {"quoted", "quote expired"},
    "summed": set(sums.VERBS),
}
_OF_HOOKS = (*hooks.CLOSING, "rotate secret")
#: Of long verbs, those in whose gaps only these are explored: one of each kind of change to what they read.
MET = {
    "leave": {
        "submit", "work", "cancel", "grant", "upgrade", "unsubscribe", "rebuild", "wipe", "free orphans", "lost",
        "period end",
    },
    "spend+fire": {"pay+fire", "fire after"},
    **{verb: {*sums.VERBS, "wake"} - {"roll up+retire"} for verb in ("retire", "add months")},
    **{verb: {"send", "send together", "replay", *_OF_HOOKS} for verb in _OF_HOOKS},
}  # fmt: skip
#: After a fault of which nothing is left, only these can tell it from its never having begun.
FEW = ("submit", "wipe", "grant", "rebuild", "time is up", "dearer", "work+roll up")
#: What those who come to a dead process's leavings do with them.
AFTER_DEATH = (
    "submit",
    "wipe",
    "grant",
    "upgrade",
    "free orphans",
    "work",
    "lost",
    "tool edit",
    "time is up",
    "let go",
    "dearer",
    "work+roll up",
)


#: Verbs whose own exchanges are explored under another name: alone, as `rebuild`, or as `submit`.
NOT_FIRST = {
    "wipe", "wipe+submit", "wipe+look", "foreign gate", "period end", "fire after", "fire next", "pay+fire",
    "time is up", "work+roll up", "roll up+retire",
}  # fmt: skip
#: What a verb has more of, at most, when something was in its way: the exchanges of another try.
_MORE = 8
#: What happens to the servers by itself: no process does it that could have a fault of its own.
OUTSIDE = {*NOT_FIRST}
#: Their last part is a rebuild, which is explored as such (and once more with what calls it, in `grant`).
ENDS_IN_REBUILD = {"upgrade", "take back"}
#: And these have one in them, of which its beginning and its end are explored once more.
HAS_REBUILD = {"free orphans", "grant elsewhere", "expire grants"}
#: They lock all usage: what settles before they commit would wait for it again and again.
LOCKING = {"retire", "add months"}
#: A key that comes from another submits as that one does; what is its own is that the other may be revoked. And other
#: sweeps of which each is about one thing that a sweep in hand may not know.
IN_THE_GAP_OF: dict[str, set[str]] = {
    "child submit": {"revoke key"}, "fire next": {"fire"}, "pay+fire": {"spend+fire"}, "spend+fire": set(),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """A verb's exchanges in one state when nothing disturbs it, and what they read and change, by name."""

    steps: tuple[Step, ...]

    @property
    def reads(self) -> frozenset[str]:
        return frozenset().union(*map(reads, self.steps))

    @property
    def writes(self) -> frozenset[str]:
        return frozenset().union(*map(writes, self.steps))

    @property
    def wipes(self) -> bool:
        return any(step.what == "FLUSHALL" for step in self.steps)


def reads(step: Step) -> frozenset[str]:
    """Tables, and kinds of keys in Redis, that an exchange looks at or changes."""
    return frozenset(name[2:] for name in step.touches)


def writes(step: Step) -> frozenset[str]:
    """Those that it changes, or will have changed when its transaction commits."""
    return frozenset(name[2:] for name in step.touches if step.changes or name.startswith("w:"))


def watch(store: StateStore, state: str, verb: str) -> Seen:
    """Run a verb undisturbed and note its exchanges."""
    world = store.restore(state)
    undisturbed = Director(world.call_tool)
    actor = Actor("A", lambda _: VERBS[verb](world, "A"), memory=copy(world.memory))
    with director.installed(undisturbed, VirtualClock(store.age)):
        undisturbed.start(actor)
    assert actor.error is None, f"{state}/{verb} failed undisturbed: {actor.error!r}"
    return Seen(tuple(actor.steps))


def one_stop(state: str, first: str, seen: dict[str, Seen]) -> Iterator[Schedule]:
    """All schedules in which `first` stops once and another verb runs whole in the gap."""
    if first in NOT_FIRST:
        return
    others = [verb for verb in _others(state, first) if _related(seen[first], seen[verb])]
    for number, step in _own(first, seen):
        near = [verb for verb in others if _meets(step, seen[verb])]
        for fault, verbs in (
            *_faults(step, near, others),
            *_parted(state, step, others),
            *_behind(state, step, others),
        ):
            if fault == "freeze" and first in LOCKING:
                continue
            for verb in verbs:
                yield Schedule(state, first, number, fault, verb)


def two_stops(state: str, first: str, seen: dict[str, Seen]) -> Iterator[Schedule]:
    """All in which the other stops too, after it has changed something, and ends after the first has."""
    if first in NOT_FIRST:
        return
    for number, step in _own(first, seen):
        for verb in _others(state, first):
            if not _meets(step, seen[verb]):
                continue
            for stop, before in enumerate(seen[verb].steps, 2):
                if before.changes and stop <= len(seen[verb].steps):
                    yield Schedule(state, first, number, "wait", verb, stop)
                    if step.changes and step.server != "tool":
                        yield Schedule(state, first, number, "lost", verb, stop)


def _others(state: str, first: str) -> list[str]:
    own, met = OWN.get(state, set(VERBS_OF[state])), MET.get(first, set(VERBS_OF[state]))
    return [
        verb
        for verb in VERBS_OF[state]
        if verb in met
        and first in IN_THE_GAP_OF.get(verb, {first})
        and {first, verb} & own
        and not {first, verb} <= _ONE_THREAD
    ]


def two_faults(seen: dict[str, dict[str, Seen]], seed: int, number: int) -> Iterator[Schedule]:
    """So many draws of schedules in which each of the two verbs meets a fault at one of its exchanges."""
    draw = random.Random(seed)
    while number:
        state = draw.choice(list(VERBS_OF))
        first = draw.choice([verb for verb in VERBS_OF[state] if verb not in NOT_FIRST])
        others = [verb for verb in _others(state, first) if verb not in OUTSIDE]
        if not others:
            continue
        second = draw.choice(others)
        if not seen[state][first].steps or not seen[state][second].steps:
            continue
        one, other = (draw.randrange(len(seen[state][verb].steps)) for verb in (first, second))
        faults = [_some_fault(draw, seen[state][first].steps[one]), _some_fault(draw, seen[state][second].steps[other])]
        if None not in faults:
            number -= 1
            yield Schedule(state, first, one + 1, str(faults[0]), second, other + 1, str(faults[1]))


def two_of_one(seen: dict[str, dict[str, Seen]], seed: int, number: int) -> Iterator[Schedule]:
    """So many draws in which one verb meets two faults, the second also at what it does because of the first."""
    draw = random.Random(seed)
    while number:
        state = draw.choice(list(VERBS_OF))
        first = draw.choice([verb for verb in VERBS_OF[state] if verb not in NOT_FIRST])
        steps, others = seen[state][first].steps, _others(state, first)
        if not steps or not others:
            continue
        step = draw.randrange(len(steps))
        fault = draw.choice(("wait", _some_fault(draw, steps[step]) or "wait"))
        if fault == "dies":
            continue
        number -= 1
        later = step + 2 + draw.randrange(len(steps) - step + _MORE)
        again = draw.choice(("lost", "cut", "refused", "late", "dies"))
        second = draw.choice(others)
        yield Schedule(state, first, step + 1, fault, second, again_step=later, again_fault=again)


def _some_fault(draw: random.Random, step: Step) -> str | None:
    if step.server == "tool":
        return None
    return draw.choice(["lost", "cut", "refused", "dies"] if step.changes else ["cut", "refused"])


def _own(verb: str, seen: dict[str, Seen]) -> Iterator[tuple[int, Step]]:
    """The exchanges of a verb and their numbers, without those that are explored as another verb's.

    Left out are a submit at the beginning (a batch's first item), all but the last of many cancels, what a stream is
    before it breaks off, and the rebuild in a few others.
    """
    begins, ends, said = 0, len(seen[verb].steps), [step.what for step in seen[verb].steps]
    inner = range(0)
    if verb in HAS_REBUILD and "install" in said:
        inner = range(said.index("rebuild_begin"), said.index("install") + 1)
    if verb in ("batch", "spend+fire"):
        begins = len(seen["submit"].steps)
    if verb == "cancel many":
        begins = ends - len(seen["cancel"].steps)
    if verb in ENDS_IN_REBUILD:
        ends = said.index("SET") if "SET" in said else ends
    if verb == "break off":
        begins = next(
            n for n, (own, step) in enumerate(zip(said, seen["wake"].steps, strict=False)) if own != step.what
        )
    return ((n + 1, seen[verb].steps[n]) for n in range(begins, ends) if n not in inner)


def _faults(step: Step, near: list[str], others: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The faults that mean something at an exchange, each with the verbs that can tell.

    To run before one exchange or before the next is the same for a verb that has nothing to do with what is between
    (`near`: those that have). What is done and not answered, or done late, may be met by anybody (`others`).
    """
    few = [verb for verb in others if verb in FEW]
    yield "wait", near
    if step.server == "tool":
        yield "freeze", near
        return
    yield "cut", few
    if not step.changes or step.what == "notify":
        return
    yield "freeze", near
    yield "lost", others
    yield "refused", few
    yield "dies", [verb for verb in others if verb in AFTER_DEATH]
    if step.plain or step.what == "commit":
        yield "late", near
    if step.plain and step.server == "postgresql" and "periods" in reads(step):
        yield "stuck", others


def _parted(state: str, step: Step, others: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Redis does not learn of what is committed: what was written there before, in the gap, stays."""
    if state == "people" and step.what == "commit" and step.changes:
        yield "parted", [verb for verb in others if "look" in verb]


def _behind(state: str, step: Step, others: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The end of a call is written under an older transaction than what ends and is rolled up in the gap."""
    if state == "summed" and step.plain and "usage_logs" in writes(step):
        yield "stuck", [verb for verb in others if "roll up" in verb]


def _related(one: Seen, other: Seen) -> bool:
    """Whether one of them changes what the other looks at. (A wiped Redis concerns everybody.)"""
    return other.wipes or bool(one.writes & other.reads or other.writes & one.reads)


def _meets(step: Step, other: Seen) -> bool:
    wiped = other.wipes and step.server == "redis"
    return wiped or bool(writes(step) & other.reads or reads(step) & other.writes)
