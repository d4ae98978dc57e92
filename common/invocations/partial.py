"""What a canceled stream is charged for: pure."""

from __future__ import annotations

import json

from common.invocations.model import Shown
from common.tools import Price, metering
from common.tools.adapters import reading
from common.tools.streamed import Assembly

#: The `finish_reason` of what was not finished.
CANCELED = "canceled"


def left_of(price: Price, text: str, shown: Assembly) -> Shown:
    """What was shown for the input `text`, and its cost: that of the units that were reported, or else counted.

    Without a meter it costs nothing.
    """
    whole = shown.whole()
    choices = [{**each, "finish_reason": each["finish_reason"] or CANCELED} for each in shown.choices()]
    output = {**whole, "choices": choices}
    if price.metered is None or price.per_unit is None:
        return Shown(output)
    try:
        units, basis = reading.units(whole, price.per_unit["pointer"]), "reported"
    except reading.Unreadable:
        units, basis = metering.units(price.metered, json.loads(text), whole), "metered"
    return Shown(output, price.cost(units), units, basis)
