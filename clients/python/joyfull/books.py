"""One's own bill, recomputed from its rows: each line of it is a statement that the rows can refute."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from math import ceil
from pathlib import Path

from joyfull.errors import ConfigurationError
from joyfull.wire import Json

ENDS = ("succeeded", "failed", "canceled", "expired")


@dataclass(frozen=True, slots=True)
class Check:
    """One statement about the rows, and what refutes it."""

    statement: str
    differences: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing refutes it."""
        return not self.differences


@dataclass(frozen=True, slots=True)
class BooksReport:
    """What was checked."""

    from_: datetime
    to: datetime
    invocations: int
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether every statement holds."""
        return all(check.holds for check in self.checks)


@dataclass(slots=True)
class Rows:
    """What a report is made from: rows as the API sent them."""

    from_: str
    to: str
    invocations: dict[str, Json] = field(default_factory=dict)
    usage: list[Json] = field(default_factory=list)
    summary: Json = None
    #: The statement of the current period, before and after everything else was read.
    statement: Json = None
    statement_after: Json = None

    def save(self, directory: Path) -> None:
        """Keep them. Raises ConfigurationError if an ended row that was kept before is another now."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "books.json"
        if path.exists():
            changed = list(_changed(Rows.load(directory), self))
            if changed:
                raise ConfigurationError(f"rows of the past have changed since the last save: {', '.join(changed)}")
        partial = path.with_suffix(".part")
        content = {name: getattr(self, name) for name in self.__slots__}
        partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
        partial.replace(path)

    @classmethod
    def load(cls, directory: Path) -> Rows:
        """What was kept."""
        try:
            return cls(**json.loads((directory / "books.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ConfigurationError(f"{directory} has no rows that were saved: {error}") from error


def _changed(before: Rows, now: Rows) -> Iterator[str]:
    """Ended invocations and their usage that are not what they were. Payloads may be dropped in time."""
    entries = {each["id"]: each for each in now.usage}
    for each in before.usage:
        if before.from_ >= now.from_ and before.to <= now.to and entries.get(each["id"]) != each:
            yield f"usage {each['id']}"
    for identifier, each in before.invocations.items():
        again = now.invocations.get(identifier)
        if again is not None and each["status"] in ENDS and _fact(each) != _fact(again):
            yield f"invocation {identifier}"


def _fact(invocation: Json) -> Json:
    return {name: invocation.get(name) for name in ("id", "status", "billing", "created_at", "finished_at", "attempts")}


# -- checking ---------------------------------------------------------------------------------------------------


def report(rows: Rows) -> BooksReport:
    """Every statement, held against the rows."""
    ended = [each for each in rows.invocations.values() if each["status"] in ENDS]
    free = [each for each in ended if each["billing"]["outcome"] == "free"]
    checks = (
        _check(f"{len(ended):,} ended invocations, each with exactly one usage entry", _entries(rows, ended)),
        _check("every charge is the price's, and no more than was held", _charges(ended)),
        _check(f"nothing was charged for {len(free):,} free invocations", _free_ends(ended)),
        _check("the usage entry of each invocation has its charge", _amounts(rows)),
        _check(f"Σ usage {_sum(rows.usage):,} = summary", _summary(rows)),
        _check("granted = charged + held + available", _balance(rows.statement)),
        *_period(rows),
    )
    moments = (datetime.fromisoformat(rows.from_), datetime.fromisoformat(rows.to))
    return BooksReport(*moments, len(rows.invocations), checks)


def _check(statement: str, differences: Iterable[str]) -> Check:
    return Check(statement, tuple(differences))


def _entries(rows: Rows, ended: list[Json]) -> Iterator[str]:
    counts: dict[str, int] = {}
    for entry in rows.usage:
        counts[entry["invocation_id"]] = counts.get(entry["invocation_id"], 0) + 1
    for each in ended:
        begun, finished = datetime.fromisoformat(rows.from_), datetime.fromisoformat(each["finished_at"])
        inside = begun <= finished < datetime.fromisoformat(rows.to)
        if counts.get(each["id"], 0) != 1 and (inside or counts.get(each["id"], 0) > 1):
            yield f"{each['id']} has {counts.get(each['id'], 0)}"


def price_of(billing: Json) -> int:
    """What a success costs, by the price and the units that it was charged by."""
    price = billing["price"]
    if price["per_unit"] is None:
        return int(price["base_tokens"])
    # As decimals, which is how both were written: 0.1 as a binary fraction would round up too early.
    units = Fraction(str(price["per_unit"]["tokens"])) * Fraction(str(billing["units"] or 0))
    return min(ceil(int(price["base_tokens"]) + units), int(price["max_tokens"]))


def _charges(ended: list[Json]) -> Iterator[str]:
    for each in ended:
        billing = each["billing"]
        if billing["charged"] > billing["held"]:
            yield f"{each['id']}: {billing['charged']} of {billing['held']} held"
        elif billing["outcome"] == "charged":
            exceeded = billing["reason"] == "cost_exceeded"
            expected = billing["held"] if exceeded else price_of(billing)
            if billing["charged"] != expected:
                yield f"{each['id']}: {billing['charged']} instead of {expected}"


def _free_ends(ended: list[Json]) -> Iterator[str]:
    for each in ended:
        billing = each["billing"]
        free = each["status"] == "expired" or (each["status"] == "failed" and billing["reason"] != "cost_exceeded")
        if billing["charged"] and (free or billing["outcome"] == "free"):
            yield f"{each['id']} {each['status']}: {billing['charged']}"


def _amounts(rows: Rows) -> Iterator[str]:
    for entry in rows.usage:
        invocation = rows.invocations.get(entry["invocation_id"])
        if invocation is not None and invocation["billing"]["charged"] != entry["tokens_used"]:
            yield f"{invocation['id']}: {entry['tokens_used']} in usage, {invocation['billing']['charged']} charged"


def _sum(usage: list[Json]) -> int:
    return sum(int(entry["tokens_used"]) for entry in usage)


def _summary(rows: Rows) -> Iterator[str]:
    found = rows.summary["totals"]["tokens_used"]
    if found != _sum(rows.usage):
        yield f"the summary says {found:,}"


def _balance(statement: Json) -> Iterator[str]:
    if statement["granted"] is not None:
        parts = statement["charged"] + statement["held"] + statement["available"]
        if statement["granted"] != parts:
            yield f"{statement['granted']:,} granted, {parts:,} found"


def _period(rows: Rows) -> Iterator[Check]:
    """Only of the whole current period, and only when nothing was settled while it was read."""
    period = rows.statement["period"]
    charged = rows.statement["charged"]
    whole = datetime.fromisoformat(rows.from_) <= datetime.fromisoformat(period["starts_at"])
    if not whole or charged != rows.statement_after["charged"]:
        return
    start = datetime.fromisoformat(period["starts_at"])
    own = [each for each in rows.invocations.values() if datetime.fromisoformat(each["created_at"]) >= start]
    found = sum(int(each["billing"]["charged"]) for each in own)
    different = () if found == charged else (f"{found:,} by its invocations",)
    yield Check(f"the period was charged {charged:,}", different)
