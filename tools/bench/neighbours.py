"""What each attack of one tenant does to another's calls: their p99 beside it ÷ alone, in turn.

`python -m tools.bench.neighbours` takes 25 minutes; `--pairs 1 slow-names` looks at one attack. The neighbour submits
at a steady pace to a tool that answers at once. What is measured is how long it waits for the 202, from when a request
was due, and by the database's clock how long it takes from there to the end.

Two things are measured like attacks that are none, to tell what the platform does from what the machine does: processes
that only use the CPU time left over, and ordinary calls.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from statistics import median, quantiles
from time import sleep
from typing import Final

from tools.bench import attacker, attacks, fairness, ground, load, pairs
from tools.bench.attacks import Attacker
from tools.bench.goals.answering import whole
from tools.bench.ground import Ground

RATE: Final = 40.0
SECONDS: Final = 10.0
PLAN: Final = "enterprise"
#: As such a wait counts a call that was refused, or did not succeed.
LOST_SECONDS: Final = 30.0
#: If the p99 alone is above this (milliseconds), the machine did other things too, and nothing is judged.
QUIET_MS: Final = 25.0
#: What is measured like attacks and is none.
CONTROLS: Final = ("idle-loops", "ordinary-calls")
NAMES: Final = (*attacks.ATTACKS, *CONTROLS)
#: What an attack needs until it is felt, and the platform until it has forgotten it.
SECONDS_BEFORE, SECONDS_AFTER = 2.0, 3.0

_ENDS = """
select extract(epoch from finished_at - created_at)::float8 from invocations
 where user_id = %s and created_at > %s and status = 'succeeded'
"""


@dataclass(frozen=True, slots=True)
class Waits:
    """The neighbour's p99, in milliseconds: from the request to its 202, and from there to the end. `lost`: how many of
    its calls were refused, or did not succeed.
    """

    submit: float
    end: float
    lost: int


@dataclass(slots=True)
class Found:
    """One attack's pairs, and what the attacker was answered."""

    alone: list[Waits] = field(default_factory=list)
    beside: list[Waits] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)

    def as_json(self) -> dict[str, object]:
        parts: dict[str, object] = {name: self._part(name) for name in ("submit", "end")}
        if any(max(each.submit, each.end) > QUIET_MS for each in self.alone):
            parts["not judged"] = f"the machine was busy: a p99 alone was above {QUIET_MS:.0f} ms"
        lost = {
            "lost alone": sum(each.lost for each in self.alone),
            "lost beside": sum(each.lost for each in self.beside),
        }
        return {**parts, **lost, "attacker was answered": {str(k): n for k, n in sorted(self.answers.items())}}

    def _part(self, name: str) -> dict[str, object]:
        alone, beside = ([getattr(each, name) for each in some] for some in (self.alone, self.beside))
        ratios = [b / a for a, b in zip(alone, beside, strict=True)]
        numbers = {"alone_ms": median(alone), "beside_ms": median(beside), "ratio": median(ratios)}
        return {**pairs.described(**numbers), "ratios": [round(ratio, 3) for ratio in ratios]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=", ".join(NAMES))
    parser.add_argument("--pairs", type=int, default=pairs.PAIRS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    asked = parser.parse_args()
    with platform() as here:
        me = attacks.attacker(here, here.accounts[-1])
        measured(here, asked.seconds)  # everything is known by now
        found = {
            name: compared(me, name, asked.pairs, asked.seconds)
            for name in asked.attacks or (*attacks.ATTACKS, *CONTROLS)
        }
    print(json.dumps(found, indent=1))


@contextmanager
def platform() -> Iterator[Ground]:
    """The whole platform with its own bounds, as it is when nobody sets them, and name servers that never answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        own = {"WEB_PROCESSES": "2", "MAX_CONNECTIONS_PER_ADDRESS": "1000", "MAX_STREAMS": "200"}
        with ground.prepared(OUTBOUND_DNS=f"127.0.0.1:{silent.getsockname()[1]}", **own) as here:
            assert here.app is not None
            with here.app.app_context():
                here.accounts.append(ground.account(len(here.accounts), PLAN))
            attacks.tools(here)
            whole(here)
            yield here


def compared(me: Attacker, name: str, count: int, seconds: float) -> dict[str, object]:
    """Alone and beside this attack, in turn."""
    found = Found()
    for n in range(count):
        for attacked in ((False, True), (True, False))[n % 2]:
            if attacked:
                found.beside.append(_beside(me, name, seconds, found.answers))
            else:
                found.alone.append(measured(me.here, seconds))
    described = found.as_json()
    print(name, json.dumps(described), file=sys.stderr, flush=True)
    return described


def _beside(me: Attacker, name: str, seconds: float, answers: Counter[int]) -> Waits:
    here, before = me.here, _processes(me.here)
    with _attacking(me, name) as answered:
        sleep(SECONDS_BEFORE)
        waits = measured(here, seconds)
    answers.update(answered)
    here.sql("delete from deliveries")
    fairness.drain(here, me.account)
    sleep(SECONDS_AFTER)
    if (now := _processes(here)) != before:
        raise RuntimeError(f"a process has ended: {before} are {now}")
    return waits


def _attacking(me: Attacker, name: str) -> AbstractContextManager[Counter[int]]:
    if name == "idle-loops":
        return attacker.loops(os.cpu_count() or 1)
    attack = attacks.ordinary_calls if name == "ordinary-calls" else attacks.ATTACKS[name]
    return attacker.attacking(me.here.settings.port, attack(me))


def _processes(here: Ground) -> dict[str, list[int]]:
    """Those of the platform, and what runs below the web server."""
    children = here.supervisor.children
    return {
        name: [child.pid, *(pairs.children(child.pid) if name == "web" else ())] for name, child in children.items()
    }


def measured(here: Ground, seconds: float) -> Waits:
    """The first account's calls."""
    user_id, [[began]] = here.accounts[0].user_id, here.sql("select now()")
    done = load.steady(here.settings.port, here.submits("quick")[:1], rate=RATE, seconds=seconds)
    here.supervisor.wait_for(lambda: here.sql(fairness.OPEN, user_id)[0][0] == 0, "the neighbour's calls")
    ends = [row[0] for row in here.sql(_ENDS, user_id, began)]
    refused, failed = len(done.waits) - done.statuses[202], done.statuses[202] - len(ends)
    submit, end = (_p99([*some, *[LOST_SECONDS] * lost]) for some, lost in ((done.waits, refused), (ends, failed)))
    return Waits(submit, end, refused + failed)


def _p99(seconds: list[float]) -> float:
    return 1000 * quantiles(seconds, n=100)[98]


if __name__ == "__main__":
    logging.disable(logging.INFO)
    main()
