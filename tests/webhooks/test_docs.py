"""The examples of docs/webhooks.md, run as a reader would run them."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
import requests

from common import boot, webhooks
from dev.ports import free_port
from tests.webhooks.conftest import Api, happen, settled, sql, statuses
from worker.delivery import Sender

PAGE = Path(__file__).resolve().parents[2] / "docs" / "webhooks.md"
PROGRAMS = {"receiver.py": sys.executable, "receiver.mjs": "node", "pull.py": sys.executable}


def example(name: str, directory: Path) -> list[str]:
    """The command that runs the block which begins with `# name` (or `// name`)."""
    blocks = re.findall(r"^```\w+\n(?:#|//) (\S+)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (directory / name).write_text(dict(blocks)[name])
    return [PROGRAMS[name], str(directory / name)]


@contextmanager
def running(command: list[str], port: int, secret: str) -> Iterator[subprocess.Popen[str]]:
    environ = {"PATH": os.environ["PATH"], "PORT": str(port), "WEBHOOK_SECRET": secret}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as child:
        try:
            wait_for(port)
            yield child
        finally:
            child.kill()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.parametrize("name", ["receiver.py", "receiver.mjs"])
def test_receivers_verify_and_recognise(name: str, user_id: UUID, sender: Sender, tmp_path: Path) -> None:
    if shutil.which(PROGRAMS[name]) is None:
        pytest.skip(f"{PROGRAMS[name]} is not installed")
    port = free_port()
    made = webhooks.create(user_id, boot.outbound(), url=f"http://127.0.0.1:{port}/", events=["budget.threshold"])
    with running(example(name, tmp_path), port, made.secret) as child:
        first = happen(user_id, city="Kraków")
        sender.run()
        sql("update deliveries set status = 'pending', finished_at = null")
        webhooks.rotate_secret(user_id, made.endpoint.id)
        sender.run()
        assert statuses() == ["delivered"], "again, and with two signatures"
        assert len(sql("select 1 from delivery_attempts where http_status = 204")) == 2

        forged = {"webhook-id": "x", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,AAAA v2"}
        old = forged | {"webhook-timestamp": "1614265330"}
        for headers in (forged, old, {}):
            assert requests.post(f"http://127.0.0.1:{port}/", b"{}", headers=headers, timeout=10).status_code == 401
        last = happen(user_id)
        sql("update webhook_endpoints set previous_secret = null, previous_until = null")
        sender.run()
        assert statuses() == ["delivered", "pending"], "the receiver does not know the new secret"
        child.kill()
        assert child.stdout is not None
        assert child.stdout.read().splitlines() == [f"received budget.threshold {first}"], last


def test_the_feed_is_pulled_to_its_end_and_from_there(api: Api, user_id: UUID, tmp_path: Path) -> None:
    command = example("pull.py", tmp_path)

    def pull() -> list[str]:
        settled()
        environ = {"PATH": os.environ["PATH"], "HUB": api.base, "KEY": api.key}
        done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert pull() == []
    events = [happen(user_id, n=n) for n in range(105)]
    assert pull() == [f"pulled budget.threshold {event}" for event in events]
    last = happen(user_id)
    assert pull() == [f"pulled budget.threshold {last}"]
