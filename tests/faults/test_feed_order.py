"""Found by the fault run: around 1,000 transactions some events came twice in the feed, and some could be skipped."""

from __future__ import annotations

import psycopg

from common import webhooks
from common.kit.clock import uuid7
from common.kit.paging import Window
from common.settings import Settings
from tests import factories


def test_the_feed_follows_numbers_of_transactions_and_not_their_digits(db: None, settings: Settings) -> None:
    user = factories.user().user_id
    ids = [uuid7() for _ in range(4)]
    with psycopg.connect(settings.database_url) as connection:
        for event_id, xid in zip(ids, (8, 9, 10, 11), strict=True):  # the first transactions of any cluster: long over
            connection.execute(
                "insert into events (id, user_id, type, data, xid) values (%s, %s, 'budget.threshold', '{}', %s::xid8)",
                (event_id, user, str(xid)),
            )
    seen, cursor = [], None
    for _ in range(5):
        page = webhooks.feed(user, Window(2, cursor))
        seen += [event.id for event in page.items]
        cursor = page.next
    assert seen == ids
