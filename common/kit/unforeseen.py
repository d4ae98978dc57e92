"""Errors that nobody has foreseen in reading what others wrote: of values, not of servers that are away."""

from __future__ import annotations

from typing import Final

#: None of them says that a server was unreachable, or that a call was aborted.
VALUE_ERRORS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
