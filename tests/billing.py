"""What a customer can recompute: the charge of an invocation, from its price and the number that was priced."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import Any

import psycopg

#: The same from the rows: those that the formula does not explain.
UNEXPLAINED = """
select u.invocation_id, u.status, u.tokens_used, u.held, u.units, v.base_tokens, v.per_unit
  from usage_logs u join tool_versions v on v.id = u.tool_version_id
 where u.tokens_used <> case
         when u.tokens_used = 0 and u.units is null then 0
         else least(u.held, v.base_tokens + ceil(coalesce((v.per_unit ->> 'tokens')::numeric * u.units, 0))) end
"""


def recomputed(invocation: dict[str, Any]) -> int:
    """Tokens, by the formula of the documentation alone."""
    billing: dict[str, Any] = invocation["billing"]
    if billing["outcome"] != "charged":
        return 0
    price, per_unit = billing["price"], billing["price"]["per_unit"]
    units = Decimal(0) if per_unit is None else Decimal(str(per_unit["tokens"])) * Decimal(str(billing["units"]))
    return min(int(price["base_tokens"] + units.to_integral_value(ROUND_CEILING)), int(billing["held"]))


def checked(invocation: dict[str, Any]) -> dict[str, Any]:
    """The invocation, once its charge is explained."""
    assert invocation["billing"]["charged"] == recomputed(invocation), invocation["billing"]
    return dict(invocation)


def unexplained(database_url: str) -> list[Any]:
    """Rows of the usage log whose charge does not follow from price and units."""
    with psycopg.connect(database_url) as connection:
        return connection.execute(UNEXPLAINED).fetchall()
