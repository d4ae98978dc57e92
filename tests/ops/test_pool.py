"""The gauge of database connections in use comes back to nothing, whatever happened to the server meanwhile."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from common import boot
from common.kit import db as kit
from common.settings import Settings
from tests.queue.proxy import Proxy


def in_use() -> float:
    return float(next(sample.value for metric in kit.IN_USE.collect() for sample in metric.samples))


def test_a_server_that_was_away_leaves_the_gauge_right(db: None, settings: Settings) -> None:
    """A pooled connection is found dead, and there is no other: nobody ever held one."""
    with Proxy(settings.database_url) as proxy:
        kit.connect(proxy.url, pool_size=2, application_name="joyfull-pool")
        try:
            with kit.transaction() as session:
                session.execute(text("select 1"))
                assert in_use() == 1
            proxy.cut_after(0)
            with pytest.raises(kit.Unreachable), kit.transaction() as session:
                session.execute(text("select 1"))
            assert in_use() == 0
            proxy.heal()
            with kit.transaction() as session:
                session.execute(text("select 1"))
                assert in_use() == 1
            assert in_use() == 0
        finally:
            boot.connect(settings, process="test", pool_size=20)
