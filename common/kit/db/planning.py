"""How the sessions of a process plan their statements (docs/decisions/kept-plans.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: A session keeps the plan of a prepared statement, and it may have been made while a table was empty: reading all of
#: it was cheapest then, and is not once it has filled. With `jit` on, this would cost a second of compiling wherever
#: PostgreSQL has no other way than to read all.
PLANNING: Final = {"enable_seqscan": "off"}
#: The same where rows are taken in the order of an index. If PostgreSQL believes that few rows are ready, reading these
#: by any index and sorting them seems cheaper: once there are many, each claim reads and sorts all of them.
IN_ORDER: Final = PLANNING | {"enable_bitmapscan": "off"}


def as_options(settings: Mapping[str, str]) -> str:
    """As libpq takes them in `options`."""
    return " ".join(f"-c {name}={value}" for name, value in settings.items())
