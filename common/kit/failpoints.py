"""Failpoints: named places in the code where tests make a process die, freeze or fail.

`FAILPOINTS=worker.after_claim:kill9,web.before_commit:sleep:0.5@0.1,seed=7` sets an action for a point, with an
optional probability (default 1). Actions: `kill9`, `term`, `stop:<s>` (SIGSTOP, then SIGCONT after that many seconds),
`sleep:<s>`, `raise`. Random draws are determined by the seed, the point and how often this process has reached it.

`dir=<path>` arms points while processes run: a process that reaches `a.point` and finds the file `<path>/a.point`
removes the file and performs the action in it. One file thus causes one event, in the first process to arrive.

`calling` lets a test run a function of its own at a point, in its own process.

Without the setting, a point costs one comparison. Production refuses the setting, here and in `common.settings`.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from common.kit import log

logger = log.get(__name__)

POINTS: Final = (
    "web.before_call",
    "web.before_commit",
    "web.after_commit",
    "web.after_publish",
    "place.before_slot",
    "place.after_slot",
    "change.checked",
    "cancel.before_queued",
    "cancel.before_running",
    "breaker.after_look",
    "worker.received",
    "worker.after_claim",
    "worker.before_send",
    "worker.response_read",
    "worker.after_commit",
    "worker.after_settle",
    "worker.after_ack",
    "stream.first_part",
    "stream.mid",
    "stream.done_unread",
    "stream.before_end",
    "hook.before_send",
    "hook.after_2xx",
    "reaper.after_select",
    "rebuild.after_read",
    "refresh.after_consume",
    "schedule.before_submit",
    "schedule.after_submit",
    "schedule.before_giving_up",
)
_SIGNALS: Final = {"kill9": signal.SIGKILL, "term": signal.SIGTERM}
_TIMED: Final = ("stop", "sleep")


class Injected(Exception):
    """Raised by the action `raise`."""


@dataclass(frozen=True, slots=True)
class Action:
    """What to do at a point; `seconds` applies to `stop` and `sleep` only."""

    verb: str
    seconds: float = 0.0
    probability: float = 1.0


@dataclass(slots=True)
class _Plan:
    actions: dict[str, Action]
    seed: str = "0"
    armed: Path | None = None
    calls: dict[str, Callable[[], object]] = field(default_factory=dict)


class _FailpointsState:
    plan: _Plan | None = None


_reached: Counter[str] = Counter()


def configure(spec: str, *, production: bool = False) -> None:
    """Enable failpoints ("" disables all). Raises `ValueError` for an invalid specification, and in production."""
    if spec and production:
        raise ValueError("failpoints must not be enabled in production")
    _reached.clear()
    _FailpointsState.plan = _parse(spec) if spec else None


@contextmanager
def calling(point: str, function: Callable[[], object]) -> Iterator[None]:
    """Inside the block, this process calls `function` whenever it reaches `point`, in the thread that reaches it.

    What the function raises is raised there. Raises `ValueError` for a point that does not exist.
    """
    if point not in POINTS:
        raise ValueError(f"no such failpoint: {point}")
    before = _FailpointsState.plan
    plan = before or _Plan({})
    _FailpointsState.plan = replace(plan, calls={**plan.calls, point: function})
    try:
        yield
    finally:
        _FailpointsState.plan = before


def at(point: str) -> None:
    """Mark `point` and perform its action, if there is one. Raises `Injected` for the action `raise`."""
    if _FailpointsState.plan is not None:
        _reach(_FailpointsState.plan, point)


def _parse(spec: str) -> _Plan:
    plan = _Plan({})
    for entry in filter(None, map(str.strip, spec.split(","))):
        name, separator, value = entry.partition("=")
        if separator and name == "seed":
            plan.seed = value
        elif separator and name == "dir":
            plan.armed = Path(value)
        else:
            point, _, action = entry.partition(":")
            if point not in POINTS:
                raise ValueError(f"no such failpoint: {point}")
            plan.actions[point] = parse_action(action)
    return plan


def parse_action(text: str) -> Action:
    """`verb[:seconds][@probability]`. Raises `ValueError`."""
    what, _, chance = text.partition("@")
    verb, _, seconds = what.partition(":")
    if verb not in (*_SIGNALS, *_TIMED, "raise") or bool(seconds) != (verb in _TIMED):
        raise ValueError(f"no such action: {text!r}")
    action = Action(verb, float(seconds or 0), float(chance or 1))
    if not (0 <= action.probability <= 1 and action.seconds >= 0):
        raise ValueError(f"no such action: {text!r}")
    return action


def _reach(plan: _Plan, point: str) -> None:
    if (action := plan.actions.get(point)) and _drawn(plan.seed, point) < action.probability:
        _do(action)
    if function := plan.calls.get(point):
        function()
    if plan.armed is not None and (action := _fetch(plan.armed / point)):
        _do(action)


def _drawn(seed: str, point: str) -> float:
    """A number in [0, 1) determined by the seed, the point, and how often it was reached."""
    _reached[point] += 1
    digest = hashlib.sha256(f"{seed} {point} {_reached[point]}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def _fetch(file: Path) -> Action | None:
    """Claim the file by renaming it, and read the action in it; None if there is none or another process was first."""
    mine = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.rename(mine)
    except OSError:
        return None
    return parse_action(mine.read_text(encoding="utf-8").strip())


def _do(action: Action) -> None:
    logger.warning("failpoint", action=action.verb, seconds=action.seconds, pid=os.getpid())
    if action.verb == "raise":
        raise Injected
    if action.verb == "sleep":
        time.sleep(action.seconds)
    elif action.verb == "stop":
        wake = f"sleep {action.seconds}; kill -CONT {os.getpid()}"
        subprocess.Popen(["/bin/sh", "-c", wake], start_new_session=True)  # noqa: S603 - numbers of our own
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        os.kill(os.getpid(), _SIGNALS[action.verb])
        time.sleep(0.05 if action.verb == "term" else 10.0)
