"""The token budget: PostgreSQL holds the truth, Redis the fast gate in front of it.

Truth, per period: `granted` = Σ grants, `charged` = Σ usage, `held` = Σ open queue rows, and always
`granted = charged + held + available`. The gate is one hash that admits or refuses in one atomic script. It may
vanish, be wiped in the middle of anything, or come back hours old: then it says `unknown` and is rebuilt.

Why admission stays right through that: a rebuild first raises `periods.epoch` and commits, then reads the truth,
then installs it under that number. A hold names the epoch it was taken under, and the row it is for commits only
while that epoch is current (`common/invocations` checks it in the INSERT, with a share lock). So whatever an
installed state has not seen can no longer commit. docs/books.md tells it slowly. The same goes for a database that has
gone back in time (a replica promoted, a backup restored): it is another run of PostgreSQL than the gate was made from.

    model        the values and the keys; `windows`: of allowances
    gate         hold · release · reserve_slot
    settling     settle · moved · width
    damaged      forget
    truth        balance · bump · open_count
    spending     what API keys with an allowance have used; `allowances`: the same as the gate keeps it
    rebuilding   rebuild · await_rebuild · tell · drop · catch_up; `gathering`: one rebuild; `rebuild_lock`
    comparing    the gate beside the rows
    watching     free_orphans · spent
"""

from common.budgets import spending
from common.budgets.allowances import differences as allowance_differences
from common.budgets.damaged import forget
from common.budgets.gate import being_made, gate, hold, rate_limited, release, reserve_slot
from common.budgets.key_balances import ListedKey, credential, delegated, listed
from common.budgets.model import (
    ADMITTED,
    Account,
    Balance,
    Hold,
    KeyShare,
    Move,
    Rate,
    SameKey,
    Settled,
    Settlement,
    StoredHold,
    allowances_key,
    budget_key,
    capped_share,
    hold_field,
    holds_in,
    owner_of,
    waiters_key,
)
from common.budgets.rebuilding import catch_up, rebuild, tell
from common.budgets.settling import moved, settle, width
from common.budgets.truth import SERVER, UnknownPeriod, balance, bump, now, open_count
from common.budgets.watching import free_orphans, spent
from common.budgets.windows import AllowanceWindow, window_at

__all__ = [
    "ADMITTED",
    "SERVER",
    "Account",
    "AllowanceWindow",
    "Balance",
    "Hold",
    "KeyShare",
    "ListedKey",
    "Move",
    "Rate",
    "SameKey",
    "Settled",
    "Settlement",
    "StoredHold",
    "UnknownPeriod",
    "allowance_differences",
    "allowances_key",
    "balance",
    "being_made",
    "budget_key",
    "bump",
    "capped_share",
    "catch_up",
    "credential",
    "delegated",
    "forget",
    "free_orphans",
    "gate",
    "hold",
    "hold_field",
    "holds_in",
    "listed",
    "moved",
    "now",
    "open_count",
    "owner_of",
    "rate_limited",
    "rebuild",
    "release",
    "reserve_slot",
    "settle",
    "spending",
    "spent",
    "tell",
    "waiters_key",
    "width",
    "window_at",
]
