"""Failpoints: nothing without the setting, never in production, and exactly what was armed otherwise."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.kit import failpoints
from common.settings import SettingsError, load


@pytest.fixture(autouse=True)
def _off() -> Iterator[None]:
    yield
    failpoints.configure("")


def test_without_the_setting_nothing_happens() -> None:
    assert [point for point in failpoints.POINTS if _raises(point)] == []


def test_production_refuses_them() -> None:
    with pytest.raises(ValueError, match="production"):
        failpoints.configure("worker.after_claim:raise", production=True)
    with pytest.raises(SettingsError, match="FAILPOINTS"):
        load({"ENV": "production", "FAILPOINTS": "worker.after_claim:raise"})


@pytest.mark.parametrize(
    "spec", ["nowhere:raise", "worker.received:explode", "worker.received:stop", "worker.received:raise@2", "x"]
)
def test_what_cannot_be_read_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="no such"):
        failpoints.configure(spec)


def test_only_the_point_that_was_named() -> None:
    failpoints.configure("worker.after_claim:raise")
    failpoints.at("worker.before_send")
    with pytest.raises(failpoints.Injected):
        failpoints.at("worker.after_claim")


def test_chances_follow_from_the_seed() -> None:
    def draws(seed: int) -> list[bool]:
        failpoints.configure(f"worker.received:raise@0.3,seed={seed}")
        return [_raises() for _ in range(300)]

    assert draws(1) == draws(1) != draws(2)
    assert 50 < sum(draws(1)) < 130


def _raises(point: str = "worker.received") -> bool:
    try:
        failpoints.at(point)
    except failpoints.Injected:
        return True
    return False


def test_an_armed_point_strikes_once(tmp_path: Path) -> None:
    failpoints.configure(f"dir={tmp_path}")
    failpoints.at("worker.received")
    (tmp_path / "worker.received").write_text("raise")
    assert [_raises() for _ in range(3)] == [True, False, False]


def test_a_function_is_called_at_its_point_and_inside_the_block_only() -> None:
    failpoints.configure("worker.after_claim:raise")
    called: list[str] = []
    with failpoints.calling("worker.received", lambda: called.append("received")):
        with failpoints.calling("worker.after_commit", lambda: called.append("commit")):
            for point in ("worker.received", "worker.after_commit", "worker.before_send"):
                failpoints.at(point)
        failpoints.at("worker.after_commit")
        assert _raises("worker.after_claim"), "what was configured holds, too"
    failpoints.at("worker.received")
    assert called == ["received", "commit"]
    with pytest.raises(ValueError, match="no such"), failpoints.calling("nowhere", called.clear):
        pass


def test_sleeping_takes_its_time() -> None:
    failpoints.configure("worker.received:sleep:0.05")
    began = time.monotonic()
    failpoints.at("worker.received")
    assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize(("action", "ends_by"), [("kill9", signal.SIGKILL), ("term", signal.SIGTERM)])
def test_signals_reach_the_process_itself(action: str, ends_by: signal.Signals) -> None:
    assert _child(action) == -ends_by


def test_a_stopped_process_goes_on() -> None:
    assert _child("stop:0.2") == 0


def _child(action: str) -> int:
    code = f"from common.kit import failpoints as f; f.configure('worker.received:{action}'); f.at('worker.received')"
    return subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode
