"""What a change expects of what it changes: looked at in the change's transaction, under its lock.

def change(…, expect: Expect[Thing] = anything) -> Thing:
    with db.transaction() as session:
        thing = locked(session, thing_id)
        expect(thing)                     # raises `PreconditionFailed` where it is not what the caller has seen
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
#: Raises if the object, as it is now, is not what the caller expects.
Expect = Callable[[T], None]


def anything(_now: object) -> None:
    """Expects nothing: whatever there is may be changed."""
