"""The broker is no authority: what is not JSON is thrown away unread."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.queueing import messages
from dev.platform import Platform
from tests.client import Client


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


@pytest.mark.parametrize("serializer", ["pickle", "yaml"])
def test_a_message_that_is_not_json_is_discarded(
    hub: Platform, client: Client, offer: Callable[..., str], tmp_path: Path, serializer: str
) -> None:
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(Evil(canary)))
    assert canary.exists(), "the canary works"
    canary.unlink()

    args: list[Any] = [Evil(canary)] if serializer == "pickle" else ["x"]
    once = {"queue": "invocations", "serializer": serializer, "retry": False}
    with messages.app().connection_for_write() as its:  # those of the pool may be broken since earlier tests
        for _ in range(3):
            messages.app().send_task(messages.RUN_INVOCATION, args=args, connection=its, **once)
    hub.supervisor.wait_for(lambda: messages.waiting("invocations") == 0, "the messages to be taken")
    assert client.ended(client.invoke(offer(), {"text": "x"})["id"])["status"] == "succeeded"
    assert not canary.exists()
    assert all(child.is_up for child in hub.supervisor.children.values())
    logs = "".join(log.read_text(errors="replace") for log in hub.supervisor._logs.glob("invocations-*.log"))
    assert "ContentDisallowed" in logs or "Refusing to deserialize" in logs
