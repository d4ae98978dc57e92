"""Redact credentials that a tool or a receiver echoes in its response.

Every string, key and number of the parsed value is searched. A credential is found verbatim, and with any of its
characters escaped once or several times: as JSON or JavaScript within a string, percent-encoded, or as an HTML
character reference (by number, or one of the five that XML has). Encodings of the whole are secrets of their own, for
the caller to name.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Collection, Iterator

from common.kit import jsonb

REDACTED = "[redacted]"
MIN_SHOWN = 3
#: Providers quote a wrong key with its middle masked.
_MASKED = re.compile(
    r"([\w+/.=-]{0,200}?)(?:\*{1,200}|#{2,200}|\[?(?:\.{3}|…)\]?|[xX]{4,200}|•{2,200})([\w+/=-]{0,200})"
)
#: The next octet of a character. What is no UTF-8 is no escape: its digits may be the beginning of a credential.
_NEXT = r"%(?:25){0,3}[89abAB][0-9a-fA-F]"
_ESCAPE = re.compile(
    r"\\{1,8}(?:u(?P<unit>[0-9a-fA-F]{4})|x(?P<byte>[0-9a-fA-F]{2})"
    r"|[ux]\{0{0,5}(?P<point>10[0-9a-fA-F]{4}|[0-9a-fA-F]{1,5})\}|(?P<itself>[^\w\s\\]))"
    rf"|(?P<octets>(?:%(?:25){{0,3}}(?:[cCdD][0-9a-fA-F]|[eE][0-9a-fA-F]{_NEXT}|[fF][0-4]{_NEXT}{_NEXT}){_NEXT})+)"
    r"|%(?:25){0,3}(?P<octet>[0-7][0-9a-fA-F])"
    r"|&(?:amp;){0,3}(?P<reference>#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|lt|gt|quot|apos|amp);"
)
#: In JSON text: a letter or digit that is escaped without need.
_NEEDLESS_ESCAPE = re.compile(
    r"%(?:25)*(?:3[0-9]|[46][1-9a-fA-F]|[57][0-9aA])|&(?:amp;)*#"
    r"|\\(?:u00|x|[ux]\{0{0,5})(?:3[0-9]|[46][1-9a-fA-F]|[57][0-9aA])"
)
_LETTERS = re.compile(r"[0-9A-Za-z]+")


def without(value: object, secrets: Collection[str]) -> object:
    """The value with the secrets redacted."""
    if not secrets or not _suspicious(jsonb.dumps(value), secrets):
        return value
    return redacted(value, pattern_of(secrets))


def without_masked(text: str, secrets: Collection[str]) -> str:
    """Redact a partly masked credential in a message."""

    def redact(found: re.Match[str]) -> str:
        head, tail = found[1], found[2]
        known = any(
            (len(head) >= MIN_SHOWN and secret.startswith(head)) or (len(tail) >= MIN_SHOWN and secret.endswith(tail))
            for secret in secrets
        )
        return REDACTED if known else found[0]

    return _MASKED.sub(redact, text) if secrets else text


def _suspicious(text: str, secrets: Collection[str]) -> bool:
    """Quick check whether a JSON text may contain a secret; most do not."""
    cores = (max(_LETTERS.findall(secret), key=len, default="") for secret in secrets)
    return any(core in text for core in cores) or _NEEDLESS_ESCAPE.search(text) is not None


def pattern_of(secrets: Collection[str]) -> re.Pattern[str]:
    """Matches any of the secrets, the longest first, as one may contain another. Trailing padding is optional."""
    ordered = sorted(set(secrets), key=len, reverse=True)
    bare = ((secret.rstrip("=") or secret, secret) for secret in ordered)
    return re.compile("|".join(f"{re.escape(core)}={{0,{len(secret) - len(core)}}}" for core, secret in bare))


def redacted(value: object, pattern: re.Pattern[str]) -> object:
    """The value with what matches redacted."""
    if isinstance(value, str):
        return pattern.sub(REDACTED, _unescaped(value, pattern))
    if isinstance(value, dict):
        return {redacted(key, pattern): redacted(nested, pattern) for key, nested in value.items()}
    if isinstance(value, list):
        return [redacted(nested, pattern) for nested in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return REDACTED if pattern.fullmatch(jsonb.dumps(value)) else value
    return value


def _unescaped(text: str, pattern: re.Pattern[str]) -> str:
    """Redact the matches that appear only when the escapes are decoded."""
    if not pattern.search(_ESCAPE.sub(_decoded, text)):
        return text
    kept, done = [], 0
    for first, last in Decoded(text).spans(pattern):
        kept += [text[done:first], REDACTED]
        done = last
    return "".join((*kept, text[done:]))


class Decoded:
    """A text with its escapes decoded (`plain`), and where in the text each character of that comes from."""

    def __init__(self, text: str) -> None:
        self._escapes = list(_ESCAPE.finditer(text))
        self._starts: list[int] = []
        read: list[str] = []
        end = length = 0
        for escape in self._escapes:
            meant = _decoded(escape)
            read += [text[end : escape.start()], meant]
            self._starts.append(length + escape.start() - end)
            length, end = self._starts[-1] + len(meant), escape.end()
        self.plain = "".join((*read, text[end:]))

    def origin(self, at: int) -> tuple[int, int]:
        """The span in the text of one character of `plain`."""
        number = bisect_right(self._starts, at) - 1
        if number < 0:
            return at, at + 1
        escape = self._escapes[number]
        behind = at - self._starts[number] - len(_decoded(escape))
        return escape.span() if behind < 0 else (escape.end() + behind, escape.end() + behind + 1)

    def spans(self, pattern: re.Pattern[str]) -> Iterator[tuple[int, int]]:
        """The spans in the text of what matches in `plain`."""
        for match in pattern.finditer(self.plain):
            if match.start() < match.end():
                yield self.origin(match.start())[0], self.origin(match.end() - 1)[1]


def _decoded(escape: re.Match[str]) -> str:
    """Decode an escape."""
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
