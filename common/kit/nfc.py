"""Unicode Normalization Form C (UAX #15) in time that grows with the length of the text.

`unicodedata.normalize` sorts combining marks by insertion: 64 kB of them, in the wrong order, take seconds.
"""

from __future__ import annotations

from itertools import groupby
from typing import Final
from unicodedata import combining, is_normalized, normalize

#: A text has at most so many times the code points of its NFC: four become one (UAX #15, `U+1F82`).
MOST_COMPOSED: Final = 4


def nfc(text: str) -> str:
    """`text` in NFC: exactly `unicodedata.normalize("NFC", text)`."""
    return text if is_normalized("NFC", text) else normalize("NFC", _decomposed(text))


def _decomposed(text: str) -> str:
    """In NFD: each character by itself, then every run of marks sorted by combining class (stable)."""
    characters = "".join([normalize("NFD", character) for character in text])
    runs = groupby(characters, lambda character: combining(character) > 0)
    return "".join(["".join(sorted(run, key=combining) if marks else run) for marks, run in runs])
