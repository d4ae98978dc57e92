"""What a summary is asked for, and the rows that are read for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from common.errors import FieldError, Invalid
from common.usage.figures import MergedRow, StatusRow, UnitRow

#: Rows of one bucket, one group and one status, or of one bucket and one group, that a summary may have of each kind.
MOST: Final = 50_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Account, range, bucket size and grouping of a summary; `stacked`: the groups of each bucket too."""

    user_id: UUID
    since: datetime
    until: datetime
    bucket: str
    group_by: str | None
    stacked: bool = False


@dataclass(slots=True)
class Parts:
    """The parts of a summary. `edges`: merged parts of the buckets that the range cuts, by bucket start.

    `stacks`: instead of `groups`, by bucket start (seconds since 1970) and group, with a space between.
    """

    entries: list[StatusRow]
    total: list[MergedRow] = field(default_factory=list)
    edges: dict[datetime, MergedRow] = field(default_factory=dict)
    units: list[UnitRow] = field(default_factory=list)
    groups: list[MergedRow] = field(default_factory=list)
    stacks: list[MergedRow] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many were read."""
        return sum(len(rows) for rows in (self.entries, self.total, self.units, self.groups, self.stacks)) + len(
            self.edges
        )

    def require_few(self) -> None:
        """Raises `Invalid` for more than `MOST` rows of a kind, of which not all were read then."""
        if any(len(rows) > MOST for rows in (self.entries, self.groups, self.stacks)):
            fault = FieldError("/from", f"The range has more than {MOST:,} buckets and groups with usage.")
            raise Invalid("The range is too long for these groups.", errors=[fault])
