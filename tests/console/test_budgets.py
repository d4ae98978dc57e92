"""What each page costs: bytes, statements and commands of Redis, counted once everything is warm."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from uuid import UUID

from flask import Flask

from common import invocations
from tests import factories
from tests.console.addresses import addresses, endpoint, pages
from tests.console.conftest import Browser, Trips
from tests.console.seeded import seed
from tests.factories import BAD, GOOD
from tests.usage.ledger import rolled_up

STATEMENTS: Final = 5
COMMANDS: Final = 3
#: docs/decisions/console-budgets.md has the reasons.
MORE_STATEMENTS: Final = {"admin_run": 6, "admin_user": 8, "keys": 6, "usage": 10}


def finish(runs: list[UUID]) -> None:
    worker = replace(factories.worker(), take_next=False)
    for _, how in zip(runs, (GOOD, BAD), strict=True):
        invocations.complete(factories.taken(worker), how, worker)


def test_every_page_stays_within_its_budgets(app: Flask, db: None, database_url: str, trips: Trips) -> None:
    data = seed("http://127.0.0.1:9", database_url, finish)
    rolled_up()
    stranger, ada = Browser(app.test_client()), Browser(app.test_client()).sign_in(data.email)
    over = []
    for rule, policy in pages(app):
        reader, most = stranger if policy == "public" else ada, MORE_STATEMENTS.get(endpoint(rule), STATEMENTS)
        for address in addresses(rule, data.there_is):
            reader.get(address)
            trips.clear()
            reader.get(address)
            if len(trips.statements) > most or len(trips.commands) > COMMANDS:
                over += [f"{address}:", *(each[:90] for each in trips.statements), *trips.commands]
    assert not over, "\n".join(over)
