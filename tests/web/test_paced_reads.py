"""Large reads are paced by what was read, whatever is sent of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from common import invocations
from common.invocations import Completion
from common.settings import Settings
from tests import factories
from web.app import create_app
from web.http import large_reads

LARGE = "a" * 2 * large_reads.SMALL_BYTES


@pytest.fixture
def http(db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """An application in which a large read of 100 kB has to be followed by a pause of a minute."""
    monkeypatch.setattr(large_reads, "BYTES_PER_SECOND", 1_000)
    return create_app(settings).test_client()


def finished(customer: factories.Customer, output: object) -> str:
    """The id of an invocation that has ended."""
    made, me = customer.submit(factories.tool()), replace(factories.worker(), take_next=False)
    done = Completion("succeeded", output, 1, http_status=200, duration_ms=1)
    invocations.complete(factories.taken(me), done, me)
    return str(made)


def test_the_first_receipt_is_a_read_of_the_output(http: FlaskClient) -> None:
    alice, bob = (factories.keyed(factories.customer(), 1_000_000) for _ in range(2))
    large, small = finished(alice, LARGE), finished(alice, 1)

    def status(id_: str, customer: factories.Customer = alice) -> int:
        return http.get(f"/api/v1/invocations/{id_}/receipt", headers={"X-API-Key": customer.key}).status_code

    assert [status(small), status(large), status(large)] == [200, 200, 429]
    assert status(finished(bob, 1), bob) == 200
