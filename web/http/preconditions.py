"""Strong entity tags of resources, and `If-Match` of those that change them (RFC 9110 §8.8.3, §13.1.1).

A tag is a digest of the representation, so that it changes with every member of it. What a PATCH expects is handed to
its verb, which asks under the lock of the row: of two requests that have seen the same state, one changes it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable

from flask import Response, after_this_request, request

from common import errors
from common.kit import jsonb
from common.kit.expecting import Expect, anything

#: The representation of an object, as JSON.
Show = Callable[[object], object]
#: One element of a list of entity tags, which may be empty (RFC 9110 §5.6.1), and the comma after it.
_ELEMENT = re.compile(r'[ \t]*(?:(W/)?("[\x21\x23-\x7e\x80-\xff]*"))?[ \t]*(?:,|\Z)')


def tag(shown: object) -> str:
    """The opaque part of the tag of a representation."""
    return base64.urlsafe_b64encode(hashlib.sha256(jsonb.canonical(shown)).digest()[:15]).decode()


def tagged(shown: object) -> None:
    """Give the response of this request the tag of a representation, if it succeeds."""

    def add(response: Response) -> Response:
        if response.status_code < 300:
            response.set_etag(tag(shown))
            response.headers["Cache-Control"] = "no-store"  # a tag to write with; it may stand beside a secret
        return response

    after_this_request(add)


def expected(show: Show) -> Expect[object]:
    """What `If-Match` of this request expects of the resource. Raises `InvalidHeader`."""
    lines = request.headers.getlist("If-Match")
    if not lines:
        return anything
    wanted = _strong(",".join(lines))

    def expect(now: object) -> None:
        if wanted is not None and tag(show(now)) not in wanted:
            raise errors.PreconditionFailed

    return expect


def _strong(given: str) -> frozenset[str] | None:
    """The strong tags of a list; None for `*`, which any state matches. A weak tag never matches."""
    if given.strip() == "*":
        return None
    elements, at = [], 0
    while at < len(given) and (match := _ELEMENT.match(given, at)):
        elements.append((match[1], match[2]))
        at = match.end()
    if at < len(given) or not any(tag for _, tag in elements):
        raise errors.InvalidHeader('If-Match is either * or a list of entity tags in quotes: "a", "b".')
    return frozenset(tag.strip('"') for weak, tag in elements if tag and not weak)
