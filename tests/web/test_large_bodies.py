"""Large bodies are parsed one at a time, for accounts in turn."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from flask import Flask, g

from common import errors
from common.kit.pieces import STEPS
from tests.client import eventually
from web.http import body, large_bodies

LARGE = b"[" + b"{}," * large_bodies.SMALL_BYTES + b"{}]"
SMALL = b"[{}]"
MANY = 190_000
ROOT = Path(__file__).resolve().parents[2]
UNDER_GEVENT = f"""
from gevent import monkey; monkey.patch_all()
import json, gevent
from flask import Flask
from web.http import body, large_bodies
taken = []
def other():
    while True:
        gevent.sleep(1e-9)
        taken.append(large_bodies.turns._taken)
gevent.spawn(other)
gevent.sleep(0)
text = b'["\\\\ud83d\\\\ude00"' + b",{{}}" * {MANY} + b"]"
form = b"raw=" + b"%41" * {MANY}
with Flask("web").app_context():
    taken.clear()
    body.parse(text)
    during_json = list(taken)
    taken.clear()
    body._pairs(form, "form")
print(json.dumps([during_json, taken]))
"""
app = Flask(__name__)


def parsed(text: bytes, account: UUID) -> object:
    with app.app_context():
        g.caller = SimpleNamespace(user_id=account)
        return body.parse(text)


def waiting() -> list[UUID | None]:
    return [each.key for each in large_bodies.turns._waiting]


def test_one_at_a_time_and_small_ones_in_between() -> None:
    ours, theirs = uuid4(), uuid4()
    with ThreadPoolExecutor(2) as pool:
        with large_bodies.turns.turn(ours, 0):
            jobs = [pool.submit(parsed, LARGE, each) for each in (ours, theirs)]
            eventually("both wait, each for its account", 30, lambda: {*waiting()} == {ours, theirs})
            assert parsed(SMALL, theirs) == [{}]
        assert [len(job.result(30)) for job in jobs] == [large_bodies.SMALL_BYTES + 1] * 2  # type: ignore[arg-type]
    assert not large_bodies.turns._taken


def test_what_is_not_json_leaves_its_turn() -> None:
    with pytest.raises(errors.MalformedJson):
        parsed(LARGE[:-1], uuid4())
    assert not large_bodies.turns._taken


def test_the_turn_lasts_until_its_characters_are_checked() -> None:
    """In a process like web's, all who run between the pieces see that the turn is taken."""
    done = subprocess.run([sys.executable, "-c", UNDER_GEVENT], cwd=ROOT, capture_output=True, text=True, check=True)
    during_json, during_form = json.loads(done.stdout)
    assert len(during_json) >= 2 * (MANY // STEPS - 1)
    assert len(during_form) >= MANY // 2048 - 1
    assert all(during_json + during_form)


def test_who_waits_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_bodies, "WAIT_SECONDS", 0.01)
    with large_bodies.turns.turn(uuid4(), 0), pytest.raises(errors.RateLimited):
        parsed(LARGE, uuid4())
