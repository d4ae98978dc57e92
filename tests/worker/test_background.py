"""What a heartbeat hands over: one piece at a time, and whatever becomes of it the next one is done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from common.kit import db as database
from tests.worker.test_batches import eventually
from worker import watchdog
from worker.background import Background
from worker.heartbeat import WorkerProcess
from worker.watchdog import Watchdog

PATIENCE = 30


@contextmanager
def busy(background: Background) -> Iterator[None]:
    """It is at something."""
    begun, over = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        over.wait(PATIENCE)

    assert background.begin(hang)
    assert begun.wait(PATIENCE)
    yield
    over.set()
    eventually(lambda: background.seconds == 0)


def test_who_hands_over_never_waits_and_one_piece_is_done_at_a_time(db: None) -> None:
    background, done = Background("test"), list[int]()
    with busy(background):
        assert background.seconds > 0
        assert not background.begin(lambda: done.append(1))
    assert background.begin(lambda: 1 // 0)
    eventually(lambda: background.begin(lambda: done.append(2)))
    eventually(lambda: done == [2])
    background.end(PATIENCE)


def test_a_thread_that_cannot_be_started_is_started_another_time(db: None) -> None:
    background, done = Background("test"), list[int]()
    before = threading.stack_size(1 << 46)
    try:
        with pytest.raises(RuntimeError):
            background.begin(lambda: done.append(1))
    finally:
        threading.stack_size(before)
    assert background.seconds == 0
    background.end(PATIENCE)
    assert background.begin(lambda: done.append(2))
    eventually(lambda: done == [2])
    background.end(PATIENCE)


def test_it_has_connections_of_its_own(db: None) -> None:
    """The pool may be exhausted by calls that wait."""
    background, engines = Background("test"), [database.engine()]
    background.begin(lambda: engines.append(database.engine()))
    eventually(lambda: len(engines) == 2)
    assert engines[0] is not engines[1]
    background.end(PATIENCE)


def test_what_hangs_keeps_no_process(db: None) -> None:
    background = Background("test")
    with busy(background):
        background.end(0)
        assert [thread.daemon for thread in threading.enumerate() if thread.name == "test"] == [True]


def test_a_sweep_that_hangs_is_noticed(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    me, sent = WorkerProcess(), list[signal.Signals]()
    dog = Watchdog(me, sent.append)
    with busy(me.background):
        dog.check()
        assert sent == []
        monkeypatch.setattr(watchdog, "SWEEP_SECONDS", 0.0)
        dog.check()
    assert (sent, dog.reason) == ([signal.SIGTERM], "stuck")
    me.background.end(PATIENCE)
