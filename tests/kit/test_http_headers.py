from __future__ import annotations

from datetime import UTC, datetime

import pytest

from common.kit.http_headers import retry_after

NOW = datetime(2027, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        (" 120 ", 120),
        ("86400", 86_400),
        ("86401", 86_400),
        ("9" * 5000, 86_400),
        ("Sun, 31 Jan 2027 12:01:00 GMT", 60),
        ("Sun, 31 Jan 2027 11:00:00 GMT", 0),
        ("Tue, 31 Jan 2040 12:00:00 GMT", 86_400),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2027 00:00:00 +99999999999999", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 86_400),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
        ("", None),
        ("٣", None),
    ],
)
def test_what_retry_after_may_say(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds
