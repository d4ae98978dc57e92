"""What an invocation must cost: by what the tool answered and the price that it was offered at, not by any row."""

from __future__ import annotations

from collections.abc import Iterator

from tools.faults.memory import Told
from tools.faults.oraclelog import Seen

Price = Told
#: An answer that costs more than the caller allowed: paid with what was held, and withheld.
EXCEEDED = "cost_exceeded"


def holds(price: Price, max_tokens: int | None) -> int:
    """What a submit must hold: the smaller of the tool's limit and the caller's."""
    most = int(price["max_tokens"])
    return most if max_tokens is None else min(most, max_tokens)


def cost(price: Price, units: int) -> int:
    """What so many units cost, whatever was held."""
    per_unit = price["per_unit"]
    return int(price["base_tokens"]) + (int(per_unit["tokens"]) * units if per_unit else 0)


def wrong(told: Told, price: Price, max_tokens: int | None, seen: Seen) -> Iterator[str]:
    """What is not as it must be in the bill of one ended invocation."""
    id_, bill = told["id"], told["billing"]
    held, ended = holds(price, max_tokens), (told["status"], (told.get("error") or {}).get("code"))
    if bill["held"] != held:
        yield f"I10 held {bill['held']} instead of {held}: {id_}"
    if ended not in (("succeeded", None), ("failed", EXCEEDED)):
        if bill["charged"]:
            yield f"I10 {told['status']}, and charged {bill['charged']}: {id_}"
        return
    answered = seen.units.get(id_, set())
    due = {_end(price, units, max_tokens, held) for units in answered}
    if not answered:
        yield f"I10 {told['status']}, and the tool never answered: {id_}"
    elif (*ended, bill["charged"]) not in due:
        yield f"I10 {ended}, charged {bill['charged']} of {held} for {sorted(answered)} units at {dict(price)}: {id_}"
    if isinstance(told["output"], dict) and answered and told["output"].get("units") not in answered:
        yield f"I10 an output that the tool never gave: {told['output']}: {id_}"


def _end(price: Price, units: int, max_tokens: int | None, held: int) -> tuple[str, str | None, int]:
    """How a call must end whose answer had so many units: status, error code, charge."""
    due = cost(price, units)
    if max_tokens is not None and due > max_tokens:
        return "failed", EXCEEDED, held
    return "succeeded", None, min(held, due)
