"""Strict reading of bodies and query strings: every way in which they can be invalid has one defined error.

JSON is exactly RFC 8259, read by the standard library: no duplicate keys, NaN, BOM, lone surrogates or NULs
(PostgreSQL stores neither of the last two), at most `MAX_DEPTH` levels and `MAX_VALUES` values (both counted before
parsing), and numbers within the range of a float. Only bodies whose bytes may hold forbidden characters are searched
for them after parsing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import IO, NoReturn
from urllib.parse import parse_qsl

from flask import Request, current_app

from common import errors
from common.errors import FieldError
from common.kit import shape
from web.http.problems import MAX_FAULTS, RequestTimeout, UnsupportedMediaType, pointer

MAX_DEPTH = 32
MAX_KEYS = 1000
#: Maximum body size without credentials: parsing JSON costs more than receiving it.
PUBLIC_BYTES = 16 * 1024
_SUSPICIOUS = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")
FORBIDDEN_DETAIL = "The characters U+0000 and lone surrogates are not allowed."


def read_json(request: Request, *, required: bool = True, verbatim: frozenset[str] = frozenset()) -> object:
    """The JSON value of the body; `{}` if it is empty and not `required`. Members in `verbatim` may contain U+0000.

    Raises:
        UnsupportedMediaType, errors.Malformed and its subclasses, errors.TooLarge, RequestTimeout, errors.Invalid.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body without Content-Encoding.")
    body = _received(request)
    if not body and not required:
        return {}
    if request.mimetype != "application/json" or request.mimetype_params.get("charset", "utf-8").lower() != "utf-8":
        raise UnsupportedMediaType
    if not body.strip():
        raise errors.BodyRequired
    return parse(body, verbatim)


def max_bytes(request: Request) -> int:
    """Maximum body size in bytes; at most `PUBLIC_BYTES` for views without credentials."""
    limit: int = current_app.config["MAX_CONTENT_LENGTH"]
    policy = getattr(current_app.view_functions.get(request.endpoint or ""), "policy", None)
    return min(limit, PUBLIC_BYTES) if policy is not None and policy.kind == "public" else limit


def refuse_too_large(request: Request, received: int) -> None:
    """Raises `errors.TooLarge`, with the limit in its detail."""
    if received > (limit := max_bytes(request)):
        raise errors.TooLarge(f"The request body is larger than {limit} bytes.")


def _received(request: Request) -> bytes:
    """The complete body or an error, never a part. (Werkzeug silently truncates a chunked body at the limit.)"""
    length = request.content_length
    if length is None and not request.environ.get("wsgi.input_terminated"):
        return b""
    wanted = max_bytes(request) + 1 if length is None else length
    try:
        body = _read(request.input_stream, wanted)
    except TimeoutError:
        raise RequestTimeout("The body did not arrive in time.") from None
    except OSError:
        raise errors.Malformed("The body cannot be read: its transfer framing is invalid.") from None
    refuse_too_large(request, len(body))
    if len(body) < (length or 0):
        raise errors.Malformed("The body is shorter than its Content-Length.")
    return body


def _read(stream: IO[bytes], wanted: int) -> bytes:
    body = bytearray()
    while len(body) < wanted and (piece := stream.read(wanted - len(body))):
        body += piece
    return bytes(body)


def parse(body: bytes, verbatim: frozenset[str] = frozenset()) -> object:
    """Parse one strict JSON value. Raises like `read_json`."""
    try:
        shape.check(body, depth=MAX_DEPTH)
        value: object = _DECODER.decode(body.decode())
    except shape.NestedTooDeep:
        raise errors.TooDeep(f"The body is nested more than {MAX_DEPTH} levels deep.") from None
    except shape.TooManyValues:
        raise errors.Invalid(f"The body has more than {shape.MAX_VALUES:,} values.") from None
    except UnicodeDecodeError as error:
        raise errors.MalformedJson(f"The body is not valid UTF-8: invalid byte at offset {error.start}.") from None
    except json.JSONDecodeError as error:
        raise errors.MalformedJson(f"{error.msg} at line {error.lineno}, column {error.colno}.") from None
    except ValueError:
        raise errors.MalformedJson("A number has too many digits.") from None
    if _SUSPICIOUS.search(body):
        _check_characters(value, verbatim)
    return value


def read_query(request: Request, repeatable: frozenset[str] = frozenset()) -> dict[str, str | list[str]]:
    """The query parameters. Those in `repeatable` are lists; any other may appear once.

    Raises:
        errors.Malformed: the query is not UTF-8.
        errors.Invalid: a parameter is repeated or contains forbidden characters.
    """
    try:
        pairs = parse_qsl(
            request.query_string.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_KEYS
        )
    except UnicodeDecodeError:
        raise errors.Malformed("The query string is not valid UTF-8.") from None
    except ValueError:
        raise errors.Invalid("The query has too many parameters.") from None
    query: dict[str, str | list[str]] = {}
    for name, value in pairs:
        if _FORBIDDEN.search(name) or _FORBIDDEN.search(value):
            raise errors.Invalid("The query is not valid.", errors=[FieldError(pointer(name), FORBIDDEN_DETAIL)])
        if name in repeatable and isinstance(several := query.setdefault(name, []), list):
            several.append(value)
        elif name in query:
            raise errors.Invalid(
                "The query is not valid.", errors=[FieldError(pointer(name), "This parameter can be given only once.")]
            )
        else:
            query[name] = value
    return query


# -- hooks of the JSON decoder ---------------------------------------------------------------------------------


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise errors.DuplicateKey(f"An object has the key {_repeated(pairs)!r} more than once.")
    if len(value) > MAX_KEYS:
        raise errors.Invalid(f"An object has more than {MAX_KEYS} keys.")
    return value


def _repeated(pairs: list[tuple[str, object]]) -> str:
    seen: set[str] = set()
    return next(key for key, _ in pairs if key in seen or seen.add(key))[:80]  # type: ignore[func-returns-value]


def _refuse_constant(name: str) -> NoReturn:
    raise errors.MalformedJson(f"{name} is not valid JSON.")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise errors.MalformedJson("A number is too large.")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite)


# -- forbidden characters---------------------------------------------------------------------------------------


def _check_characters(value: object, verbatim: frozenset[str]) -> None:
    if isinstance(value, dict):
        value = {key: _without_nul(nested) if key in verbatim else nested for key, nested in value.items()}
    found = [FieldError(at, FORBIDDEN_DETAIL) for at in _forbidden(value)]
    if found:
        raise errors.Invalid("The body is not valid.", errors=found[:MAX_FAULTS])


def _without_nul(value: object) -> object:
    return value.replace("\0", "") if isinstance(value, str) else value


def _forbidden(value: object, *path: str | int) -> Iterator[str]:
    """JSON Pointers to text that PostgreSQL cannot store; for an object key, to the object."""
    if isinstance(value, str):
        if _FORBIDDEN.search(value):
            yield pointer(*path)
    elif isinstance(value, dict):
        for key, nested in value.items():
            if _FORBIDDEN.search(key):
                yield pointer(*path)
            yield from _forbidden(nested, *path, key)
    elif isinstance(value, list):
        for index, nested in enumerate(value):
            yield from _forbidden(nested, *path, index)
