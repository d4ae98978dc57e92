"""Connections that are refused are all answered, and logged a few times a second."""

from __future__ import annotations

from structlog.testing import capture_logs

from tests.timing import Stepped, using
from web.http.refusals import LINES, Refusals


def test_a_flood_of_connections_does_not_fill_the_log() -> None:
    stepped, refusals = Stepped(), Refusals("http://localhost")
    with using(stepped), capture_logs() as lines:
        answers = [refusals.too_many_connections() for _ in range(LINES + 30)]
        assert (len({*answers}), len(lines)) == (LINES + 30, LINES)
        stepped.now += 1
        refusals.unreadable(408)
        assert refusals.unreadable(408).startswith(b"HTTP/1.1 408 ")
    assert [line.get("left_out") for line in lines[LINES:]] == [30, None]
    assert [line["code"] for line in lines[LINES:]] == ["request_timeout"] * 2
