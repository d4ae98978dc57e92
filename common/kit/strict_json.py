"""Read JSON that others wrote, strictly: exactly RFC 8259, with one meaning, and within limits.

Not accepted are duplicate keys, NaN and infinity, a byte order mark, numbers beyond the range of a float, integers of
more than `MAX_DIGITS` digits, and text that is nested too deeply or has too many values (both counted before anything
is parsed). Integers are exact. Others run between pieces of a long text. U+0000 and lone surrogates, which PostgreSQL
does not store, are valid JSON: `unstorable` finds them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

from common.kit import shape
from common.kit.pieces import StepCounter
from common.kit.shape import NestedTooDeep, TooManyValues, UnacceptableJson

__all__ = ["JsonReader", "NestedTooDeep", "NotJson", "RepeatedKey", "TooManyValues", "UnacceptableJson", "unstorable"]

#: Of an integer. Python reads and writes one in a time that grows with the square of its digits.
MAX_DIGITS: Final = 500
_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
_TOO_MANY: Final = b"0" * (MAX_DIGITS + 1)
#: Escapes that may stand for a character which cannot be stored; as bytes, none of them is valid.
_SUSPICIOUS = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
FORBIDDEN = re.compile("[\x00\ud800-\udfff]")


class NotJson(UnacceptableJson):
    """Not JSON, or a number that cannot be represented."""


class RepeatedKey(UnacceptableJson):
    """An object has a key twice: readers disagree about which one counts."""


class JsonReader:
    """Reads texts with at most `depth` levels, and at most `keys` keys in one object."""

    def __init__(self, *, depth: int, keys: int = shape.MAX_VALUES) -> None:
        self._depth, self._keys = depth, keys
        self._pieces = StepCounter()
        self._decoder, self._counting = self._decoding(int), self._decoding(_counted)

    def _decoding(self, parse_int: Callable[[str], int]) -> json.JSONDecoder:
        return json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_constant=_refuse_constant,
            parse_float=self._float,
            parse_int=parse_int,
        )

    def read(self, text: bytes) -> Any:  # Any: as json.loads
        """The value of a JSON text. Raises `UnacceptableJson`."""
        try:
            shape.check(text, depth=self._depth)
            decoder = self._counting if _has_many_digits(text) else self._decoder
            return decoder.decode(text.decode())
        except UnicodeDecodeError as error:
            raise NotJson(f"is not valid UTF-8: invalid byte at offset {error.start}.") from None
        except json.JSONDecodeError as error:
            raise NotJson(f"is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from None

    def _object(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        self._pieces.step()
        value = dict(pairs)
        if len(value) != len(pairs):
            raise RepeatedKey(f"has an object with the key {_repeated(pairs)!r} more than once.")
        if len(value) > self._keys:
            raise TooManyValues(f"has an object with more than {self._keys:,} keys.")
        return value

    def _float(self, digits: str) -> float:
        self._pieces.step()
        number = float(digits)
        if not math.isfinite(number):
            raise NotJson("has a number that is too large.")
        return number


def _repeated(pairs: list[tuple[str, object]]) -> str:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return key[:80]
        seen.add(key)
    raise AssertionError("no key is repeated")


def _has_many_digits(text: bytes) -> bool:
    """Whether there is a run of so many digits, also within a string. To call Python for each integer takes longer."""
    return len(text) > MAX_DIGITS and _TOO_MANY in text.translate(_ZEROS)


def _counted(digits: str) -> int:
    if len(digits.removeprefix("-")) > MAX_DIGITS:
        raise NotJson("has a number with too many digits.")
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson(f"is not valid JSON: {name} is not allowed.")


def unstorable(text: bytes, value: object) -> Iterator[tuple[str | int, ...]]:
    """Paths to strings of the value with U+0000 or lone surrogates; for an object's key, the path of the object."""
    return _forbidden(value, StepCounter()) if _SUSPICIOUS.search(text) else iter(())


def _forbidden(value: object, pieces: StepCounter, *path: str | int) -> Iterator[tuple[str | int, ...]]:
    pieces.step()
    if isinstance(value, str):
        if FORBIDDEN.search(value):
            yield path
    elif isinstance(value, dict):
        for key, nested in value.items():
            if FORBIDDEN.search(key):
                yield path
            yield from _forbidden(nested, pieces, *path, key)
    elif isinstance(value, list):
        for index, nested in enumerate(value):
            yield from _forbidden(nested, pieces, *path, index)
