"""`python -m tests.clients.dying URL JOURNAL TOOL COUNT`, the key in JOYFULL_API_KEY: submits killed at every step.

For each name a child process is forked that dies by SIGKILL before or after its first, second, … step, or somewhere in
the middle of its request; then another one that dies a step later; until one gets to the end. Prints how many died.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
from pathlib import Path

from joyfull import Client
from joyfull.drivers import SyncDriver
from joyfull.exchange import Instruction, Request

#: Places to die at: before and after each of the three steps (journal, request, journal), and in the request.
PLACES = 7
IN_THE_REQUEST = PLACES - 1


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Dying(SyncDriver):
    """Carries out instructions, up to a place."""

    place = PLACES
    reached = 0

    def _carry_out(self, instruction: Instruction, streams: list[object]) -> object:
        self._pass()
        if isinstance(instruction, Request) and self.place == IN_THE_REQUEST:
            threading.Timer(secrets.randbelow(20) / 1000, die).start()
        answer = super()._carry_out(instruction, streams)
        self._pass()
        return answer

    def _pass(self) -> None:
        if self.reached == self.place:
            die()
        self.reached += 1


def attempt(client: Client, tool: str, number: int, place: int) -> None:
    """In the child: one submit."""
    with client:
        given = client._driver
        client._driver = Dying(given.context, given.credentials, given.transport)
        client._driver.place = place
        client.submit(tool, {"text": "abc"}, name=f"order-{number}", metadata={"number": str(number)})
        if place == IN_THE_REQUEST:
            signal.pause()  # the timer is on its way


def main() -> int:
    """Run them all."""
    url, journal, tool, count = sys.argv[1:]
    died = 0
    client = Client(
        base_url=url, journal=Path(journal)
    )  # has no connection before it is used: each child makes its own
    for number in range(int(count)):
        for place in (IN_THE_REQUEST, *range(IN_THE_REQUEST), PLACES):
            child = os.fork()
            if child == 0:
                attempt(client, tool, number, place)
                os._exit(0)
            died += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    print(died)
    return 0


if __name__ == "__main__":
    sys.exit(main())
