"""Faults that strike in a moment, for whoever draws one or two of them at random."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from random import Random

from tools.faults.world import World

Strike = tuple[str, Callable[[], object]]
#: Where a process may be killed, frozen for a moment, or made to sleep.
POINTS = (
    "web.before_commit",
    "web.after_commit",
    "worker.after_claim",
    "worker.before_send",
    "worker.response_read",
    "worker.after_commit",
    "hook.after_2xx",
    "reaper.after_select",
)


def choices(world: World, nemesis: Random) -> list[Strike]:
    """Each is over when it returns, or strikes by itself when a process comes to its point."""
    whole: list[Strike] = [
        *((f"SIGKILL {name}", world.children[name].kill) for name in ("invocations-1", "invocations-2")),
        *((f"SIGKILL {name}", world.children[name].kill) for name in ("webhooks-1", "sweeps-1")),
        ("SIGKILL a web process", lambda: _kill_web(world, nemesis)),
        ("FLUSHALL gate", lambda: world.gate().flushall()),
        ("FLUSHALL broker", lambda: world.broker_client().flushall()),
        ("restart the gate empty", lambda: world.restart(world.redis)),
        ("restart the broker empty", lambda: world.restart(world.broker)),
        ("SIGKILL at rebuild.after_read", lambda: (world.arm("rebuild.after_read"), world.gate().flushall())),
        ("PostgreSQL crashes", world.crash_postgres),
        ("SIGSTOP the gate for 5 s", lambda: _pause(world)),
        ("SIGTERM invocations-1", lambda: world.children["invocations-1"].signal(signal.SIGTERM)),
    ]
    return [*whole, *(_at(world, point, action) for point in POINTS for action in ("kill9", "stop:4"))]


def pair(world: World, nemesis: Random) -> str:
    """Two different ones at once. Returns which."""
    first, second = nemesis.sample(choices(world, nemesis), 2)
    for _, act in sorted((first, second), key=_armed_first):
        with contextlib.suppress(Exception):  # whatever is just being restarted cannot be broken once more
            act()
        world.sleep(nemesis.uniform(0, 0.4))
    return f"{first[0]} + {second[0]}"


def _armed_first(strike: Strike) -> bool:
    return " at " not in strike[0]


def _at(world: World, point: str, action: str) -> Strike:
    words = {"kill9": "SIGKILL", "stop:4": "SIGSTOP for 4 s"}
    return f"{words[action]} at {point}", lambda: world.arm(point, action)


def _kill_web(world: World, nemesis: Random) -> None:
    if workers := world.web_workers():
        os.kill(nemesis.choice(workers), signal.SIGKILL)


def _pause(world: World) -> None:
    world.freeze(world.redis)
    world.sleep(5)
    world.thaw(world.redis)
