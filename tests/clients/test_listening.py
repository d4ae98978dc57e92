"""`joyfull listen` against the platform: every event once, in the order of the feed, whatever is away meanwhile."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from standardwebhooks import Webhook

from dev import platform as parts
from dev.platform import Platform
from tests.client import Client, eventually
from tests.clients import processes
from tests.outside.line import Line
from tests.outside.receiver import Receiver


@contextmanager
def listening(url: str, key: str, target: str, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command, from where it says that it is ready."""
    started = processes.start(url, key, home, "--request-timeout", "1", "listen", "--forward-to", target)
    try:
        assert started.stderr is not None
        assert started.stderr.readline().startswith(b"ready: ")
        yield started
    finally:
        started.kill()
        started.communicate()


def restarted(hub: Platform) -> None:
    hub.supervisor.children["web"].finish(deadline=0.0)  # with all its processes
    hub.supervisor.children["web"].start()
    hub.supervisor.wait_for(lambda: parts.serving(f"{hub.url}/ready"), "web")


def arrived(receiver: Receiver, client: Client, path: str = "/hook") -> tuple[list[str], list[str]]:
    """The ids of the feed, and those that were received, once the last one was."""
    feed = [event.id for event in client.events.list()]

    def received() -> list[str]:
        return [dict(each.headers)["webhook-id"] for each in receiver.requests(path)]

    eventually("the last event is forwarded", 60, lambda: feed[-1] in received())
    return feed, received()


def test_listen_goes_through_a_restart_of_the_platform_and_a_network_that_is_cut_or_silent(
    hub: Platform, client: Client, offer: Callable[..., str], receiver: Receiver, tmp_path: Path
) -> None:
    tool, slow = offer(), offer("/echo?after=1000")
    with Line(hub.settings.port) as line, Line(hub.settings.port) as silent:
        key, secret = client.keys.create(name="listener").key, client.webhooks.default_secret().secret
        client.run(tool, {"text": "before anybody listened"})
        with (
            listening(line.url, key, f"{receiver.url}/hook", tmp_path) as listener,
            listening(silent.url, key, f"{receiver.url}/silent", tmp_path) as deaf,
        ):
            before = {event.id for event in client.events.list()}
            client.run(tool, {"text": "a"})
            arrived(receiver, client, "/silent")
            silent.silence()
            job = client.submit(slow, {"text": "ends while web is away"})
            restarted(hub)
            job.wait()
            arrived(receiver, client)
            line.cut()
            client.run(tool, {"text": "b"})
            client.run(tool, {"text": "c"})
            line.mend()
            arrived(receiver, client)
            client.run(tool, {"text": "d"})
            told = [arrived(receiver, client)]
            silent.mend()
            told.append(arrived(receiver, client, "/silent"))
            assert (listener.poll(), deaf.poll()) == (None, None)
    for feed, received in told:
        assert received == feed[-len(received) :], "each once, and in order"
        assert set(received) >= set(feed) - before, "from the moment when it said that it was ready"
        assert len(set(feed) - before) >= 5
    for each in receiver.requests():
        Webhook(secret).verify(each.body, dict(each.headers))
