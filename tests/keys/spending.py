"""What the rows and Redis say of a key's allowance."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from common import budgets
from common.invocations import storing, submitting
from common.invocations.choosing import ChosenTool
from common.kit import db
from common.kit import redis as redis_kit
from tests import factories
from tests.keys.conftest import Account, Key


def day_after(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def wipe() -> None:
    redis_kit.client().flushall()


def spent(key: Key) -> tuple[int, int, int]:
    """What the rows say: charged, held, available."""
    shown = key.allowance
    assert shown is not None
    return shown["charged"], shown["held"], shown["available"]


def fields(account: Account) -> dict[str, str]:
    return redis_kit.mapping(redis_kit.client().hgetall(budgets.allowances_key(account.customer.user_id)))


def stored(key: Key, tool: Any, hold: budgets.Hold, made: Any = None) -> bool:
    account = key.account.customer
    row = submitting._row(key.caller, factories.order(), ChosenTool(tool, 10), account.period_id, hold)
    values = {**row, "id": made or uuid4(), "held": 10, "request_hash": "-"}
    return bool(db.execute(storing.SUBMIT, values))
