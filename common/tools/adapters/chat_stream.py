"""`chat_completion` as a stream: server-sent events, each a chunk in JSON, put together to one answer at the end."""

from __future__ import annotations

import json
from typing import Final

from common.kit import clock, jsonb, redaction, sse
from common.kit.outbound import Answer, OutboundClient, StreamedAnswer
from common.tools import metering, streamed
from common.tools.adapters import chat_completion, exchange, reading, replies, stream_redaction
from common.tools.adapters.exchange import Outgoing
from common.tools.adapters.model import Reply, Sink, ToolRequest, ToolResult
from common.tools.streamed import Json

DONE: Final = "[DONE]"
#: The usage is always asked for: it is what the call is charged by.
_ASKED: Final = {"stream": True, "stream_options": {"include_usage": True}}


def ask(outbound: OutboundClient, request: ToolRequest, sink: Sink) -> Reply:
    """Call the model once and read its response to the end. Raises `ToolFailure`, `outbound.Aborted`."""
    outgoing = chat_completion.asking(request, _ASKED)
    began = clock.monotonic()
    with exchange.streaming(outbound, request, outgoing) as answer:
        chunks = _Chunks(answer, outgoing, sink)
        if "text/event-stream" in answer.headers.get("content-type", "").lower():
            chunks.read()
        else:
            chunks.take_whole(exchange.whole(answer, began))
        chunks.finish()
    told, whole = Answer(answer.status, answer.headers, b"", _milliseconds(began)), chunks.answer.whole()
    return replies.reply(told, len(jsonb.encoded(whole)), lambda: _result(request, told, whole, outgoing.secrets))


def _milliseconds(began: float) -> int:
    return int((clock.monotonic() - began) * 1000)


class _Chunks:
    """The chunks of one response, on their way to the sink and into the whole answer."""

    def __init__(self, head: StreamedAnswer, outgoing: Outgoing, sink: Sink) -> None:
        self.answer = streamed.Assembly(streamed.MAX_INDEXED)
        self._head, self._sink, self._secrets = head, sink, outgoing.secrets
        self._so_far = Answer(head.status, head.headers, b"", 0)
        self._choices = stream_redaction.Choices(outgoing.secrets) if outgoing.secrets else None

    def read(self) -> None:
        """Read to the end. Raises `ToolFailure`, for a stream that breaks off as well."""
        parser = sse.Parser()
        try:
            for piece in self._head.pieces:
                if self._take(parser.feed(piece)):
                    return
                self._sink.pause()
        except sse.NotAnEventStream as error:
            raise exchange.bad_response(self._so_far, f"The response is not an event stream: {error}.") from error
        if not self.answer.is_finished:
            raise exchange.bad_response(self._so_far, "The response broke off before it was finished.")

    def _take(self, events: list[sse.SentEvent]) -> bool:
        """Whether the last of all chunks was among these."""
        for event in events:
            if event.data == DONE:
                return True
            self._add(self._parsed(event.data))
        return False

    def _parsed(self, data: str) -> object:
        try:
            return reading.parse("application/json", data.encode())
        except reading.Unreadable as error:
            raise exchange.bad_response(self._so_far, f"In a chunk: {error}") from error

    def _add(self, chunk: object) -> None:
        if not isinstance(chunk, dict) or chunk.get("error") or not _has_choices(chunk):
            shown = redaction.without(chunk, self._secrets)
            raise exchange.unusable(self._so_far, "The response has an invalid chunk", shown, self._secrets)
        self._give(chunk if self._choices is None else self._redacted(chunk, self._choices))

    def _redacted(self, chunk: Json, choices: stream_redaction.Choices) -> Json:
        head = {name: value for name, value in chunk.items() if name != "choices"}
        shown = redaction.without(head, self._secrets)
        given = choices.redacted(streamed.choices_of(chunk))
        return {**(shown if isinstance(shown, dict) else {}), "choices": given}

    def _give(self, chunk: Json) -> None:
        try:
            self.answer.add(chunk)
        except streamed.TooManyIndexes as error:
            said = f"The response has more than {streamed.MAX_INDEXED:,} choices and indexed items."
            raise exchange.bad_response(self._so_far, said) from error
        self._sink.add(chunk)

    def finish(self) -> None:
        """Give out what was held back."""
        if self._choices is not None and (rest := self._choices.rest()):
            self._give({"choices": rest})

    def take_whole(self, answer: Answer) -> None:
        """A server that does not stream answers as a whole: that is one chunk."""
        whole = chat_completion.checked(answer, exchange.read(answer, self._secrets), self._secrets)
        self._add({**whole, "choices": streamed.as_deltas(streamed.choices_of(whole))})


def _has_choices(chunk: Json) -> bool:
    """Whether its choices are what they should be; a chunk of usage alone has none."""
    choices = chunk.get("choices") or []
    return isinstance(choices, list) and all(
        isinstance(choice, dict) and isinstance(choice.get("delta") or {}, dict) for choice in choices
    )


def _result(request: ToolRequest, answer: Answer, whole: Json, secrets: tuple[str, ...]) -> ToolResult:
    """Priced by the usage that was reported, or else by the price's meter. Raises `ToolFailure`."""
    version, meter = request.version, request.version.price.metered
    whole = chat_completion.with_total(chat_completion.checked(answer, redaction.without(whole, secrets), secrets))
    if meter is None or "usage" in whole:
        return exchange.result(version, answer, whole)
    units = metering.units(meter, json.loads(request.text), whole)
    return ToolResult(whole, units, answer.status, answer.duration_ms, "metered")
