"""NFC is what `unicodedata` makes of a text, and long runs of marks are no reason to wait."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.kit.nfc import MOST_COMPOSED, nfc

#: Whatever is decomposed, or has a place in the order of marks; and letters that they are composed with.
SPECIAL = [char for char in map(chr, range(sys.maxunicode)) if unicodedata.decomposition(char)[:1] not in ("", "<")]
MARKS = [char for char in map(chr, range(sys.maxunicode)) if unicodedata.combining(char)]
LETTERS = "aeio\u03b1\u0f40\u1100\u1161\u11a8"


@given(st.text(st.one_of(st.sampled_from(SPECIAL), st.sampled_from(MARKS), st.sampled_from(LETTERS))))
def test_it_is_what_unicodedata_makes_of_it(text: str) -> None:
    assert nfc(text) == unicodedata.normalize("NFC", text)


def test_no_character_is_made_of_more() -> None:
    assert max(len(unicodedata.normalize("NFD", char)) for char in SPECIAL) == MOST_COMPOSED


@pytest.mark.parametrize(
    "marks", ["\u0315" * 200_000 + "\u0316" * 200_000, "\u0f73" * 200_000], ids=["two", "decomposed"]
)
def test_marks_in_the_wrong_order(marks: str) -> None:
    """Sorted by insertion, these take many minutes."""
    assert nfc("a" + marks) == "a" + "".join(
        sorted(unicodedata.normalize("NFD", marks[0]) * 200_000 + marks[200_000:], key=unicodedata.combining)
    )
