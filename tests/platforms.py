"""Platforms of a test's own, beside the one that tests share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from common.settings import load
from dev import platform as parts
from dev.platform import Platform
from dev.ports import free_port
from dev.supervisor import Part, Supervisor
from tests.conftest import ROOT


@contextmanager
def running(environ: Mapping[str, str], logs: Path, *workers: Part) -> Iterator[Platform]:
    """One web process and these workers inside the block, on a port of their own; their logs are printed at the end."""
    env = {**environ, "PORT": str(free_port())}
    hub = Platform(load(env), env, Supervisor(env, logs, ROOT), passwords={}, tools_port=0)
    hub.supervisor.start(parts.web(hub.settings), *workers)
    try:
        hub.supervisor.wait_for(lambda: parts.serving(f"{hub.url}/ready"), "web")
        yield hub
    finally:
        hub.supervisor.stop()
        for log in sorted(logs.glob("*.log")):
            print(f"== {log.name}", log.read_text(errors="replace")[-8000:], sep="\n")
