"""What a call costs, in tokens: pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import NotRequired, TypedDict

from common.errors import FieldError
from common.models.base import MAX_TOKENS
from common.models.tools import Metered, PerUnit


class PriceFields(TypedDict):
    """What a call costs, in tokens, as an admin sets it."""

    base_tokens: int
    per_unit: NotRequired[PerUnit | None]
    max_tokens: int
    metered: NotRequired[Metered | None]


def faults(price: PriceFields) -> Iterator[FieldError]:
    """What is wrong with a price."""
    base, per_unit = price.get("base_tokens", 0), price.get("per_unit")
    if base > price.get("max_tokens", 0):
        yield FieldError("/price/max_tokens", "Must not be below base_tokens.")
    if per_unit is not None and base < 1:
        yield FieldError("/price/base_tokens", "Must be at least 1 for a price per unit.")
    if per_unit is None and price.get("metered") is not None:
        yield FieldError("/price/metered", "Allowed only with a price per unit.")


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a call in tokens: `base_tokens`, plus `tokens` per unit that the response reports at `pointer`.

    `metered`: how units are counted where a streamed response reports none; None: they are not.
    """

    base_tokens: int
    per_unit: PerUnit | None
    max_tokens: int
    metered: Metered | None = None

    def hold(self, max_tokens: int | None) -> int:
        """Tokens to hold at submit: the smaller of the price's and the caller's `max_tokens`."""
        return self.max_tokens if max_tokens is None else min(self.max_tokens, max_tokens)

    @property
    def least(self) -> int:
        """The lowest `max_tokens` a caller may set. A call of a tool priced per unit is never free."""
        return self.base_tokens if self.per_unit is None else max(self.base_tokens, min(1, self.max_tokens))

    def exceeds(self, cost: int, held: int) -> bool:
        """Whether a call cost more than the caller allowed. Cost above the price's own maximum is never charged."""
        return min(cost, self.max_tokens) > held

    def units_within(self, tokens: int) -> int | None:
        """The number of whole units that `tokens` pay for; None when units are free."""
        if self.per_unit is None or not self.per_unit["tokens"]:
            return None
        paid = Decimal(tokens - self.base_tokens) / Decimal(str(self.per_unit["tokens"]))
        return int(min(max(paid, Decimal(0)), Decimal(MAX_TOKENS)))

    def cap(self, held: int) -> int | None:
        """The unit limit of a call; None when the hold covers the maximum price."""
        return None if held >= self.max_tokens else self.units_within(held)

    def cost(self, units: float | Decimal | None) -> int:
        """The full price of `units`, rounded up and capped at `MAX_TOKENS`, whatever the tool reports.

        May exceed the hold; `charge` is what is billed.
        """
        if self.per_unit is None or units is None:
            return self.base_tokens
        extra = min(Decimal(str(self.per_unit["tokens"])) * Decimal(str(units)), Decimal(MAX_TOKENS))
        return min(self.base_tokens + int(extra.to_integral_value(ROUND_CEILING)), MAX_TOKENS)

    def charge(self, units: float | Decimal | None, held: int) -> int:
        """Tokens charged for `units`: the full price, at most the hold."""
        return min(self.cost(units), held)
