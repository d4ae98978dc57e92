"""The command `joyfull` against a server of canned answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from joyfull.cli import app
from tests.clients.canned import Canned, serving


class Said(NamedTuple):
    status: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def canned() -> Iterator[Canned]:
    with serving() as server:
        yield server


@pytest.fixture
def run(
    canned: Canned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "xdg"))
    for name in ("NO_COLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "COLUMNS", "JOYFULL_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JOYFULL_API_KEY", "jh_test")
    monkeypatch.setenv("JOYFULL_BASE_URL", canned.url)

    def command(*arguments: str, typed: str | None = None) -> Said:
        if typed is not None:
            (tmp_path / "stdin").write_text(typed)
            monkeypatch.setattr("sys.stdin", (tmp_path / "stdin").open())
        capfd.readouterr()
        status = app.run(list(arguments))
        return Said(status, *capfd.readouterr())

    handlers = logging.getLogger("joyfull").handlers[:]
    yield command
    logging.getLogger("joyfull").handlers[:] = handlers
