"""Addresses of tools with variables: RFC 6570, simple expansion in the path, and `{?a,b}` at the end for the query.

    https://api.example.com/pets/{petId}/photos{?limit}

A variable names a property of the input, which is not sent elsewhere then. In the path each value is one segment, or a
part of one: everything but letters, digits and `-._~` is percent-encoded, and what would be no segment (nothing, `.`,
`..`) is refused. So no value changes the host, the path around it or the query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from common.kit import jsonb

#: As RFC 6570 §2.3, and `-`, which many APIs have in their names; their escapes are not supported.
NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,98}[A-Za-z0-9_])?")
_NAMES = rf"{NAME.pattern}(?:,{NAME.pattern})*"
_EXPRESSION: Final = re.compile(rf"\{{({NAME.pattern})\}}")
_QUERY: Final = re.compile(rf"\{{\?({_NAMES})\}}\Z")
_AUTHORITY: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_BRACES: Final = re.compile(r"[{}]")
#: The address with its values, in characters: the outbound client takes no longer ones.
MAX_CHARS: Final = 2_048


class Unfillable(Exception):
    """A value cannot be a part of an address. The message is a sentence."""


@dataclass(frozen=True, slots=True)
class Filled:
    """An address with the values in it; query parameters; and what of the input they did not take."""

    url: str
    query: tuple[tuple[str, object], ...]
    rest: Mapping[str, object]


def in_path(url: str) -> tuple[str, ...]:
    """The variables of the path, which every input needs."""
    return tuple(dict.fromkeys(_EXPRESSION.findall(fixed(url))))


def in_query(url: str) -> tuple[str, ...]:
    """The variables of `{?…}`, which an input may leave out."""
    found = _QUERY.search(url)
    return tuple(dict.fromkeys(found[1].split(","))) if found else ()


def fixed(url: str) -> str:
    """The address without `{?…}`: what it says itself."""
    return _QUERY.sub("", url)


def has_variables(url: str) -> bool:
    """Whether it is a template."""
    return _BRACES.search(url) is not None


def faults(url: str, input_schema: Mapping[str, object]) -> Iterable[str]:
    """Why this is no template, or none for inputs of this schema, in sentences."""
    if not has_variables(url):
        return
    base = fixed(url)
    authority = _AUTHORITY.match(base)
    if authority is None or _BRACES.search(authority[0]):
        yield "Variables stand in the path, never in the host."
        return
    path, *_ = re.split(r"[?#]", base[authority.end() :], maxsplit=1)
    if _BRACES.search(_EXPRESSION.sub("", path)) or _BRACES.search(base[authority.end() + len(path) :]):
        yield "Variables are {name} in the path and {?name,name} at the end; the rest has no braces."
        return
    both = {*in_path(url)} & {*in_query(url)}
    required, properties = input_schema.get("required"), input_schema.get("properties")
    for name in in_path(url):
        if name in both:
            yield f"{{{name}}} stands in the path and in the query."
        elif not isinstance(required, list) or name not in required:
            yield f"{{{name}}} is no required property of the input."
    for name in in_query(url):
        if not isinstance(properties, Mapping) or name not in properties:
            yield f"{{?{name}}} is no property of the input."


def fill(url: str, value: object) -> Filled:
    """The address for one input. Raises `Unfillable`."""
    if not isinstance(value, Mapping):
        raise Unfillable("The input must be an object, because the tool's address has variables.")
    path, query = in_path(url), in_query(url)
    base = fixed(url)
    filled = _EXPRESSION.sub(lambda match: _segment(match[1], value.get(match[1])), base)
    if len(filled) > MAX_CHARS:
        raise Unfillable(f"The tool's address has more than {MAX_CHARS:,} characters with these values.")
    _require_same_place(base, filled)
    asked = tuple((name, value[name]) for name in query if name in value)
    return Filled(filled, asked, {name: each for name, each in value.items() if name not in (*path, *query)})


def _segment(name: str, value: object) -> str:
    """A value as a part of a path segment: a list is joined with commas (RFC 6570 §3.2.2)."""
    several = value if isinstance(value, list) else [value]
    words = [_word(name, each) for each in several]
    if "" in words or not words:
        raise Unfillable(f"{name} is empty, so there is nothing to put into the tool's address.")
    try:
        return ",".join(quote(word, safe="") for word in words)
    except UnicodeEncodeError:
        raise Unfillable(f"{name} is not valid Unicode.") from None


def _word(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, list | dict):
        raise Unfillable(f"{name} must be a string, number or boolean, or a list of them, to stand in the address.")
    return jsonb.dumps(value)


def _require_same_place(template: str, filled: str) -> None:
    """What `_segment` makes certain, once more as a whole: and no segment is `.` or `..`, encoded or not."""
    before, after = urlsplit(template), urlsplit(filled)
    segments = after.path.split("/")
    same = (before.scheme, before.netloc, before.query) == (after.scheme, after.netloc, after.query)
    if not same or len(segments) != len(before.path.split("/")) or after.fragment != before.fragment:
        raise Unfillable("A value would change the tool's address.")
    if any(unquote(unquote(segment)) in (".", "..") for segment in segments):
        raise Unfillable("A value would be . or .. in the tool's address.")
