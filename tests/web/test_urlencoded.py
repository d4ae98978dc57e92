"""Forms and queries are decoded as the standard library does it, in pieces."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.http.urlencoded import pairs

MOST = 10
WORDS = st.sampled_from(
    [b"a", b"=", b"&", b"+", b"%", b"%4", b"%41", b"%c3%a9", b"%C3", b"%zz", "é€😀".encode(), b"\xc3"]
)


def expected(encoded: bytes) -> list[tuple[str, str]] | type[Exception]:
    try:
        return parse_qsl(encoded.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST)
    except ValueError as error:
        return type(error)


@given(st.lists(WORDS, max_size=30).map(b"".join))
def test_they_are_what_the_standard_library_reads(encoded: bytes) -> None:
    assert found(encoded) == expected(encoded)


def found(encoded: bytes) -> list[tuple[str, str]] | type[Exception]:
    try:
        return pairs(encoded, MOST)
    except ValueError as error:
        return type(error)


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize("piece", [b"%41", b"%C3%A9", "é".encode(), b"%", b"%4", b"%C3", b"+%0A"])
def test_so_are_long_ones(piece: bytes, shift: int) -> None:
    encoded = b"a=" + b"x" * shift + piece * 20_000
    assert found(encoded) == expected(encoded)
