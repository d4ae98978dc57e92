"""A tool may echo the credential that it was sent; nobody is shown it, however it is spelled.

What is looked at is the parsed value: every string, every key, every number. A credential is found as it is, and where
any of its characters is escaped, once or more: as JSON does in a string that holds JSON itself, in percent-encoding, as
a character reference of HTML.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Collection, Iterator
from typing import Any

from common.kit import jsonb

REDACTED = "[redacted]"
MIN_SHOWN = 3
#: Providers show the ends of a wrong key, with the rest masked.
_MASKED = re.compile(r"([\w+/.=-]{0,200}?)(?:\*{2,200}|\.{3}|…|[xX]{4,200}|•{2,200})([\w+/=-]{0,200})")
_ESCAPE = re.compile(
    r"\\{1,8}(?:u(?P<unit>[0-9a-fA-F]{4})|x(?P<byte>[0-9a-fA-F]{2})|(?P<itself>[^\w\s\\]))"
    r"|(?P<octets>(?:%(?:25){0,3}[89a-fA-F][0-9a-fA-F])+)|%(?:25){0,3}(?P<octet>[0-7][0-9a-fA-F])"
    r"|&(?:amp;){0,3}(?P<reference>#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|lt|gt|quot|apos|amp);"
)
#: In JSON text: a letter or digit that is escaped although nothing asks for it.
_FAR_FETCHED = re.compile(
    r"%(?:25)*(?:3[0-9]|[46][1-9a-fA-F]|[57][0-9aA])|\\(?:u00|x)(?:3[0-9]|[46][1-9a-fA-F]|[57][0-9aA])|&(?:amp;)*#"
)
_LETTERS = re.compile(r"[0-9A-Za-z]+")


def without(value: Any, secrets: Collection[str]) -> Any:
    """The value with these texts blotted out."""
    if not secrets or not _suspicious(jsonb.dumps(value), secrets):
        return value
    return _blotted(value, _pattern(secrets))


def without_masked(text: str, secrets: Collection[str]) -> str:
    """A message without what is left of a credential when a part of it was masked."""

    def blot(found: re.Match[str]) -> str:
        head, tail = found[1], found[2]
        known = any(
            (len(head) >= MIN_SHOWN and secret.startswith(head)) or (len(tail) >= MIN_SHOWN and secret.endswith(tail))
            for secret in secrets
        )
        return REDACTED if known else found[0]

    return _MASKED.sub(blot, text) if secrets else text


def _suspicious(text: str, secrets: Collection[str]) -> bool:
    """Whether the strings in a JSON text deserve a closer look: hardly any do."""
    cores = (max(_LETTERS.findall(secret), key=len, default="") for secret in secrets)
    return any(core in text for core in cores) or _FAR_FETCHED.search(text) is not None


def _pattern(secrets: Collection[str]) -> re.Pattern[str]:
    """The longest first: one may be a part of another. Padding at the end may be missing."""
    ordered = sorted(set(secrets), key=len, reverse=True)
    bare = ((secret.rstrip("=") or secret, secret) for secret in ordered)
    return re.compile("|".join(f"{re.escape(core)}={{0,{len(secret) - len(core)}}}" for core, secret in bare))


def _blotted(value: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return pattern.sub(REDACTED, _unescaped(value, pattern))
    if isinstance(value, dict):
        return {_blotted(key, pattern): _blotted(nested, pattern) for key, nested in value.items()}
    if isinstance(value, list):
        return [_blotted(nested, pattern) for nested in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return REDACTED if pattern.fullmatch(jsonb.dumps(value)) else value
    return value


def _unescaped(text: str, pattern: re.Pattern[str]) -> str:
    """The text without what is found in it once every escape is read."""
    if not pattern.search(_ESCAPE.sub(_meant, text)):
        return text
    escapes = list(_ESCAPE.finditer(text))
    read, starts, end = [], [], 0
    length = 0
    for escape in escapes:
        meant = _meant(escape)
        read += [text[end : escape.start()], meant]
        starts.append(length + escape.start() - end)
        length, end = starts[-1] + len(meant), escape.end()
    plain = "".join((*read, text[end:]))
    kept, done = [], 0
    for first, last in _places(pattern.finditer(plain), escapes, starts):
        kept += [text[done:first], REDACTED]
        done = last
    return "".join((*kept, text[done:]))


def _places(
    found: Iterator[re.Match[str]], escapes: list[re.Match[str]], starts: list[int]
) -> Iterator[tuple[int, int]]:
    """Where in the original text that is, which was found in the text that was read out of it."""

    def origin(at: int) -> tuple[int, int]:
        number = bisect_right(starts, at) - 1
        if number < 0:
            return at, at + 1
        escape, behind = escapes[number], at - starts[number] - len(_meant(escapes[number]))
        return escape.span() if behind < 0 else (escape.end() + behind, escape.end() + behind + 1)

    for match in found:
        if match.start() < match.end():
            yield origin(match.start())[0], origin(match.end() - 1)[1]


def _meant(escape: re.Match[str]) -> str:
    """What an escape stands for."""
    kind = escape.lastgroup or ""
    said = escape[kind]
    if kind == "itself":
        return said
    if kind == "reference":
        return html.unescape(f"&{said};")
    if kind == "octets":
        octets = re.findall("%(?:25){0,3}([0-9a-fA-F]{2})", said)
        return bytes(int(octet, 16) for octet in octets).decode(errors="replace")
    return chr(int(said, 16))
