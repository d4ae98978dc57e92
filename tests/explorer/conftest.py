"""The explorer's own connections to the private servers, and start states that are built once for each process."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import text

from common import boot
from common.budgets import watching
from common.kit import db as database
from common.kit import redis
from common.kit.db import pool
from common.kit.memory import Memory
from common.settings import Settings
from common.usage import partitions
from tests.explorer import director, spares
from tests.explorer.world import STATES, StateStore

#: Whoever waits for a lock of somebody that is stopped would wait for ever: it is told so soon instead.
LOCK_MS = 15


@pytest.fixture(scope="session")
def _store(settings: Settings, _connected: None) -> Iterator[StateStore]:
    store = StateStore(settings.database_url, settings.redis_url)
    yield store
    store.close()


@pytest.fixture
def store(db: None, _store: StateStore, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[StateStore]:
    """All start states, on a database and a Redis that belong to this test process alone."""
    monkeypatch.setattr(pool, "LOCK_TIMEOUT_MS", LOCK_MS)
    monkeypatch.setattr(partitions, "_LOCK_TIMEOUT", text(f"set local lock_timeout = {LOCK_MS}"))
    monkeypatch.setattr(watching, "LOOK_AGAIN_SECONDS", 0.0)
    boot.connect(replace(settings, log_level="CRITICAL"), process="explorer", pool_size=20)
    spares.take_over_from(database.engine())
    database.engine().connect().close()  # the first one is made under a lock, under which no actor may stop
    before = director.remember(Memory())
    for path in redis.LUA.glob("*.lua"):
        redis.client().script_load(path.read_text(encoding="utf-8"))
    for state in STATES:
        if not _store.knows(state):
            _store.empty()
            director.remember(Memory())
            _store.build(state)
    gc.collect()
    gc.disable()
    yield _store
    gc.enable()
    director.remember(before)
    spares.forget()
    _store.forget_months()
    monkeypatch.undo()  # or the connections of all later tests would have these limits
    boot.connect(settings, process="test", pool_size=20)
