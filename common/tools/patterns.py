"""Why a pattern of a JSON Schema cannot be used: patterns run in linear time, which rules some features out."""

from __future__ import annotations

import re

import jsonschema_rs

from common.kit.jsonschemas import OPTIONS, REGEX_SIZE_LIMIT

MAX_SHOWN = 100

_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_COUNT = re.compile(r"\{([0-9]{0,9})(?:,([0-9]{0,9}))?\}")
_UNSUPPORTED = {
    "look-around": re.compile(r"\(\?<?[=!]"),
    "a back-reference": re.compile(r"\(\?P=|\\[1-9]|\\k[<{']"),
    "an atomic group": re.compile(r"\(\?>"),
    "a condition": re.compile(r"\(\?\("),
    "a comment": re.compile(r"\(\?#"),
}


def fault(pattern: str) -> str:
    """What is wrong with a pattern that does not compile, in a sentence."""
    shown = pattern if len(pattern) <= MAX_SHOWN else pattern[: MAX_SHOWN - 1] + "…"
    bare = _CLASS.sub("c", _ESCAPE.sub(_letters, pattern))
    for feature, mark in _UNSUPPORTED.items():
        if mark.search(bare):
            return f"The pattern {shown} uses {feature}, which is not supported: patterns run in linear time."
    if len(pattern) > REGEX_SIZE_LIMIT // 100 or _compiles(_COUNT.sub(_once, pattern)):
        return f"The pattern {shown} is too large: compiled, it takes more than {REGEX_SIZE_LIMIT:,} bytes."
    return f"The pattern {shown} is not a regular expression as the Rust crate regex (like RE2) knows them."


def _letters(escape: re.Match[str]) -> str:
    """An escape that may matter, else any letter."""
    return escape[0] if escape[1] in "123456789k" else "c"


def _once(count: re.Match[str]) -> str:
    """No repetition, where there may be so many."""
    return count[0] if count[2] and int(count[1] or 0) > int(count[2]) else ""


def _compiles(pattern: str) -> bool:
    try:
        jsonschema_rs.validator_for({"pattern": pattern}, pattern_options=OPTIONS, validate_formats=True)
    except (jsonschema_rs.ValidationError, ValueError):
        return False
    return True
