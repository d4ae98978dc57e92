"""P1_children: submits of delegated keys of an account that has 10,000 of them ÷ of one that has 32."""

from __future__ import annotations

from common.identity import delegation, keys
from common.identity.audit import OPERATOR
from common.identity.delegation import Delegation
from common.identity.key_limits import Allowance
from common.identity.keys import NewLimits
from tools.bench import pairs
from tools.bench.goals import Found, ratio, submitting
from tools.bench.ground import Account, Ground

FEW = 32
SCOPES = [*delegation.DEFAULT_SCOPES, "keys:delegate"]


def p1_children(ground: Ground) -> dict[str, Found]:
    """Each of 32 keys has an allowance of its own; what they use counts in that of the key that they come from."""
    many = _submits(ground, ground.accounts[0], delegation.MAX_ALIVE)
    few = _submits(ground, ground.accounts[1], FEW)
    ground.start(submitting.web(ground))
    found = pairs.in_turn(lambda: submitting.ours(ground, [], many), lambda: submitting.ours(ground, [], few))
    ground.stop("web")
    submitting.forget(ground)
    note = f"by {FEW} delegated keys of an account that has {delegation.MAX_ALIVE:,} alive ÷ of one that has no others"
    return {"P1_children": ratio(found, note=note)}


def _submits(ground: Ground, account: Account, alive: int) -> list[bytes]:
    limits = NewLimits(Allowance(10**11, "total"))
    _, text = keys.create(account.user_id, "agents", scopes=SCOPES, actor=OPERATOR, limits=limits)
    parent = keys.authenticate(text)
    texts = [delegation.delegate(parent, Delegation(10**6, delegation.MAX_SECONDS))[1] for _ in range(alive)]
    return ground.submits("quick", of=texts[:: alive // FEW][:FEW])
