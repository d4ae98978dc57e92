"""Flower: nobody looks in without the password, tasks have readable names, and it remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from common.settings import load
from dev import platform as parts
from dev.platform import Platform
from dev.ports import free_port
from dev.supervisor import Supervisor
from tests.client import Client
from tests.conftest import ROOT

USER, PASSWORD = "ops", "a password of its own"


@dataclass
class Flower:
    """A Flower of our own on the platform's broker."""

    url: str
    supervisor: Supervisor

    def get(self, path: str, *, known: bool = True, method: str = "GET") -> requests.Response:
        credentials = (USER, PASSWORD) if known else None
        return requests.request(method, f"{self.url}{path}", auth=credentials, timeout=20, allow_redirects=False)

    def tasks(self) -> set[tuple[str, str]]:
        """(name, state) of every task that it has seen."""
        shown: dict[str, Any] = self.get("/api/tasks").json()
        return {(task["name"], task["state"]) for task in shown.values()}

    def call(self, invocation_id: str) -> dict[str, Any]:
        """What it shows of a call of a tool: a task of its own, under the invocation's id."""
        return dict(self.get("/api/tasks").json().get(invocation_id, {}))

    def wait(self) -> None:
        self.supervisor.wait_for(lambda: parts.serving(f"{self.url}/healthcheck"), "flower")


@pytest.fixture
def flower(hub: Platform, tmp_path: Path) -> Iterator[Flower]:
    """Its credentials are in a file, as an operator may have them: Flower itself knows nothing of such."""
    credentials = tmp_path / "credentials"
    credentials.write_text(f"{USER}:{PASSWORD}")
    given = {name: value for name, value in hub.environ.items() if name != "FLOWER_BASIC_AUTH"}
    env = {
        **given,
        "FLOWER_PORT": str(free_port()),
        "FLOWER_BASIC_AUTH_FILE": str(credentials),
        "DATA_DIR": str(tmp_path),
    }
    settings = load(env)
    supervisor = Supervisor(env, tmp_path / "log", ROOT)
    (part,) = (part for part in parts.background(settings) if part.name == "flower")
    assert PASSWORD not in " ".join(map(str, part.command)), "on a command line anybody could read it"
    supervisor.start(part)
    running = Flower(parts.local_url(settings.host, settings.flower_port), supervisor)
    try:
        running.wait()
        yield running
    finally:
        supervisor.stop()


def test_flower(flower: Flower, client: Client, offer: Callable[..., str]) -> None:
    """One story: it takes seconds to start."""
    for path in (
        "/",
        "/workers",
        "/tasks",
        "/metrics",
        "/metrics?x=1",
        "/api/tasks",
        "/api/workers",
        "/api/queues/length",
    ):
        assert flower.get(path, known=False).status_code == 401, path
    assert flower.get("/api/worker/shutdown/invocations-1@x", known=False, method="POST").status_code == 401
    assert requests.get(f"{flower.url}/api/tasks", auth=(USER, "wrong"), timeout=20).status_code == 401

    assert "flower_worker_online" in flower.get("/metrics").text
    slug = offer()
    made = client.ended(client.invoke(slug, {"text": "x"})["id"])["id"]
    bad = client.ended(client.invoke(offer("/fail?status=500"), {"text": "x"})["id"])["id"]
    done = ("invocations.run", "SUCCESS")
    flower.supervisor.wait_for(lambda: done in flower.tasks(), "the task in Flower")
    flower.supervisor.wait_for(lambda: flower.call(bad).get("state") == "FAILURE", "the bad call in Flower")
    flower.supervisor.wait_for(lambda: flower.call(made).get("state") == "SUCCESS", "the good call in Flower")
    shown = flower.call(made)
    assert (shown["name"], shown["state"], shown["result"]) == (f"tool:{slug}", "SUCCESS", "succeeded")
    assert flower.call(bad)["exception"] == "tool_failed"
    lengths = flower.get("/api/queues/length").json()["active_queues"]
    assert {queue["name"] for queue in lengths} >= {"invocations", "webhooks", "sweeps"}

    child = flower.supervisor.children["flower"]
    flower.supervisor.stop()
    flower.supervisor.start(child.part)
    flower.wait()
    assert done in flower.tasks(), "it has forgotten"
