"""What tests of a Redis that dies have in common: this process uses it too, and a client submits meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from common import boot
from common.operations import doctor
from common.settings import Settings, load
from tests.client import Client, eventually


@contextmanager
def connected(settings: Settings, environ: Mapping[str, str], url: str) -> Iterator[None]:
    """This process's Redis is the one at `url` inside the block, and that of all tests after it."""
    boot.connect(load({**environ, "REDIS_URL": url}), process="test", pool_size=20)
    try:
        yield
    finally:
        boot.connect(settings, process="test", pool_size=20)


def submits_are_refused_and_then_accepted(client: Client, slug: str) -> None:
    """503 with Retry-After as long as Redis is away; what is accepted afterwards succeeds."""
    path, body = f"/tools/{slug}/invoke", {"input": {"text": "after"}}
    refused = client.call("POST", path, 503, json=body)
    assert int(refused.headers["Retry-After"]) >= 1

    def accepted() -> str | None:
        answer = client.call("POST", path, (202, 503), json=body)
        return answer.json()["data"]["id"] if answer.status_code == 202 else None

    assert client.ended(eventually("submits are accepted again", 20, accepted))["status"] == "succeeded"


def failover_check(**settings: str) -> doctor.CheckResult:
    """What `doctor` says of these settings' Redis, as to its failover."""
    return next(found for found in doctor.run_checks(load(settings)) if found.name == "redis failover")
