"""The tool in a process of its own, which can be killed: the kernel closes its connections, wherever it was.

`python -m tests.outside.tool_process LOG` prints its URL, lets streams go on at each line that it reads, and ends when
there are no more.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

from tests.outside.tool import Tool

ROOT = Path(__file__).resolve().parents[2]
Logged: TypeAlias = list[tuple[str, str]]


class ToolProcess:
    """A tool that misbehaves on demand, for the length of a `with` block. `log`: the file of its calls."""

    def __init__(self, log: Path) -> None:
        command, pipe = [sys.executable, "-m", "tests.outside.tool_process", str(log)], subprocess.PIPE
        self._child = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        self._log = log
        assert self._child.stdout is not None
        self.url = self._child.stdout.readline().strip()

    def __enter__(self) -> ToolProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.communicate(timeout=30)

    def kill(self) -> None:
        """Returns when it is dead; once more is nothing more."""
        self._child.kill()
        assert self._child.wait(30) == -signal.SIGKILL

    def logged(self) -> Logged:
        """What happened to calls (`start`, `end`), each with the Idempotency-Key. Outlives the process."""
        lines = map(json.loads, self._log.read_text(encoding="utf-8").splitlines())
        return [(line["what"], line["key"]) for line in lines]


def main(log: str) -> None:
    with Tool(Path(log)) as tool:
        print(tool.url, flush=True)
        for _ in sys.stdin:
            tool.let_go()


if __name__ == "__main__":
    main(sys.argv[1])
