"""What a client accepts (RFC 9110 §12.5.1). Of a media range only the type counts, and how much it is wanted: its other
parameters never make a type unacceptable, because no answer of ours comes in variants.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from flask import request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

_BARE_FRACTION = re.compile(r"(;\s*q\s*=\s*)\.", re.IGNORECASE)


def acceptable(media_types: Sequence[str]) -> bool:
    """Whether the client takes an answer in one of these."""
    accepted = _accepted()
    return not accepted or any(accepted.quality(each) > 0 for each in media_types)


def preferred(media_types: Sequence[str]) -> str:
    """Which of these the client would rather have; the first, if it does not mind."""
    accepted = _accepted()
    return max(media_types, key=accepted.quality) if accepted else media_types[0]


def _accepted() -> MIMEAccept:
    """The `Accept` header without parameters. (`*; q=.2` is what Java's own client sends.)"""
    wanted = []
    header = _BARE_FRACTION.sub(r"\g<1>0.", request.headers.get("Accept", ""))
    for media_range, quality in parse_accept_header(header, MIMEAccept):
        name, mark, _ = media_range.partition(";")
        if quality > 0 or not mark:
            wanted.append(("*/*" if name.strip() == "*" else name.strip(), quality))
    return MIMEAccept(wanted)
