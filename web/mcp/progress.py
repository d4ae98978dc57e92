"""The response to a call that takes long: server-sent events with its progress, and its result as the last of them.

Closing it cancels the invocation in modern revisions, where that is how a client cancels. In handshake revisions a
connection may break without meaning anything, so the invocation runs on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count
from typing import Final

from flask import Response

from common import errors, invocations
from common.identity.authorization import Caller
from common.invocations import Invocation
from common.invocations.streams import START, OutputPart
from common.kit import clock, db, jsonb, log
from common.tools import streamed
from web.http import auth, large_reads, output_waiting, status_changes, streams, waiting
from web.http.output_waiting import OutputReader
from web.http.waiting import Waiter
from web.mcp import protocol, results, rpc
from web.mcp.rpc import Json, Message

logger = log.get(__name__)

#: Seconds between two messages with text, and how much of it one has, in characters.
PAUSE: Final = 0.5
MOST_TEXT: Final = 4_000
#: Seconds after which something is written, because only then is it noticed that the client has gone.
BEAT: Final = 2.0
_BEAT: Final = b": still here\n"
_NOTHING: Final = OutputPart(START, "[]")


def stream(message: Message, invocation: Invocation) -> Response:
    """Follow an accepted invocation. Raises `RateLimited`, after canceling it: the account has too many streams."""
    large_reads.end()  # it was read to see whether it had ended; what is sent is read anew
    caller = auth.caller()
    try:
        waiter = waiting.register(invocation.user_id, invocation.id)
    except errors.RateLimited:
        _cancel(caller, invocation)
        raise
    reader = output_waiting.readers.add(waiter) if invocation.stream else None

    def closed() -> None:
        waiting.registry.remove(waiter)
        if reader is not None:
            output_waiting.readers.remove(reader)

    text = NewText(waiter, reader)
    changes = status_changes.changes(waiter, invocation, None, text.parts)
    events = ProgressMessages(message, text, auth.authorization_check()).events(changes)
    return streams.events(_canceling(events, caller, invocation) if message.is_modern else events, closed)


def _canceling(events: Iterator[bytes], caller: Caller, invocation: Invocation) -> Iterator[bytes]:
    """The events; if they are closed before their end, the invocation is canceled."""
    try:
        yield from events
    except GeneratorExit:
        _cancel(caller, invocation)
        raise


def _cancel(caller: Caller, invocation: Invocation) -> None:
    try:
        invocations.cancel(caller, invocation.id)
    except errors.AlreadyFinished:
        pass
    except (db.Unreachable, errors.DependencyUnavailable) as error:
        logger.warning("not canceled: database unreachable", invocation_id=str(invocation.id), reason=str(error))


class NewText:
    """What of a streamed answer the client has not been sent yet; it is sent some at most every `PAUSE` seconds."""

    def __init__(self, waiter: Waiter, reader: OutputReader | None) -> None:
        self._waiter, self._reader = waiter, reader
        self._pending = ""
        self._position = self._known = 0
        self._not_before = 0.0

    def parts(self, due: float) -> Iterator[OutputPart]:
        """For `status_changes.changes`: parts as they come, and one with nothing now and then."""
        if self._reader is not None:
            soon = clock.monotonic() + BEAT
            yield from self._reader.until_told(min(due, soon, self._not_before if self._pending else soon))
            yield _NOTHING
            return
        while not self._waiter.wait(min(BEAT, due - clock.monotonic())) and clock.monotonic() < due:
            yield _NOTHING

    def add(self, part: OutputPart) -> None:
        """Take note of a part. A snapshot begins from the start: what is known of it is passed over."""
        if part.is_snapshot:
            self._position = 0
        choices: list[streamed.Chunk] = json.loads(part.choices)
        text = "".join(_text(choice) for choice in choices if streamed.index_of(choice) == 0)
        self._pending += text[max(0, self._known - self._position) :]
        self._position += len(text)
        self._known = max(self._known, self._position)

    def take(self) -> str:
        """What is to be sent now; empty: nothing."""
        if not self._pending or clock.monotonic() < self._not_before:
            return ""
        text, self._pending = self._pending[:MOST_TEXT], self._pending[MOST_TEXT:]
        self._not_before = clock.monotonic() + PAUSE
        return text


def _text(choice: streamed.Chunk) -> str:
    delta = choice.get("delta")
    content = delta.get("content") if isinstance(delta, dict) else None
    return content if isinstance(content, str) else ""


class ProgressMessages:
    """Writes what happens to an invocation as messages of MCP. Used outside the request context."""

    def __init__(self, message: Message, text: NewText, authorized: Callable[[], bool]) -> None:
        self._message, self._new, self._authorized = message, text, authorized
        self._numbers = count(1)
        self._written = 0.0

    def events(self, changes: Iterator[Invocation | OutputPart | None]) -> Iterator[bytes]:
        """Everything up to the result. The first one is there at once."""
        yield self._beat()
        for change in changes:
            if isinstance(change, OutputPart):
                self._new.add(change)
                yield from self._progress(self._new.take())
            elif not self._authorized():
                yield self._error("unauthenticated", "The credential of this call is no longer valid.")
                return
            elif change is not None and change.ended:
                yield self._event(rpc.result_of(self._message, results.of(self._message, change)))
                return
            elif change is not None:
                yield from self._progress("" if change.stream else change.status, always=True)
            if clock.monotonic() >= self._written + BEAT:
                yield self._beat()
        yield self._error("still_running", "The wait timed out. The invocation continues.")

    def _progress(self, text: str, *, always: bool = False) -> Iterator[bytes]:
        """A notification, if the client wants any, and there is something to tell."""
        token = self._message.progress_token
        if token is None or not (text or always):
            return
        told: Json = {"progressToken": token, "progress": next(self._numbers), **({"message": text} if text else {})}
        yield self._event({"jsonrpc": "2.0", "method": "notifications/progress", "params": told})

    def _error(self, code: str, detail: str) -> bytes:
        return self._event(rpc.error_of(self._message.id, protocol.REFUSED, detail, {"code": code}))

    def _event(self, whole: Json) -> bytes:
        self._written = clock.monotonic()
        return b"data: " + jsonb.encoded(whole) + b"\n\n"

    def _beat(self) -> bytes:
        self._written = clock.monotonic()
        return _BEAT
