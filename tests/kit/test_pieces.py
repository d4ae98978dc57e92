"""A long text is read in pieces, between which others run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from common.kit.pieces import STEPS

ROOT = Path(__file__).resolve().parents[2]
MANY = 190_000
#: In a process like web's: how often a greenlet that waits for its socket runs during each computation.
UNDER_GEVENT = f"""
from gevent import monkey; monkey.patch_all()
import json, gevent, gevent.socket
from common.kit import jsonb, paging, strict_json
from web.console import json_texts
reader, turns = strict_json.JsonReader(depth=3), [0]
def other():
    while True:
        gevent.socket.wait_read(readable.fileno())
        turns[0] += 1
readable, peer = gevent.socket.socketpair()
peer.send(b"x")
gevent.spawn(other)
gevent.sleep(0)
def counted(compute):
    before = turns[0]
    value = compute()
    return value, turns[0] - before
found = {{}}
for piece in ("{{}}", "0.5", "[]"):
    value, found[piece] = counted(lambda: reader.read(b"[" + b",".join([piece.encode()] * {MANY}) + b"]"))
for sent in (b'"\\\\ud83d\\\\ude00"', b'"\\\\u0000"'):
    text = b"[" + sent + b",{{}}" * {MANY} + b"]"
    parsed = reader.read(text)
    paths, found[sent.decode()] = counted(lambda: list(strict_json.unstorable(text, parsed)))
found["page"] = counted(lambda: paging.Page(range(100), 100).map(str))[1]
found["indented"] = counted(lambda: json_texts.indented(value))[1]
found["as sent"] = counted(lambda: jsonb.as_sent(value))[1]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def turns() -> dict[str, int]:
    done = subprocess.run([sys.executable, "-c", UNDER_GEVENT], cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("value", ["{}", "0.5"])
def test_others_run_while_many_values_are_parsed(turns: dict[str, int], value: str) -> None:
    assert turns[value] >= MANY // STEPS - 1


def test_and_while_they_are_counted(turns: dict[str, int]) -> None:
    assert turns["[]"] >= 5


def test_and_while_their_order_is_looked_at(turns: dict[str, int]) -> None:
    assert turns["as sent"] >= 9


@pytest.mark.parametrize("escaped", ['"\\ud83d\\ude00"', '"\\u0000"'])
def test_and_while_they_are_searched_for_what_cannot_be_stored(turns: dict[str, int], escaped: str) -> None:
    assert turns[escaped] >= MANY // STEPS - 1


def test_and_while_they_are_indented(turns: dict[str, int]) -> None:
    assert turns["indented"] >= MANY // 250 - 1


def test_and_while_a_page_is_rendered(turns: dict[str, int]) -> None:
    assert turns["page"] >= 4
