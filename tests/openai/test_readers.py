"""A stream that nobody reads any more is canceled, and nothing else is; what is not known is never an absence."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from common.invocations import streams
from common.kit import clock
from common.kit import redis as redis_kit
from common.kit.clock import uuid7
from dev.servers import Redis
from tests.client import eventually
from tests.openai.conftest import MESSAGES, Stage, charges
from tests.openai.test_streams import Raw, words
from tests.working import beat
from web.http import status_changes, stream_readers
from worker import reader_watch
from worker.reader_watch import ReaderWatch


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_watch, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(reader_watch, "UNREAD_SECONDS", 0.3)
    monkeypatch.setattr(stream_readers, "EVERY", 0.05)
    monkeypatch.setattr(status_changes, "HEARTBEAT_SECONDS", 0.05)


def begun(stage: Stage, headers: dict[str, str] | None = None) -> Raw:
    """A stream of which two words have come, and which goes on once the tool is let go."""
    raw, text = Raw(stage, stage.chat("/stream?words=4&hold=2"), headers), ""
    found = pieces(raw)
    while text != words(2):
        text += next(found)
    return raw


def pieces(raw: Raw) -> Iterator[str]:
    for event in raw.events():
        for choice in json.loads(event)["choices"]:
            yield choice["delta"].get("content") or ""


class Native:
    """The API of its own, for the same account."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.url = stage, f"{stage.url.removesuffix('/v1')}/api/v1"

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url + path, headers={"X-API-Key": self.stage.key}, timeout=30, **options)

    def ended(self, made: str) -> Any:
        def has_ended() -> bool:
            beat(self.stage.me)
            return bool(self.get(f"/invocations/{made}").json()["data"]["finished_at"])

        eventually("it ends", 30, has_ended)
        return self.get(f"/invocations/{made}").json()["data"]


def made_by(raw: Raw) -> str:
    return str(raw.told.headers["Joyfull-Invocation"])


def goes_on(stage: Stage) -> None:
    """For several times as long as a stream goes on without readers."""
    until = clock.monotonic() + 4 * reader_watch.UNREAD_SECONDS
    while clock.monotonic() < until:
        beat(stage.me)
        clock.sleep(0.02)


def test_a_stream_that_is_left_is_canceled_and_charged_for_what_was_shown(stage: Stage) -> None:
    raw = begun(stage)
    goes_on(stage)
    raw.told.close()
    ended = Native(stage).ended(made_by(raw))
    assert (ended["status"], ended["billing"]["basis"]) == ("canceled", "metered")
    assert ended["output"]["choices"][0]["message"]["content"] == words(2)
    assert charges() == [1 + 2 * (3 + 3)]


@pytest.mark.parametrize(
    "headers", [{"Joyfull-On-Disconnect": "continue"}, {"Idempotency-Key": "once"}], ids=["continue", "with a key"]
)
def test_a_stream_that_is_not_to_be_canceled_goes_on(stage: Stage, headers: dict[str, str]) -> None:
    raw = begun(stage, headers)
    raw.told.close()
    eventually("its reader has left", 30, lambda: not stream_readers.readers._readers)
    goes_on(stage)
    stage.tool.let_go()
    assert Native(stage).ended(made_by(raw))["status"] == "succeeded"


def test_a_native_stream_goes_on(stage: Stage) -> None:
    slug, native = stage.chat("/stream?words=4&hold=2"), Native(stage)
    path, sent = f"{native.url}/tools/{slug}/invoke", {"input": {"messages": MESSAGES}, "stream": True}
    made = requests.post(path, json=sent, headers={"X-API-Key": stage.key}, timeout=30).json()["data"]["id"]
    with native.get(f"/invocations/{made}/events", stream=True) as events:
        assert any(b"output.delta" in line for line in events.iter_lines(chunk_size=1))
    goes_on(stage)
    stage.tool.let_go()
    assert native.ended(made)["status"] == "succeeded"


def test_a_reader_of_another_kind_is_one(stage: Stage) -> None:
    raw, native = begun(stage), Native(stage)
    polled: list[Any] = []
    path = f"/invocations/{made_by(raw)}?wait=30"
    poll = threading.Thread(target=lambda: polled.append(native.get(path).json()["data"]["status"]))
    poll.start()
    eventually("both read", 30, lambda: [*stream_readers.readers._readers.values()] == [2])
    raw.told.close()
    eventually("one has left", 30, lambda: [*stream_readers.readers._readers.values()] == [1])
    goes_on(stage)
    stage.tool.let_go()
    poll.join(60)
    assert polled == ["succeeded"]


def test_what_is_not_known_is_no_absence(db: None, redis_server: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_watch, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(reader_watch, "UNREAD_SECONDS", 0.0)
    marked, native, watch = uuid7(), uuid7(), ReaderWatch()

    def unread() -> list[bool]:
        watch.look([marked, native])
        return [watch.is_unread(each) for each in (marked, native)]

    streams.note_readers([marked, native], [marked])
    assert unread() == [False, False]
    for each in (marked, native):
        streams.forget_reader(each)
    assert unread() == [True, False]
    streams.note_readers([marked], [])
    assert unread() == [False, False]
    streams.forget_reader(marked)
    assert unread() == [True, False]
    watch.forget()
    assert not watch.is_unread(marked)
    redis_kit.client().flushall()
    assert unread() == [False, False]
    redis_server.kill()
    with pytest.raises(redis_kit.RedisUnreachable):
        watch.look([marked])
    redis_server.start()
    redis_server.wait()


def test_an_absence_counts_from_when_it_was_seen_by_the_same_server(
    db: None, redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_watch, "LOOK_EVERY", 0.0)
    marked, watch = uuid7(), ReaderWatch()
    streams.note_readers([marked], [marked])
    streams.forget_reader(marked)
    watch.look([marked])
    eventually("it is seen for long enough", 30, lambda: watch.is_unread(marked))
    watch._server = "another run"
    watch.look([marked])
    assert not watch.is_unread(marked)
