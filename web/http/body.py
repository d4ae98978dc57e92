"""Strict reading of bodies and query strings: every way in which they can be invalid has one defined error.

JSON is read by `common.kit.strict_json`, and its strings may have neither U+0000 nor lone surrogates, which PostgreSQL
does not store.
"""

from __future__ import annotations

from itertools import islice
from typing import IO

import marshmallow as ma
from flask import Request, current_app, g

from common import errors
from common.errors import FieldError
from common.kit import strict_json
from web.http import faces, large_bodies, urlencoded
from web.http.connections import FieldsTooLarge
from web.http.problems import HeadersTooLarge, RequestTimeout, UnsupportedMediaType
from web.http.validation import MAX_FAULTS, loaded, pointer

FORM = "application/x-www-form-urlencoded"
MAX_DEPTH = 32
MAX_KEYS = 1000
#: Maximum body size without credentials: parsing JSON costs more than receiving it.
PUBLIC_BYTES = 16 * 1024
_READER = strict_json.JsonReader(depth=MAX_DEPTH, keys=MAX_KEYS)
_ERRORS: dict[type[strict_json.UnacceptableJson], type[errors.PlatformError]] = {
    strict_json.NotJson: errors.MalformedJson,
    strict_json.RepeatedKey: errors.DuplicateKey,
    strict_json.NestedTooDeep: errors.TooDeep,
    strict_json.TooManyValues: errors.Invalid,
}
FORBIDDEN_DETAIL = "The characters U+0000 and lone surrogates are not allowed."


def read_json(request: Request, *, required: bool = True, verbatim: frozenset[str] = frozenset()) -> object:
    """The JSON value of the body; `{}` if it is empty and not `required`. Members in `verbatim` may contain U+0000.

    Raises:
        UnsupportedMediaType, errors.Malformed and its subclasses, errors.TooLarge, RequestTimeout, HeadersTooLarge,
        errors.Invalid, errors.RateLimited.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body without Content-Encoding.")
    body = _received(request)
    if once_arrived := g.pop("once_arrived", None):
        once_arrived()
    if not body and not required:
        return {}
    if request.mimetype != "application/json" or request.mimetype_params.get("charset", "utf-8").lower() != "utf-8":
        raise UnsupportedMediaType
    if not body.strip():
        raise errors.BodyRequired
    return parse(body, verbatim)


def load(
    request: Request, schema: ma.Schema, *, required: bool = True, verbatim: frozenset[str] = frozenset()
) -> object:
    """The body, read as `read_json` does and loaded with `schema`; the face decides about fields that it does not have.

    Raises what `read_json` does, and `errors.Invalid` with a pointer to every invalid field.
    """
    ignored = faces.current().unknown_fields == "ignored"
    value = read_json(request, required=required, verbatim=verbatim)
    return loaded(schema, value, ignore_unknown=ignored)


def max_bytes(request: Request) -> int:
    """Maximum body size in bytes; at most `PUBLIC_BYTES` for views without credentials."""
    limit: int = current_app.config["MAX_CONTENT_LENGTH"]
    policy = getattr(current_app.view_functions.get(request.endpoint or ""), "policy", None)
    return min(limit, PUBLIC_BYTES) if policy is not None and policy.kind == "public" else limit


def refuse_too_large(request: Request, received: int) -> None:
    """Raises `errors.TooLarge`, with the limit in its detail."""
    if received > (limit := max_bytes(request)):
        raise errors.TooLarge(f"The request body is larger than {limit} bytes.")


def receive_ahead(request: Request) -> None:
    """Receive the body now, for `read_json`. Raises what that does of a body that cannot be received."""
    g.body_received = _received(request)


def _received(request: Request) -> bytes:
    """The complete body or an error, never a part. (Werkzeug silently truncates a chunked body at the limit.)"""
    if (ahead := g.pop("body_received", None)) is not None:
        return bytes(ahead)
    length = request.content_length
    if length is None and not request.environ.get("wsgi.input_terminated"):
        return b""
    wanted = max_bytes(request) + 1 if length is None else length
    try:
        body = _read(request.input_stream, wanted)
    except TimeoutError:
        raise RequestTimeout("The body did not arrive in time.") from None
    except FieldsTooLarge:
        raise HeadersTooLarge from None
    except OSError:
        raise errors.Malformed("The body cannot be read: its transfer framing is invalid or too large.") from None
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
        with large_bodies.turn(len(body)):
            value = _READER.read(body)
            paths = strict_json.unstorable(body, _without_nul(value, verbatim) if verbatim else value)
            found = [FieldError(pointer(*path), FORBIDDEN_DETAIL) for path in islice(paths, MAX_FAULTS)]
    except strict_json.UnacceptableJson as refusal:
        raise _ERRORS[type(refusal)](f"The body {refusal}") from None
    if found:
        raise errors.Invalid("The body is not valid.", errors=found)
    return value


def _without_nul(value: object, members: frozenset[str]) -> object:
    if not isinstance(value, dict):
        return value
    return {
        key: nested.replace("\0", "") if key in members and isinstance(nested, str) else nested
        for key, nested in value.items()
    }


def read_query(request: Request, repeatable: frozenset[str] = frozenset()) -> dict[str, str | list[str]]:
    """The query parameters. Those in `repeatable` are lists; any other may appear once.

    Raises:
        errors.Malformed: the query is not UTF-8.
        errors.Invalid: a parameter is repeated or contains forbidden characters.
    """
    return _fields(_pairs(request.query_string, "query"), "query", repeatable)


def read_form(
    request: Request, repeatable: frozenset[str] = frozenset(), verbatim: frozenset[str] = frozenset()
) -> dict[str, str | list[str]]:
    """The fields of a submitted HTML form, as `read_query` has those of a query; line breaks are line feeds.

    Fields in `verbatim` are as they were typed, and may contain U+0000.

    Raises:
        UnsupportedMediaType, errors.TooLarge, RequestTimeout, HeadersTooLarge, errors.Malformed, errors.Invalid,
        errors.RateLimited.
    """
    if request.mimetype != FORM:
        raise UnsupportedMediaType(f"Send the form as {FORM}.")
    pairs = [
        (name, value if name in verbatim else value.replace("\r\n", "\n"))
        for name, value in _pairs(_received(request), "form")
    ]
    return _fields(pairs, "form", repeatable, verbatim)


def _pairs(encoded: bytes, what: str) -> list[tuple[str, str]]:
    try:
        with large_bodies.turn(len(encoded)):
            return urlencoded.pairs(encoded, MAX_KEYS)
    except UnicodeDecodeError:
        raise errors.Malformed(f"The {what} is not valid UTF-8.") from None
    except ValueError:
        raise errors.Invalid(f"The {what} has too many parameters.") from None


def _fields(
    pairs: list[tuple[str, str]], what: str, repeatable: frozenset[str], verbatim: frozenset[str] = frozenset()
) -> dict[str, str | list[str]]:
    found: dict[str, str | list[str]] = {}
    for name, value in pairs:
        checked = name if name in verbatim else name + value
        if strict_json.FORBIDDEN.search(checked):
            raise errors.Invalid(f"The {what} is not valid.", errors=[FieldError(pointer(name), FORBIDDEN_DETAIL)])
        if name in repeatable and isinstance(several := found.setdefault(name, []), list):
            several.append(value)
        elif name in found:
            detail = "This parameter can be given only once."
            raise errors.Invalid(f"The {what} is not valid.", errors=[FieldError(pointer(name), detail)])
        else:
            found[name] = value
    return found
