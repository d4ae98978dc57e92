"""A tool whose first call fails for some keys: shows that a retry is automatic and charged once.

Whether a key fails depends on the key alone. A failing key is refused on its first call and answered afterwards; the
last 10,000 keys are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from threading import Lock

from examples.tools.tool import Answer, Json, Refusal, Tool, schema

DEFAULT_SHARE = 0.5
REMEMBERED = 10_000

_lock = Lock()
_calls: OrderedDict[str, int] = OrderedDict()


def answer(body: Json, key: str) -> Answer:
    unlucky = luck(key) < body.get("share", DEFAULT_SHARE)
    call = _count(key) if key else 1
    if unlucky and call == 1:
        raise Refusal(503, "out_of_luck", "The first call with this key fails; retry.", retry_after=1)
    return Answer({"unlucky": unlucky, "call": call}, {"calls": call})


def luck(key: str) -> float:
    """A number from 0 to 1, uniformly distributed and deterministic per key."""
    return int.from_bytes(sha256(key.encode()).digest()[:8]) / 2**64


def _count(key: str) -> int:
    """Count the calls with this key, including this one."""
    with _lock:
        _calls[key] = _calls.pop(key, 0) + 1
        if len(_calls) > REMEMBERED:
            _calls.popitem(last=False)
        return _calls[key]


TOOL = Tool(
    slug="flaky",
    name="Flaky",
    description=(
        "Answers 503 to the first call for a share of invocations and succeeds on the next: shows retries. "
        "Only the success is charged, however many calls it took."
    ),
    category="trying-out",
    price={"base_tokens": 1, "per_unit": None, "max_tokens": 1},
    input_schema=schema(
        {
            "share": {
                "type": "number",
                "minimum": 0,
                "maximum": 1,
                "default": DEFAULT_SHARE,
                "description": "The share of invocations whose first call fails.",
            }
        },
        required=[],
    ),
    output_schema=schema(
        {
            "unlucky": {"type": "boolean", "description": "Whether the first call of this invocation failed."},
            "call": {"type": "integer", "minimum": 1, "description": "The number of the call."},
        },
        required=["unlucky", "call"],
    ),
    example_input={"share": 0.5},
    answer=answer,
)
