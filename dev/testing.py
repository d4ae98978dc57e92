"""`make test`: the tests on bare rows, and beside them those of the running platform, which mostly wait.

`python -m dev.testing JOBS [ARGUMENT…]` passes the arguments on to both. What the second prints comes last.
With 0 jobs, one run follows the other, in the foreground (for a debugger).
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO

PYTEST = (sys.executable, "-m", "pytest")
#: pytest: no test was selected.
NONE_SELECTED = 5
#: Of their own, because a run writes down what failed when it ends, and forgets what the other has written since.
PLATFORM = ("-m", "platform", "-o", "cache_dir=.venv/pytest-platform")


def main() -> int:
    """Returns 1 if a test fails, or if pytest does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    jobs, *arguments = sys.argv[1:]
    others = (*PYTEST, "-n", jobs, "--dist", "loadgroup", "-m", "not platform", *arguments)
    platform = (*PYTEST, *PLATFORM, *arguments)
    if jobs == "0":
        statuses = [_status(others), _status(platform)]
    else:
        with TemporaryFile() as output, _running(platform, output) as beside:
            statuses = [_status(others), beside.wait()]
            output.seek(0)
            sys.stdout.buffer.write(output.read())
    return int(any(status not in {0, NONE_SELECTED} for status in statuses))


def _status(command: Sequence[str]) -> int:
    with _running(command) as process:
        return process.wait()


@contextmanager
def _running(command: Sequence[str], output: IO[bytes] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdout=output, stderr=output and subprocess.STDOUT) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()  # it cleans up


if __name__ == "__main__":
    sys.exit(main())
