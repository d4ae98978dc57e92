"""Files of metrics are folded: nothing is lost, nothing is counted twice, wherever a fold is interrupted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from common.kit import metric_files
from tests.conftest import ROOT

ENDED = range(4_194_305, 4_194_309)  # beyond what Linux gives to a process


def count(directory: Path, pid: int, value: float) -> None:
    """What a process of that number has counted."""
    counted = {
        "counter": mmap_key("joyfull_x", "joyfull_x_total", ["tool"], ["a"], "X"),
        "histogram": mmap_key("joyfull_y", "joyfull_y_bucket", ["le"], ["1.0"], "Y"),
        "gauge_livesum": mmap_key("joyfull_z", "joyfull_z", [], [], "Z"),
        "gauge_all": mmap_key("flower_z", "flower_z", [], [], "Z"),
    }
    for kind, key in counted.items():
        file = MmapedDict(str(directory / f"{kind}_{pid}.db"))  # type: ignore[no-untyped-call]
        file.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
        file.close()  # type: ignore[no-untyped-call]


def told(directory: Path) -> dict[str, float]:
    def scrape() -> str:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]
        return generate_latest(registry).decode()

    lines = metric_files.read(directory, scrape).splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def sums(directory: Path) -> tuple[float, float, float]:
    shown = told(directory)
    return (
        shown['joyfull_x_total{tool="a"}'],
        shown['joyfull_y_bucket{le="1.0"}'],
        shown.get("joyfull_z", 0.0),
    )


def test_of_ended_processes_one_file_of_each_kind_is_left(tmp_path: Path) -> None:
    count(tmp_path, os.getpid(), 1)
    for pid in ENDED:
        count(tmp_path, pid, 10)
        assert metric_files.fold(tmp_path) == 4
        assert metric_files.fold(tmp_path) == 0
    assert sums(tmp_path) == (41, 41, 1)
    names = {file.name for file in tmp_path.glob("*.db*")}
    mine = {f"{kind}_{os.getpid()}.db" for kind in ("counter", "histogram", "gauge_livesum", "gauge_all")}
    assert names == mine | {"counter_0.db", "histogram_0.db"}


@pytest.mark.parametrize("steps", range(12))
def test_a_fold_that_is_killed_is_finished_by_whoever_comes_next(
    tmp_path: Path, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before each change of the directory in turn."""
    for pid in ENDED:
        count(tmp_path, pid, 10)
        if pid == ENDED[0]:
            metric_files.fold(tmp_path)
    left = iter(range(steps))

    class Killed(BaseException):
        pass

    def change(name: str, patched: pytest.MonkeyPatch) -> None:
        real = getattr(os, name)

        def doing(*words: object, **options: object) -> object:
            if next(left, None) is None:
                raise Killed
            return real(*words, **options)

        patched.setattr(os, name, doing)

    with monkeypatch.context() as patched:
        for name in ("replace", "unlink", "rename"):
            change(name, patched)
        with pytest.raises(Killed):
            metric_files.fold(tmp_path)
    assert sums(tmp_path)[:2] == (40, 40)
    metric_files.fold(tmp_path)
    assert sums(tmp_path)[:2] == (40, 40)
    assert len(list(tmp_path.glob("*.db"))) == 2
    assert not (tmp_path / metric_files.PLAN).exists()


def test_who_reads_is_not_disturbed(tmp_path: Path) -> None:
    count(tmp_path, ENDED[0], 1)
    assert metric_files.read(tmp_path, lambda: metric_files.fold(tmp_path)) == 0
    assert metric_files.fold(tmp_path) == 4


def test_a_plan_names_what_goes(tmp_path: Path) -> None:
    """Also one that somebody else has written down."""
    count(tmp_path, ENDED[0], 1)
    (tmp_path / metric_files.PLAN).write_text(json.dumps({"made": [], "gone": [f"counter_{ENDED[0]}.db"]}))
    assert "joyfull_x_total" not in told(tmp_path)


def test_health_checks_of_a_container_do_not_fill_its_disk(tmp_path: Path) -> None:
    """One every 15 seconds, each a process of its own; nobody may be scraping."""
    nowhere = {"DATABASE_URL": "postgresql:///joyfull?host=/nonexistent", "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **nowhere}
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-m", "worker.health"], cwd=tmp_path, env=environ, check=False, timeout=60
        )
        assert done.returncode == 1
    written = {file.stem.rpartition("_")[2] for file in tmp_path.glob("*.db")}
    assert len(written - {metric_files.FOLDED}) == 1
