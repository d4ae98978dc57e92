"""Content negotiation by `Accept` (RFC 9110 §12.5.1).

Only the type and quality of a media range count. Other parameters never make a type unacceptable, because none of our
representations has variants. A header of more than `MAX_CHARS` characters is disregarded, which that section allows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from flask import request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

MAX_CHARS: Final = 1_000
_BARE_FRACTION = re.compile(r"(;\s*q\s*=\s*)\.", re.IGNORECASE)


def acceptable(media_types: Sequence[str]) -> bool:
    """Whether the client accepts one of these media types."""
    accepted = _accepted()
    return not accepted or any(accepted.quality(each) > 0 for each in media_types)


def preferred(media_types: Sequence[str]) -> str:
    """The media type that the client prefers; the first one without a preference."""
    accepted = _accepted()
    return max(media_types, key=accepted.quality) if accepted else media_types[0]


def _accepted() -> MIMEAccept:
    header = request.headers.get("Accept", "")
    return _parsed(header if len(header) <= MAX_CHARS else "")


@lru_cache(maxsize=64)
def _parsed(header: str) -> MIMEAccept:
    """An `Accept` header without parameters. Also reads `*; q=.2`, which Java's HTTP client sends."""
    wanted = []
    header = _BARE_FRACTION.sub(r"\g<1>0.", header)
    for media_range, quality in parse_accept_header(header, MIMEAccept):
        name, mark, _ = media_range.partition(";")
        if quality > 0 or not mark:
            wanted.append(("*/*" if name.strip() == "*" else name.strip(), quality))
    return MIMEAccept(wanted)
