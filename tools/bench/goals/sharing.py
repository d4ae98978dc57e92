"""P10: another account beside a flood. P11: webhooks beside a bare loop, and beside receivers that hang. Neighbours:
another account beside each attack of one tenant.

Each is a measurement of its own (`fairness.py`, `webhook_rate.py`, `webhook_isolation.py`, `neighbours.py`), on
servers of its own.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

from dev.platform import ROOT
from tools.bench.goals import Found
from tools.bench.ground import Ground, python
from tools.bench.neighbours import CONTROLS

#: What a measurement prints as JSON. Any: numbers, words, and parts of both.
Said = dict[str, Any]


def p10(_: Ground) -> dict[str, Found]:
    found = _said("tools.bench.fairness")
    same, other = found["same tool"], found["other tool"]
    rounds = list(zip(same["beside p99 ms"], same["alone p99 ms"], strict=True))
    note = f"the same tool, both want more threads than there are; with tools of their own {other['p99 ratio']}"
    return {"P10": Found(same["p99 ratio"], "ratio", rounds, note=note)}


def p11(_: Ground) -> dict[str, Found]:
    rate, apart = _said("tools.bench.webhook_rate"), _said("tools.bench.webhook_isolation")
    cpu = f"CPU of the worker: {rate['worker_cpu_us'] / 1000:.2f} ms a delivery, rows, signature and books included"
    return {
        "P11_rate": Found(rate["ratio"], "ratio", rate["ratios"], rate["ours"], rate["bare"], cpu),
        "P11_p99": Found(apart["ratio"], "ratio", apart["ratios"], apart["beside_ms"], apart["alone_ms"], "ms"),
    }


def neighbours(_: Ground) -> dict[str, Found]:
    """The worst of all attacks decides. What is none is told of beside them."""
    found = _said("tools.bench.neighbours")
    if busy := [name for name, attack in found.items() if "not judged" in attack]:
        raise RuntimeError(f"not judged: the machine was busy ({', '.join(busy)})")
    attacked = [attack for name, attack in found.items() if name not in CONTROLS]
    parts = [part for attack in attacked for part in (attack["submit"], attack["end"])]
    worst = max(parts, key=lambda part: float(part["ratio"]))
    told = "p99 alone → beside: " + "; ".join(f"{name} {_beside(attack)}" for name, attack in found.items())
    return {"neighbours": Found(worst["ratio"], "ratio", worst["ratios"], note=told)}


def _beside(attack: Said) -> str:
    parts = (
        f"{words} {part['alone_ms']:.1f} → {part['beside_ms']:.1f} ms ({part['ratio']:.2f})"
        for words, part in (("to the 202", attack["submit"]), ("to the end", attack["end"]))
    )
    lost = attack["lost beside"]
    return ", ".join([*parts, *([f"{lost} lost"] if lost else [])])


def _said(module: str) -> Said:
    """What a measurement printed last."""
    done = subprocess.run(python(module), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-3000:]}")
    said: Said = json.loads(done.stdout[done.stdout.index("{") :])
    return said
