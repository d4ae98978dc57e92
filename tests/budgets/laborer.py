"""Workers that die where they are told to: `python -m tests.budgets.laborer`.

Reads the name of a failpoint from each line (or `-`: live), forks a worker that works off what is due until it is
killed there, and prints its exit status. Forked, because a process that imports everything anew takes seconds.
"""

from __future__ import annotations

import os
import sys
from uuid import uuid4

from common import boot
from common.settings import load
from worker import runner
from worker.heartbeat import WorkerProcess


def labor(point: str) -> None:
    failpoints = "" if point == "-" else f"{point}:kill9"
    boot.connect(load({**os.environ, "FAILPOINTS": failpoints}), process="laborer", pool_size=4)
    me = WorkerProcess()
    me.begin(f"invocations@laborer-{uuid4()}")
    runner.work(me)
    me.end()


def main() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            labor(line.strip())
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
