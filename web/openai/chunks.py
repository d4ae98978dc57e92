"""Answers piece by piece: `chat.completion.chunk`s as server-sent events, while the answer is made.

Until there is something to send, for `STATUS_SECONDS` at most, the status line waits: a call that fails before that has
a status of its own. `[DONE]` is sent only once the end is stored: a client that has it can read the charge.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, TypeAlias

from flask import Response

from common import invocations
from common.errors import PlatformError, RateLimited
from common.invocations import Invocation, receipts
from common.invocations.streams import OutputPart
from common.kit import db, jsonb, log, redis
from common.tools import stream_gaps, streamed
from common.tools.streamed import Assembly, Chunk
from web.http import auth, output_waiting, status_changes, streams, waiting
from web.openai import answers, calling, errors
from web.openai.answers import Json
from web.openai.calling import Begun
from web.openai.parsing import ModelCall

logger = log.get(__name__)

#: How long (seconds) the status line waits.
STATUS_SECONDS: Final = 2.0
DONE: Final = b"data: [DONE]\n\n"
#: Without an empty line, which some clients take for an event without data.
COMMENT: Final = b": still here\n"
Change: TypeAlias = Invocation | OutputPart | None


def response(asked: ModelCall, begun: Begun) -> Response:
    """The answer of a chat model, as it is made; or why there is none."""
    owner, submitted = auth.caller().user_id, begun.submitted
    invocation = submitted.invocation or invocations.get_within(submitted.id, owner, 0)
    try:
        waiter = waiting.register(owner, invocation.id)
    except RateLimited:  # it was accepted; an error that asks for a retry would suggest that it was not
        return errors.still_running(invocation)
    reader = output_waiting.readers.add(waiter)

    def closed() -> None:
        waiting.registry.remove(waiter)
        output_waiting.readers.remove(reader)

    how = status_changes.Following(first=STATUS_SECONDS, patient=True, cancels=not asked.continues)
    changes = status_changes.changes(waiter, invocation, None, reader.until_told, how)
    try:
        answer = _first(asked, begun, invocation, changes)
        answer.call_on_close(closed)
    except BaseException:
        closed()
        raise
    if submitted.replayed:
        answer.headers["Idempotent-Replayed"] = "true"
    return answer


def _first(asked: ModelCall, begun: Begun, invocation: Invocation, changes: Iterator[Change]) -> Response:
    """The response, once there is something to send."""
    first = next(change for change in changes if not isinstance(change, Invocation) or change.ended)
    ended = first if isinstance(first, Invocation) else None
    if ended is not None and ended.status != "succeeded":
        return calling.noted(begun, errors.of_end(ended))
    if ended is not None:
        answers.whole(ended)  # there is one
    writer = Writer(answers.head(asked.model, invocation), asked.usage_wanted, begun.answered)
    events = writer.written(chain([first], changes), auth.authorization_check())
    answer = streams.events(events)
    answer.headers.update(errors.headers_of(ended or invocation))
    return answer


@dataclass(slots=True)
class Writer:
    """Writes the chunks of one answer. `shown`: what the client has.

    `log`: what the log of the stream has said since it began anew, until that is all that the client has.
    """

    head: Json
    usage_wanted: bool
    answered: Callable[[], None]
    shown: Assembly = field(default_factory=Assembly)
    log: Assembly | None = None

    def written(self, changes: Iterable[Change], authorized: Callable[[], bool]) -> Iterator[bytes]:
        """The events, while the caller is authorized. Runs outside the request context."""
        try:
            yield from self._written(changes, authorized)
        except (db.Unreachable, redis.RedisUnreachable):
            yield _error(503, "dependency_unavailable", "A required service is unavailable. The invocation continues.")
        except stream_gaps.Contradicted:
            logger.exception("stream differs from the stored answer", answer=self.head["id"])
            yield _error(502, "tool_bad_response", "What was sent differs from the stored answer. Read the invocation.")
        except PlatformError as error:
            yield _error(500, error.code, error.detail)

    def _written(self, changes: Iterable[Change], authorized: Callable[[], bool]) -> Iterator[bytes]:
        last: Invocation | None = None
        for change in changes:
            if isinstance(change, OutputPart):
                yield from self._part(change)
            elif not authorized():
                yield _error(401, "token_revoked", "The credential has been revoked. The invocation continues.")
                return
            elif change is None:
                yield COMMENT
            elif change.ended:
                yield from self._end(change)
                return
            last = change if isinstance(change, Invocation) else last
        if last is not None:
            yield _event(errors.unfinished(last))

    def _part(self, part: OutputPart) -> Iterator[bytes]:
        choices = json.loads(part.choices)
        if part.is_snapshot:
            self.log = Assembly()
        if self.log is not None:
            choices = self._caught_up(self.log, choices)
        self.shown.write(choices)
        yield from self._chunks(choices)

    def _caught_up(self, log: Assembly, choices: list[Chunk]) -> list[Json]:
        """What the client lacks of what the log has told so far."""
        log.write(choices)
        shown, told = self.shown.choices(), log.choices()
        if not stream_gaps.missing(told, shown):
            self.log = None
        return stream_gaps.missing(shown, told)

    def _end(self, invocation: Invocation) -> Iterator[bytes]:
        if invocation.status != "succeeded":
            yield _event(errors.end(invocation)[1])
            self.answered()
            return
        whole = answers.whole(invocation)
        choices = [{"index": n, **choice} for n, choice in enumerate(streamed.choices_of(whole))]
        yield from self._chunks(stream_gaps.missing(self.shown.choices(), choices))
        if self.usage_wanted:
            yield self._chunk(choices=[], usage=whole.get("usage"), joyfull=receipts.bill(invocation))
        yield DONE
        self.answered()

    def _chunks(self, choices: Iterable[Chunk]) -> Iterator[bytes]:
        """No chunk has two choices of one index."""
        waiting_: dict[int, Json] = {}
        for choice in choices:
            index = streamed.index_of(choice)
            if index in waiting_:
                yield self._chunk(choices=[*waiting_.values()])
                waiting_ = {}
            waiting_[index] = {"finish_reason": None, **choice}
        if waiting_:
            yield self._chunk(choices=[*waiting_.values()])

    def _chunk(self, **members: object) -> bytes:
        usage = {"usage": None} if self.usage_wanted else {}
        return _event({**self.head, "object": "chat.completion.chunk", **usage, **members})


def _event(data: Json) -> bytes:
    return b"data: " + jsonb.encoded(data) + b"\n\n"


def _error(status: int, code: str, message: str) -> bytes:
    return _event(errors.shaped(status, code, message))
