"""One process of a host at a time."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from common.kit import host_turns
from dev.platform import ROOT
from tests.client import eventually

HOLD = f"""
import sys
from common.kit import host_turns
with host_turns.turn({__file__!r}, 60) as is_mine:
    print(is_mine, flush=True)
    sys.stdin.read()
"""


def turn(seconds: float) -> bool:
    with host_turns.turn(__file__, seconds) as is_mine:
        return is_mine


def test_who_does_not_have_the_turn_in_time_is_told_so() -> None:
    with host_turns.turn(__file__, 0) as mine, host_turns.turn(__file__, 0.05) as theirs:
        assert (mine, theirs) == (True, False)
    assert turn(0)


def test_another_file_is_another_turn() -> None:
    with host_turns.turn(__file__, 0), host_turns.turn(host_turns.__file__, 0) as is_mine:
        assert is_mine


def test_another_process_waits_and_one_that_is_killed_gives_it_away() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(turn, 60)
            assert not turn(0.1)
            assert not waiting.done()
            holder.kill()
            assert eventually("it has its turn", 20, waiting.done)
            assert waiting.result()
