"""Numbers, amounts, times and text as the console writes them."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from common.invocations import Invocation
from common.kit import clock
from common.models.tools import Metered
from common.tools import Price
from web.console import json_texts, preferences

#: Between characters that are not ASCII these join emoji and letters.
_JOINERS: Final = ("\u200c", "\u200d")
_PLAIN: Final = re.compile(r"[\t\n\x20-\x7e\u00a1-\u024f\u2010-\u2027\u2190-\u21ff\u2212]*")


class Typed(str):
    """Text that goes back into a form as it was typed, whatever its characters."""

    __slots__ = ()


def number(value: float | Decimal | None) -> str:
    """`1,234,567`, `0.25`; never abbreviated. None: unlimited."""
    if value is None:
        return "unlimited"
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}"
    return f"{value:,.6f}".rstrip("0")


def signed(value: int) -> str:
    """An amount of an account: `+1,234`, `−17`, `0`."""
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{abs(value):,}"


def tokens(value: float | None) -> str:
    """An amount with its unit: `1 token`, `1,234 tokens`."""
    return f"{number(value)} {'token' if value == 1 else 'tokens'}"


def count(value: int, one: str, many: str = "") -> str:
    """`1 run`, `3 runs`."""
    return f"{number(value)} {one if value == 1 else many or one + 's'}"


def units(value: float | Decimal, unit: str) -> str:
    """`6 words` for the unit `word`, `6 × 100 characters` for `100 characters`."""
    if unit[:1].isdigit():
        return f"{number(value)} × {unit}"
    return f"{number(value)} {unit if value == 1 or unit.endswith('s') else f'{unit}s'}"


def size(value: int) -> str:
    """Bytes: `512 bytes`, `14.2 kB`."""
    return count(value, "byte") if value < 1000 else f"{value / 1000:,.1f} kB"


def duration(value: float | timedelta | None) -> str:
    """Seconds: `8 ms`, `1.24 s`, `3 min 20 s`, `2 h`, `3 d 4 h`."""
    if value is None:
        return "–"
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 0.1:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds % 1 else f"{seconds:.0f} s"
    whole = int(seconds)
    if whole < 3600:
        return _of_two(whole // 60, "min", whole % 60, "s")
    if whole < 2 * 86_400:
        return _of_two(whole // 3600, "h", whole % 3600 // 60, "min")
    return _of_two(whole // 86_400, "d", whole % 86_400 // 3600, "h")


def _of_two(large: int, its: str, small: int, other: str) -> str:
    return f"{large} {its} {small} {other}" if small else f"{large} {its}"


def elapsed(since: datetime) -> str:
    """How long something has gone on, to the second."""
    return duration(max(0, int((clock.now() - since).total_seconds())))


def _in_zone(moment: datetime) -> datetime:
    return clock.in_zone(moment, preferences.current().zone)


def iso(moment: datetime) -> str:
    """For `<time datetime>`."""
    return clock.rfc3339(moment)


def second(moment: datetime) -> str:
    """For `<time datetime>`, to the second."""
    return f"{moment.astimezone(UTC).isoformat(timespec='seconds')[:19]}Z"


def exact(moment: datetime) -> str:
    """`29 Nov 2026, 14:03:22.123 CET (UTC+01:00)`, in the reader's zone."""
    local = _in_zone(moment)
    return (
        f"{local.day} {local:%b %Y, %H:%M:%S}.{local.microsecond // 1000:03d} {local:%Z} (UTC{local.isoformat()[-6:]})"
    )


def moment(value: datetime) -> str:
    """`29 Nov 2026, 14:03:22 CET`, in the reader's zone."""
    local = _in_zone(value)
    return f"{local.day} {local:%b %Y, %H:%M:%S %Z}"


def day(value: datetime) -> str:
    """`29 Nov 2026`, in the reader's zone."""
    local = _in_zone(value)
    return f"{local.day} {local:%b %Y}"


def near(value: datetime) -> str:
    """`21 Dec`, in the reader's zone, with the year if it is another than now."""
    local, now = _in_zone(value), _in_zone(clock.now())
    return f"{local.day} {local:%b}" if local.year == now.year else day(value)


def milliseconds(value: float | None) -> str:
    """A duration in milliseconds, as `duration` writes it."""
    return duration(None if value is None else value / 1000)


def money(cents: int, currency: str) -> str:
    """`12.00 USD`; nothing to pay is `free`."""
    return f"{cents / 100:,.2f} {currency}" if cents else "free"


def local(value: datetime) -> str:
    """For `<input type="datetime-local">`: `2026-11-29T14:03`, in the reader's zone."""
    return _in_zone(value).isoformat(timespec="minutes")[:16]


def ago(value: datetime) -> str:
    """How long ago, or in how long: `3 min 20 s ago`, `in 2 h 5 min`."""
    seconds = round((clock.now() - value).total_seconds())
    if seconds == 0:
        return "just now"
    return f"{duration(seconds)} ago" if seconds > 0 else f"in {duration(-seconds)}"


def short(id_: UUID) -> str:
    """The end of an id, which is enough to tell it from others: `…9f3a2c1d`."""
    return f"…{str(id_)[-8:]}"


def as_json(value: object, most: int) -> str:
    """A value as indented JSON text, or a beginning of that with more than `most` characters."""
    return json_texts.beginning(value, most)


def pretty(text: str, most: int) -> str:
    """JSON text, indented; no more than a beginning of that with more than `most` characters."""
    return as_json(json.loads(text), most)


def price(value: Price) -> str:
    """`2 tokens + 1 for each character, at most 102 tokens`; `10 tokens`."""
    per_unit = value.per_unit
    if per_unit is None:
        return tokens(value.base_tokens)
    base = f"{tokens(value.base_tokens)} + " if value.base_tokens else ""
    return f"{base}{number(per_unit['tokens'])} per {per_unit['unit']}, at most {tokens(value.max_tokens)}"


def meter(value: Metered) -> str:
    """How units are counted where the tool has reported none."""
    chars = value["chars_per_unit"]
    of = "the answer and of the messages in the input" if value["input"] else "the answer"
    return f"One unit is counted for each {'character' if chars == 1 else f'{chars} characters'} of {of}."


def waiting(run: Invocation) -> str:
    """Why a queued run has not started; empty for others."""
    why = run.waiting
    if why is not None and why.reason == "scheduled" and why.until is not None:
        return f"It is scheduled to start {ago(why.until)}, at {moment(why.until)}."
    return why.detail if why is not None else ""


def words(code: str) -> str:
    """A code as words: `tool_timeout` → `tool timeout`."""
    return code.replace("_", " ")


def visible(text: str) -> str:
    """Text whose control, direction and zero-width characters can be seen: `⟨U+202E⟩`."""
    if _PLAIN.fullmatch(text):
        return text
    return "".join(_seen(char, text[at - 1 : at]) for at, char in enumerate(text))


def _seen(char: str, before: str) -> str:
    hidden = unicodedata.category(char) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp") and char not in "\t\n\u00ad"
    if hidden and not (char in _JOINERS and before > "\x7f"):
        return f"⟨U+{ord(char):04X}⟩"
    return char


def finalized(value: object) -> object:
    """What templates write: strangers' text made visible, what was typed as it is."""
    if type(value) is not str or (value.isascii() and value.isprintable()):
        return value
    return visible(value)
