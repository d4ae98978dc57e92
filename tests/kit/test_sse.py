"""The parser of event streams and the decoder of chunks: however bytes are cut, they mean the same."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from types import ModuleType
from typing import Any

import httpx
import pytest
from httpx_sse import EventSource
from hypothesis import given
from hypothesis import strategies as st

from common.kit import sse
from common.kit.outbound.dechunking import MAX_IGNORED, Dechunker
from joyfull import sse as client_sse

_LINES = st.sampled_from(
    ["data: {}", "data:x", "data", "data:  two", "event: named", "id: 7", "id: a\0b", "retry: 5", ": note", "", "é: ü"]
)
_ENDS = st.sampled_from(["\n", "\r\n", "\r"])
#: Lines as they may come in any stream, each with an end of its own.
streams = st.lists(st.tuples(_LINES, _ENDS), max_size=30).map(
    lambda lines: "".join(line + end for line, end in lines).encode()
)


def cut(whole: bytes, at: list[int]) -> list[bytes]:
    """The bytes in pieces, some of them empty."""
    bounds = [0, *sorted(each % (len(whole) + 1) for each in at), len(whole)]
    return [whole[start:end] for start, end in pairwise(bounds)]


def parsed(pieces: list[bytes]) -> list[sse.SentEvent]:
    parser = sse.Parser()
    return [event for piece in pieces for event in parser.feed(piece)]


@given(streams, st.lists(st.integers(0, 10_000), max_size=12))
def test_events_do_not_depend_on_where_a_stream_is_cut(whole: bytes, at: list[int]) -> None:
    assert parsed(cut(whole, at)) == parsed([whole]) == parsed([bytes([byte]) for byte in whole])


@given(streams)
def test_events_are_those_that_another_parser_sees(whole: bytes) -> None:
    """httpx-sse calls an event without a name `message` too; it also dispatches at an id alone, which we leave out."""
    response = httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=whole)
    theirs = [event for event in EventSource(response).iter_sse() if event.data]
    ours = [event for event in parsed([whole]) if event.data]
    assert [(event.name, event.data, event.id) for event in ours] == [(e.event, e.data, e.id) for e in theirs]


def test_what_is_written_is_read() -> None:
    raw = b"\xef\xbb\xbf" + sse.written("output.delta", json.dumps({"a": "ü\n"}), "3.1-7") + b"data: not complete"
    assert parsed([raw]) == [sse.SentEvent('{"a": "\\u00fc\\n"}', "output.delta", "3.1-7")]


@pytest.mark.parametrize(
    "raw",
    [
        b"data: " + b"x" * sse.MAX_LINE,
        b"data: \xff\n",
        b"data: " + b"x" * sse.MAX_LINE + b"\n",
        b"data: 123\n" * 500_000,
    ],
    ids=["endless line", "not UTF-8", "long line", "endless event"],
)
def test_what_is_no_event_stream_is_refused(raw: bytes) -> None:
    with pytest.raises(sse.NotAnEventStream):
        parsed([raw])


chunks = st.lists(st.binary(min_size=1, max_size=300), max_size=8)
_SIZES = st.sampled_from(["%x", "%X", "00%x", "%x;name=value", "%x \t"])


@given(chunks, _SIZES, st.booleans(), st.lists(st.integers(0, 10_000), max_size=12))
def test_a_chunked_body_does_not_depend_on_where_it_is_cut(
    bodies: list[bytes], size: str, trailers: bool, at: list[int]
) -> None:
    whole = b"".join((size % len(body)).encode() + b"\r\n" + body + b"\r\n" for body in bodies)
    whole += b"0\r\n" + (b"X-Trailer: 1\r\n" if trailers else b"") + b"\r\n"
    decoder = Dechunker()
    assert b"".join(decoder.feed(piece) for piece in cut(whole, at)) == b"".join(bodies)
    assert decoder.done
    early = Dechunker()
    early.feed(whole[:-2])
    assert not early.done


@pytest.mark.parametrize(
    "raw",
    [
        b"x\r\n",
        b"-1\r\n",
        b"\r\n",
        b"2\r\nabc\r\n",
        b"0x2\r\n",
        b"1" * 16 + b"\r\n",
        b"1;" + b"x" * 2 * MAX_IGNORED + b"\r\n",
    ],
    ids=["word", "negative", "empty", "longer", "prefix", "huge", "long extension"],
)
def test_what_is_no_chunked_body_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="chunk"):
        Dechunker().feed(raw)


def test_endless_trailers_are_refused() -> None:
    decoder = Dechunker()
    decoder.feed(b"0\r\n")
    with pytest.raises(ValueError, match="too long"):
        for _ in range(MAX_IGNORED):
            decoder.feed(b"X-A: b\r\n")


class Searched:
    """The pattern of line ends; counts the characters, or bytes, in which it was searched for."""

    def __init__(self, pattern: re.Pattern[Any]) -> None:
        self._pattern, self.total = pattern, 0

    def split(self, text: Any) -> list[Any]:
        self.total += len(text)
        return self._pattern.split(text)


@pytest.mark.parametrize("parser", [sse, client_sse], ids=["ours", "the client's"])
@pytest.mark.parametrize("line", [b"data: " + b"x" * 100_000, b": " + b"\xc3\xbc" * 50_000], ids=["data", "comment"])
def test_every_byte_is_searched_once(monkeypatch: pytest.MonkeyPatch, parser: ModuleType, line: bytes) -> None:
    searched = Searched(parser._LINE_END)
    monkeypatch.setattr(parser, "_LINE_END", searched)
    whole = line + b"\r\ndata: end\r\n\r\n"
    one = parser.Parser()
    found = [event for at in range(0, len(whole), 200) for event in one.feed(whole[at : at + 200])]
    assert [event.data[-3:] for event in found] == ["end"]
    assert searched.total <= len(whole)


@given(streams, st.lists(st.integers(0, 10_000), max_size=12))
def test_the_client_sees_the_same_events(whole: bytes, at: list[int]) -> None:
    parser = client_sse.Parser()
    theirs = [event for piece in cut(whole, at) for event in parser.feed(piece)]
    assert [(event.type, event.data, event.id) for event in theirs] == [
        (event.name, event.data, event.id) for event in parsed([whole])
    ]


def test_only_the_first_byte_order_mark_is_one() -> None:
    for pieces in ([b"\xef\xbb\xbfdata: 1\n\n", b"\xef\xbb\xbfdata: 2\n\n"], [b"\xef", b"\xbb\xbfdata: 1\n\n"]):
        parser = client_sse.Parser()
        assert [event.data for piece in pieces for event in parser.feed(piece)] == ["1"]
        assert [event.data for event in parsed(pieces)] == ["1"]


def test_an_event_of_empty_lines_has_an_end() -> None:
    with pytest.raises(sse.NotAnEventStream):
        parsed([b"data\n" * (sse.MAX_LINE + 1)])
