"""A web process that submits as fast as it can: `python -m tests.budgets.submitter USER TOOL TIMES THREADS [KEY]`.

Waits for a line on its standard input, then submits; prints how each submit ended, and how often.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from common import boot, invocations
from common.errors import PlatformError
from common.identity.authorization import Caller
from common.invocations import Submitted
from common.kit import db
from common.kit import redis as redis_kit
from common.settings import load
from tests import factories


def attempt(caller: Caller, tool: str, key: str | None) -> str:
    try:
        made: Submitted = invocations.submit(caller, tool, factories.order(idempotency_key=key))
    except PlatformError as refusal:
        return refusal.code
    except (db.Unreachable, redis_kit.RedisUnreachable):
        return "unreachable"
    return f"{'replayed' if made.replayed else 'accepted'} {made.id}" if key else "accepted"


def main(user: str, tool: str, times: str, threads: str, key: str | None = None) -> None:
    boot.connect(load(dict(os.environ)), process="submitter", pool_size=int(threads))
    caller = Caller(UUID(user), "user", frozenset(), None, None, email_verified=True)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    with ThreadPoolExecutor(int(threads)) as pool:
        ends = Counter(pool.map(lambda _: attempt(caller, tool, key), range(int(times))))
    sys.stdout.write(json.dumps(ends) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
