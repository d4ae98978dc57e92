"""Explain why a JSON Schema pattern is rejected: patterns run in linear time, which rules out some features."""

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
    """One sentence on why a pattern does not compile."""
    shown = pattern if len(pattern) <= MAX_SHOWN else pattern[: MAX_SHOWN - 1] + "…"
    bare = _CLASS.sub("c", _ESCAPE.sub(_letters, pattern))
    for feature, mark in _UNSUPPORTED.items():
        if mark.search(bare):
            return f"The pattern {shown} uses {feature}, which is not supported: patterns run in linear time."
    if len(pattern) > REGEX_SIZE_LIMIT // 100 or _compiles(_COUNT.sub(_once, pattern)):
        return f"The pattern {shown} is too large: compiled, it takes more than {REGEX_SIZE_LIMIT:,} bytes."
    return f"The pattern {shown} is not valid in the syntax of the Rust crate regex (like RE2)."


def _letters(escape: re.Match[str]) -> str:
    """The escape itself if it may be a back-reference, else a placeholder."""
    return escape[0] if escape[1] in "123456789k" else "c"


def _once(count: re.Match[str]) -> str:
    """Drop a valid repetition count, so that size no longer matters."""
    return count[0] if count[2] and int(count[1] or 0) > int(count[2]) else ""


def _compiles(pattern: str) -> bool:
    try:
        jsonschema_rs.validator_for({"pattern": pattern}, pattern_options=OPTIONS, validate_formats=True)
    except (jsonschema_rs.ValidationError, ValueError):
        return False
    return True
