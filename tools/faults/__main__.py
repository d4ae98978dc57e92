"""`make faults`, `make faults ONLY=F03,F37`; `make soak`. Exit 1 on any violation.

`python -m tools.faults suite` runs only the tests that the table names.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev import supervisor
from tools.faults import (
    report,
    rows_hosts,
    rows_outside,
    rows_points,
    rows_servers,
    rows_standby,
    rows_together,
    rows_web,
    rows_workers,
    run,
    soak,
)
from tools.faults.checks import Result
from tools.faults.rows import ROWS, Row
from tools.faults.shown import SHOWN
from tools.faults.world import ROOT, World, disks

PAGE = ROOT / "docs" / "faults.md"
RESULTS = Path(__file__).parent / "results.json"
PICTURE = ROOT / "docs" / "faults.svg"
ACCOUNTS = 6
#: Importing them fills the matrix, in this order.
MODULES = (rows_workers, rows_web, rows_servers, rows_outside, rows_points, rows_together, rows_hosts, rows_standby)


def main() -> int:
    arguments = _arguments()
    supervisor.raise_on_signals()
    seed = arguments.seed if arguments.seed is not None else secrets.randbelow(1_000_000)
    if arguments.what == "suite":
        passed, said = run.tests(list(SHOWN), _tell)
        report.write(PAGE, RESULTS, [], said, _known())
        return 0 if passed else 1
    print(f"seed {seed}", flush=True)
    with _world(seed, arguments.keep) as (world, has_disks):
        if arguments.what == "soak":
            return soak.main(world, minutes=arguments.minutes, invocations=arguments.invocations, rate=arguments.rate)
        return _faults(world, has_disks, _wanted(arguments.only), arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools.faults")
    parser.add_argument("what", choices=("faults", "soak", "suite"))
    parser.add_argument("--only", default="", help="F03,F37: these rows alone; the page is left as it is")
    parser.add_argument("--write", action="store_true", help="with --only: put these rows into the page all the same")
    parser.add_argument("--draw", action="store_true", help="with --only: draw the picture all the same")
    parser.add_argument("--times", type=int, default=1, help="each row so often, in a row")
    parser.add_argument("--part", default="1/1", help="2/3: the second third of the rows, beside two others that run")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--keep", type=Path, help="keep logs and histories there")
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("SOAK_MINUTES") or 60))
    parser.add_argument("--invocations", type=int, help="soak until so many were accepted, instead of by time")
    parser.add_argument("--rate", type=float, default=15.0)
    return parser.parse_args()


def _wanted(only: str) -> set[str]:
    return {each.strip().upper() for each in only.split(",") if each.strip()}


@contextmanager
def _world(seed: int, keep: Path | None) -> Iterator[tuple[World, bool]]:
    directory = Path(tempfile.mkdtemp(prefix="joyfull-faults-"))
    with disks(directory) as has_disks:
        world = World(directory, seed)
        try:
            world.start(ACCOUNTS, _tell)
            yield world, has_disks
        finally:
            world.stop()
            if keep is not None:
                _keep(world, keep)


def _keep(world: World, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for file in (*world.logs.glob("*.log"), *world.directory.glob("*.jsonl")):
        (place / file.name).write_bytes(file.read_bytes())


def _faults(world: World, has_disks: bool, wanted: set[str], arguments: argparse.Namespace) -> int:
    world.feed()
    began = time.monotonic()
    results: list[Result] = []
    part, parts = map(int, arguments.part.split("/"))
    for row in [row for row in ROWS if not wanted or wanted & set(row.ids)][part - 1 :: parts]:
        if missing := _missing(row, has_disks):
            _tell(f"not run {'+'.join(row.ids)}: {missing}")
            continue
        results += [run.one(world, row, _tell) for _ in range(arguments.times)]
    shown = [ids for ids in SHOWN if not wanted or wanted & set(ids.split())] if part == 1 else []
    secret = soak.secrets_in_logs(world)
    suite_passed, suite = run.tests(shown, _tell)
    if not wanted or arguments.write:
        report.write(PAGE, RESULTS, results, suite if len(shown) == len(SHOWN) else None, _known())
    if (not wanted and part == 1) or arguments.draw:
        report.draw(PICTURE, world.history.accepted, _ends(world), world.spans)
    failed = [result for result in results if not result.passed]
    print(
        f"{len(results)} faults in {time.monotonic() - began:.0f} s, {len(failed)} failed; tests: {suite}", flush=True
    )
    if secret:
        print(f"I25 secrets in the logs: {secret}", flush=True)
    return 1 if failed or secret or not suite_passed else 0


def _known() -> set[str]:
    return {report.named(row.ids, row.title) for row in ROWS}


def _missing(row: Row, has_disks: bool) -> str:
    if row.needs == "disks" and not has_disks:
        return "needs the right to mount a file system that can be filled"
    if row.needs == "libfaketime" and not rows_outside.LIBFAKETIME:
        return "needs libfaketime (apt install libfaketime)"
    return ""


def _ends(world: World) -> list[float]:
    query = "select extract(epoch from finished_at) from invocations where finished_at is not null"
    return [float(at) for (at,) in world.rows(query)]


def _tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
