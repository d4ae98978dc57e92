"""Whatever tools answer and callers send, a worker's memory stays what it was: values are counted before parsing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from dev.platform import Platform
from tests.client import Client

Offer = Callable[..., str]
AT_ONCE = 40
PRICE = {"base_tokens": 1, "max_tokens": 1}
#: Bytes that 40 answers of 5 MiB take unread, and what two of them take read.
MOST = 700 * 1024**2


def forget_peaks(hub: Platform) -> dict[str, int]:
    """From now on the kernel notes the most that each worker takes; what they take now."""
    took = {}
    for name, child in hub.supervisor.children.items():
        if name.startswith("invocations"):
            Path(f"/proc/{child.pid}/clear_refs").write_text("5")
            took[name] = memory(child.pid, "VmRSS")
    return took


def memory(pid: int, what: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{what}:")).split()[1]) * 1024


def grown(hub: Platform, before: dict[str, int]) -> int:
    """The most that any worker took at any moment, more than before."""
    return max(memory(hub.supervisor.children[name].pid, "VmHWM") - took for name, took in before.items())


@pytest.mark.parametrize("value", ["{}", "[]", "1", '{"a":{}}', '""'])
def test_many_small_values(client: Client, offer: Offer, hub: Platform, value: str) -> None:
    slug = offer(f"/many?of={quote(value)}&mb=4.9", price=PRICE)
    before = forget_peaks(hub)
    pids = {child.pid for child in hub.supervisor.children.values()}
    items = [{"tool": slug, "input": {"text": "x"}} for _ in range(AT_ONCE)]
    made = client.data("POST", "/invocations/batch", 207, json={"items": items})
    ends = [client.ended(each["invocation"]["id"]) for each in made]
    assert {end["error"]["code"] for end in ends} == {"tool_bad_response"}
    assert "200,000 values" in ends[0]["error"]["detail"]
    assert {child.pid for child in hub.supervisor.children.values()} == pids
    assert grown(hub, before) < MOST


def test_as_many_as_are_allowed_and_large_inputs(client: Client, offer: Offer, hub: Platform) -> None:
    """Just below the limit, with inputs of that kind as well, which wait for a slow tool."""
    slug = offer("/many?of=%7B%7D&mb=0.57&after=2000", price=PRICE, input_schema={"type": "array"})
    before = forget_peaks(hub)
    made = [client.invoke(slug, [{}] * 190_000)["id"] for _ in range(20)]
    ends = [client.ended(each) for each in made]
    assert {end["status"] for end in ends} == {"succeeded"}, ends[0]["error"]
    assert len(ends[0]["output"]) > 190_000
    assert grown(hub, before) < MOST
