"""Ends that are alike: what came out well once is not filled, settled and looked at again.

What happens after both verbs hangs on nothing but rows, Redis, and what was told and seen until then. A run whose end
is as one from which everything was seen to come out well is over. "As" is but for what nobody afterwards reads, for new
ids and names (by the order in which they appear), for moments that have passed, and for where a period's epochs begin.
One in `AGAIN` of them is carried to its end all the same: what breaks then says that two ends are not as alike.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import time
from datetime import datetime
from typing import Any

import psycopg

#: Of the runs that end like another, one in so many goes on to the last look.
AGAIN = 20
#: Tables that nobody reads after the verbs are over: neither the sweeps, nor workers, nor the oracle.
_UNREAD = {"audit_log", "processes", "instance", "idempotency_keys"}
#: And columns; `start_tag` and epochs are read, but only beside each other.
_UNREAD_COLUMNS = {
    ("attempts", "worker"), ("events", "id"), ("usage_logs", "id"), ("periods", "epoch"), ("queue", "start_tag"),
    ("grants", "kind"), ("grants", "reason"), ("grants", "actor_id"),
}  # fmt: skip
#: Rows whose order is by a moment or a number, as that order; and epochs, from which those of the gates are counted.
_ORDERS = """
select ' queue', concat_ws(' / ', string_agg(id::text, ' ' order by due_at, key_due_at, id),
                           string_agg(id::text, ' ' order by start_tag, id),
                           string_agg(id::text, ' ' order by lease_expires_at, id))
  from queue
union all select ' epoch', id || ' ' || epoch from periods
"""
#: All keys with what is left of their time, in steps of 2 s. Left out are the broker's lists, counters of requests, and
#: what is remembered of credentials, which nobody shows any more.
_KEYS = """
local keys, said = redis.call('keys', '*'), {}
table.sort(keys)
for _, key in ipairs(keys) do
  local kind, value = redis.call('type', key)['ok'], nil
  if string.find(key, '^rate:') or string.find(key, '^auth:') or kind == 'list' then
    value = nil
  elseif kind == 'hash' then
    value = {}
    local all = redis.call('hgetall', key)
    for n = 1, #all, 2 do value[#value + 1] = all[n] .. '=' .. all[n + 1] end
    table.sort(value)
    value = table.concat(value, ' ')
  elseif kind == 'string' then
    value = redis.call('get', key)
  else
    value = redis.call('dump', key)
  end
  local left = math.ceil(math.min(redis.call('pttl', key), 60000) / 2000)
  if value then said[#said + 1] = key .. ' ' .. kind .. ' ' .. left .. ' ' .. value end
end
return table.concat(said, '\\n')
"""
_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_AT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?\+00"
_SECONDS = r"(?<![\w.])\d{10}(?:\.\d+)?(?!\w)"
_REQUEST = r'(?<=""request"": "")[^"]+|(?<=told )\S+'
_NAMED = re.compile(f"({_ID})|({_AT})|({_SECONDS})|({_REQUEST})")
_GATE_EPOCHS = re.compile(r"(?<=epoch=)\d+|(?<=rebuilding=)\d+|(?<=:)\d+(?= hash)")
_MADE_EPOCHS = re.compile(rf"(?<==)({_ID}):(\d+)")
_STEP, _FAR = 2.0, 100.0


class Ends:
    """The ends from which everything came out well."""

    def __init__(self, connection: psycopg.Connection[Any], redis: Any, tables: list[str]) -> None:
        self._connection = connection
        self._keys = redis.register_script(_KEYS)
        rows = [_rows_of(connection, table) for table in tables if table not in _UNREAD]
        self._query = (
            " union all ".join([*rows, _ORDERS, "order by 1, 2"]).replace(" union all order", " order").encode()
        )
        self._start: dict[str, frozenset[str]] = {}
        self._good: set[bytes] = set()
        self._draw = random.Random(int(os.environ.get("EXPLORE_SEED", "1")))
        self.spared = 0

    def begin(self, state: str) -> None:
        """Remember the ids of a start state: they are the same in every run."""
        self._start[state] = frozenset(found[0] for found in _NAMED.finditer(self._read()))

    def name(self, state: str, seen: str, passed: float) -> bytes:
        """What alike ends have in common. `seen`: what was told and called; `passed`: seconds on the run's clock."""
        known, now = self._start[state], time.time() + passed
        names: dict[str, str] = {}

        def named(found: re.Match[str]) -> str:
            text = found[0]
            if found[1] or found[4]:
                return text if text in known else names.setdefault(text, f"new-{len(names)}")
            ahead = (datetime.fromisoformat(text).timestamp() if found[2] else float(text)) - now
            return "past" if ahead < 1 else f"in-{round(ahead / _STEP)}" if ahead < _FAR else "far"

        text = f"{state} {int(passed / _STEP)}\n" + _NAMED.sub(named, f"{self._read()}\n{seen}")
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    def came_out_well(self, end: bytes) -> bool:
        """Whether a run that ended like this may be left at that."""
        spared = end in self._good and self._draw.randrange(AGAIN) > 0
        self.spared += spared
        return spared

    def good(self, *ends: bytes) -> None:
        self._good.update(ends)

    def _read(self) -> str:
        rows = self._connection.execute(self._query, prepare=True).fetchall()
        epochs = {period: int(epoch) for name, row in rows if name == " epoch" for period, epoch in [row.split()]}
        lines = [f"{name} {row}" for name, row in rows if name != " epoch"]
        keys = self._keys().decode("latin-1").split("\n")
        return "\n".join(lines + [_counted_from(epochs, key) for key in keys])


def _rows_of(connection: psycopg.Connection[Any], table: str) -> str:
    """A table's rows as text, without what nobody reads (and without numbers of transactions)."""
    query = """select attname from pg_attribute
                where attrelid = %s::regclass and attnum > 0 and not attisdropped and atttypid <> 'xid8'::regtype"""
    names = [str(row[0]) for row in connection.execute(query, (table,))]
    columns = ", ".join(f'"{name}"' for name in names if (table, name) not in _UNREAD_COLUMNS)
    return f"select '{table}', row({columns})::text from \"{table}\""


def _counted_from(epochs: dict[str, int], key: str) -> str:
    """A key of an account, with its epochs as so many more or less than the row's."""
    key = _MADE_EPOCHS.sub(lambda found: f"{found[1]}:{int(found[2]) - epochs.get(found[1], 0):+d}", key)
    period = next((id_ for id_ in epochs if id_ in key.partition(" ")[0]), None)
    if period is None:
        return key
    return _GATE_EPOCHS.sub(lambda found: f"{int(found[0]) - epochs[period]:+d}", key)
