"""Dashboard and alerts: they parse, they fire when they should, and they ask for what the code really counts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from common.invocations import sweeping
from common.operations import gauges, verifications
from tests.conftest import ROOT
from web.http import request_hooks
from worker import delivery, heartbeat, runner

PROMETHEUS = ROOT / "ops" / "prometheus"
RULES = [rule for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
TESTS: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "ops" / "grafana" / "joyfull-hub.json").read_text())
COUNTING = (request_hooks, delivery, heartbeat, runner)  # imported: their metrics are in the registry
#: Labels that Prometheus puts on everything itself.
OF_PROMETHEUS = {"job", "instance", "le"}


def asked() -> Iterator[str]:
    """Every expression of the dashboard and the alerts."""
    yield from (rule["expr"] for rule in RULES)
    yield from (target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ()))


def promtool(*arguments: str | Path) -> None:
    found = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not here (it comes with Debian's package `prometheus`; or set PROMTOOL)")
    done = subprocess.run([found, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_rules_and_configuration() -> None:
    promtool("check", "rules", "alerts.yml")
    promtool("check", "config", "prometheus.yml")


def test_alerts_fire_when_they_should_and_not_else() -> None:
    promtool("test", "rules", "alerts_test.yml")


def test_promtool_accepts_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    plain = [expression.replace("$__rate_interval", "5m") for expression in asked()]
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(plain)]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", file)


def test_each_alert_is_seen_firing_and_not_firing() -> None:
    firing, silent = set[str](), set[str]()
    for case in (case for test in TESTS for case in test["alert_rule_test"]):
        (firing if case["exp_alerts"] else silent).add(case["alertname"])
    names = {rule["alert"] for rule in RULES}
    assert firing == names
    assert silent == names


def test_each_alert_says_what_it_means_and_how_urgent_it_is() -> None:
    explained = (ROOT / "docs" / "operations" / "troubles.md").read_text()
    for rule in RULES:
        assert f"`{rule['alert']}`" in explained
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]


def exposed() -> dict[str, set[str]]:
    """Every series name that the platform can show, with its labels."""
    names: dict[str, set[str]] = defaultdict(set)
    for collector in set(REGISTRY._collector_to_names):
        labels = set(getattr(collector, "_labelnames", ()))
        for name in REGISTRY._collector_to_names[collector]:
            names[name] |= labels
    names[f"joyfull_{gauges.REPLICA_LAG}"] = set()  # there is no replica here; tests/queue/test_replica.py sees it
    for metric in gauges.Platform().collect():
        names[metric.name] |= {label for sample in metric.samples for label in sample.labels}
    return names


def test_everything_asked_for_is_really_counted(hub: object, offer: Any) -> None:
    offer()
    sweeping.note("roll-up-usage", 1, failed=False)
    assert verifications.verify_if_due() is not None
    known = exposed()
    for expression in asked():
        found = re.findall(r"\b(joyfull_\w+)(?:\{([^}]*)\})?", expression)
        assert found or "up{" in expression, expression
        for name, selectors in found:
            assert name in known, f"{name} is counted nowhere"
            for label in re.findall(r"(\w+)\s*[=!]~?", selectors):
                assert label in known[name] | OF_PROMETHEUS, f"{name} has no label {label}"
        for clause in re.findall(r"\bby \(([^)]*)\)", expression):
            counted = set[str]().union(*(known[name] for name, _ in found))
            assert {label.strip() for label in clause.split(",")} <= counted | OF_PROMETHEUS, expression
