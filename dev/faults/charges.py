"""What an invocation must cost: by what the tool answered and the price that it was offered at, not by any row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dev.faults.oraclelog import Seen

Told = Mapping[str, Any]
Price = Mapping[str, Any]


def holds(price: Price, max_tokens: int | None) -> int:
    """What a submit must hold: the smaller of the tool's limit and the caller's."""
    most = int(price["max_tokens"])
    return most if max_tokens is None else min(most, max_tokens)


def cost(price: Price, units: int, held: int) -> int:
    """What a success must cost when the tool has answered so many units."""
    per_unit = price["per_unit"]
    whole = int(price["base_tokens"]) + (int(per_unit["tokens"]) * units if per_unit else 0)
    return min(held, whole)


def wrong(told: Told, price: Price, max_tokens: int | None, seen: Seen) -> Iterator[str]:
    """What is not as it must be in the bill of one ended invocation."""
    id_, bill = told["id"], told["billing"]
    held = holds(price, max_tokens)
    if bill["held"] != held:
        yield f"I10 held {bill['held']} instead of {held}: {id_}"
    if told["status"] != "succeeded":
        if bill["charged"]:
            yield f"I10 {told['status']}, and charged {bill['charged']}: {id_}"
        return
    answered = seen.units.get(id_, set())
    if not answered:
        yield f"I10 succeeded, and the tool never answered: {id_}"
    elif bill["charged"] not in {cost(price, units, held) for units in answered}:
        yield f"I10 charged {bill['charged']} for {sorted(answered)} units at {dict(price)}, held {held}: {id_}"
    if isinstance(told["output"], dict) and answered and told["output"].get("units") not in answered:
        yield f"I10 an output that the tool never gave: {told['output']}: {id_}"
