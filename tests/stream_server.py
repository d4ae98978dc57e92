"""The server at `STREAM_URL`, where it is not the one of everything else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.invocations import streams
from dev.servers import Redis
from web.http import output_waiting
from web.http.output_waiting import OutputReaders


@contextmanager
def stream_server(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    """This process keeps its logs in a Redis of their own inside the block."""
    server = Redis(directory)
    server.start()
    server.wait()
    streams.connect(server.url(), shared=False)
    monkeypatch.setattr(output_waiting, "readers", OutputReaders())
    yield server
    streams.connect("", shared=True)
    server.stop()
