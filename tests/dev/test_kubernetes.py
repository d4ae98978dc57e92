"""The manifests in `ops/kubernetes` agree with the compose file, the settings and each other, and give pods no rights.

That they are what the API of Kubernetes accepts is a check of `make check` (kubernetes-validate).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from common import settings
from common.models.tools import ToolVersion
from tests.dev.test_containers import COMPOSE
from tests.dev.test_env_example import Recorder

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "ops" / "kubernetes"
Manifest = dict[str, Any]
#: The name of a Deployment or Job beside that of the service in the compose file.
SERVICES = {"invocations": "worker"} | {
    name: name for name in ("web", "webhooks", "sweeps", "beat", "flower", "migrate")
}


def manifests(directory: Path = KUBERNETES) -> Iterator[Manifest]:
    for name in yaml.safe_load((directory / "kustomization.yaml").read_text())["resources"]:
        yield from yaml.safe_load_all((directory / name).read_text())


OURS = list(manifests())
SERVERS = list(manifests(KUBERNETES / "servers"))
PODS = {
    each["metadata"]["name"]: each["spec"]["template"]
    for each in (*OURS, *SERVERS)
    if each["kind"] in {"Deployment", "Job", "StatefulSet"}
}


def container(name: str) -> Manifest:
    (only,) = PODS[name]["spec"]["containers"]
    return dict(only)


def kinds(kind: str) -> list[Manifest]:
    return [each for each in (*OURS, *SERVERS) if each["kind"] == kind]


def settings_env() -> dict[str, str]:
    lines = (KUBERNETES / "settings.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def words(command: list[str]) -> list[str]:
    """A command as it is run: without the shell around it, or the `exec` before it."""
    line = command[2] if command[:2] == ["sh", "-c"] else shlex.join(command)
    return shlex.split(line.replace("$$", "$").removeprefix("exec "))


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    named = selector.get("matchLabels", {}).items() <= labels.items()
    return named and all(labels.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", ()))


def test_every_manifest_is_in_a_kustomization() -> None:
    optional = set(re.findall(r"^  # - (\S+)$", (KUBERNETES / "kustomization.yaml").read_text(), re.MULTILINE))
    apart = {"kustomization.yaml", "prometheus-adapter.yaml"}  # the second: values of a Helm chart
    for directory in (KUBERNETES, KUBERNETES / "servers"):
        listed = set(yaml.safe_load((directory / "kustomization.yaml").read_text())["resources"])
        assert {file.name for file in directory.glob("*.yaml")} - apart == listed | (
            optional if directory == KUBERNETES else set()
        )


def test_pods_run_what_the_compose_file_runs() -> None:
    for name, service in SERVICES.items():
        assert words(container(name)["command"]) == words(COMPOSE["services"][service]["command"]), name


def test_settings_and_secrets_are_settings() -> None:
    environ = Recorder()
    settings.read_from(settings.Reader(environ))
    given = settings_env()
    files = {name.removesuffix("_FILE"): path for name, path in given.items() if name.endswith("_FILE")}
    plain = {name for name in given if not name.endswith("_FILE")} - {"PROMETHEUS_MULTIPROC_DIR"}
    page = (ROOT / "docs" / "operations" / "kubernetes.md").read_text()

    assert plain | set(files) <= environ.asked
    assert files == {name: f"/run/secrets/joyfull/{name}" for name in files}
    assert [name for name in files if name not in page] == []
    with pytest.raises(settings.SettingsError) as refused:
        settings.load({"ENV": "production", **dict.fromkeys(files, "x")})
    assert not [problem for problem in refused.value.problems if "is required" in problem]


def test_no_service_changes_a_setting() -> None:
    """Kubernetes would set FLOWER_PORT to an URL, for one, in a namespace with a Service of the name `flower`."""
    assert [name for name, pod in PODS.items() if pod["spec"].get("enableServiceLinks") is not False] == []


def test_postgresql_has_a_connection_for_everybody() -> None:
    """For as many pods as there may be, while one more of each kind takes the place of another."""
    given = settings_env()
    pods = {each["metadata"]["name"]: each["spec"].get("replicas", 0) for each in kinds("Deployment")}
    pods |= {each["metadata"]["name"]: each["spec"]["maxReplicas"] for each in kinds("HorizontalPodAutoscaler")}
    processes = {"web": int(given["WEB_PROCESSES"]), "invocations": 1, "webhooks": 1, "sweeps": 1}
    (allowed,) = (re.fullmatch(r"max_connections=(\d+)", word) for word in container("postgres")["args"][-1:])

    assert allowed
    assert sum((pods[name] + 1) * 19 * several for name, several in processes.items()) <= int(allowed[1]) - 3
    assert int(given["QUEUE_MESSAGES_MAX"]) == pods["invocations"] * int(given["WORKER_THREADS"])


@pytest.mark.parametrize("name", PODS)
def test_pods_have_no_rights(name: str) -> None:
    pod, only = PODS[name]["spec"], container(name)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"memory"} <= only["resources"]["limits"].keys()
    assert {"cpu", "memory"} <= only["resources"]["requests"].keys()
    assert [each["name"] for each in only["volumeMounts"]] and {each["name"] for each in only["volumeMounts"]} <= {
        volume["name"] for volume in pod["volumes"]
    } | {"data"}


@pytest.mark.parametrize("name", PODS)
def test_pods_are_asked_how_they_are(name: str) -> None:
    """But for beat, in which nobody can see it, and the job, which ends."""
    asked = {probe for probe in ("readinessProbe", "livenessProbe") if probe in container(name)}
    assert asked == (set() if name in {"beat", "migrate"} else {"readinessProbe", "livenessProbe"})


def test_no_dependency_that_is_down_restarts_a_process() -> None:
    """Liveness asks the process alone: with PostgreSQL away, a restart helps nobody."""
    assert container("web")["livenessProbe"]["httpGet"]["path"] == "/health"
    assert container("web")["readinessProbe"]["httpGet"]["path"] == "/ready"
    for name in ("invocations", "webhooks", "sweeps"):
        assert container(name)["readinessProbe"]["exec"]["command"] == ["python", "-m", "worker.health"]
        assert "exec" not in container(name)["livenessProbe"]


def test_a_worker_that_is_told_to_leave_may_complete_the_longest_call() -> None:
    (longest,) = (
        re.fullmatch(r"timeout_seconds between 1 and (\d+)", str(rule.sqltext))
        for rule in ToolVersion.__table__.constraints  # type: ignore[attr-defined]
        if rule.name and str(rule.name).endswith("timeout")
    )
    assert longest
    assert PODS["invocations"]["spec"]["terminationGracePeriodSeconds"] > int(longest[1])


def test_what_is_scaled_or_kept_up_exists_and_is_more_than_one() -> None:
    replicas = {each["metadata"]["name"]: each["spec"].get("replicas") for each in kinds("Deployment")}
    scaled = {each["spec"]["scaleTargetRef"]["name"]: each["spec"] for each in kinds("HorizontalPodAutoscaler")}
    kept = {each["metadata"]["name"]: each["spec"]["selector"] for each in kinds("PodDisruptionBudget")}

    assert {name for name, count in replicas.items() if count is None} == set(scaled)
    assert all(spec["minReplicas"] >= 2 for spec in scaled.values())
    assert set(kept) == {"web", "invocations", "webhooks", "sweeps"}
    for name, selector in kept.items():
        assert selects(selector, PODS[name]["metadata"]["labels"])
        assert name in scaled or replicas[name] >= 2


def test_every_external_metric_has_a_rule() -> None:
    rules = yaml.safe_load((KUBERNETES / "prometheus-adapter.yaml").read_text())["rules"]["external"]
    asked = {
        metric["external"]["metric"]["name"]
        for each in kinds("HorizontalPodAutoscaler")
        for metric in each["spec"]["metrics"]
        if metric["type"] == "External"
    }
    assert {rule["name"]["as"] for rule in rules} == asked


def reach_out(labels: dict[str, str], policies: list[Manifest]) -> bool:
    """Whether a pod with these labels may call any public address."""
    return any(
        selects(policy["spec"]["podSelector"], labels) and "ipBlock" in target
        for policy in policies
        for rule in policy["spec"].get("egress", ())
        for target in rule.get("to", ())
    )


def test_only_workers_reach_the_network_outside() -> None:
    policies = kinds("NetworkPolicy")
    (nothing,) = (each for each in policies if each["metadata"]["name"] == "nothing")
    assert nothing["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    out = {name for name, pod in PODS.items() if reach_out(pod["metadata"]["labels"], policies)}
    assert out == {"invocations", "webhooks"}

    more = [*policies, yaml.safe_load((KUBERNETES / "network-web-out.yaml").read_text())]
    assert {name for name, pod in PODS.items() if reach_out(pod["metadata"]["labels"], more)} == {*out, "web"}


def test_nobody_reaches_private_networks() -> None:
    """Neither cloud metadata nor what else is in the cluster: as `common/kit/outbound/addresses.py` has it."""
    blocks = [
        target["ipBlock"]
        for policy in (*kinds("NetworkPolicy"), yaml.safe_load((KUBERNETES / "network-web-out.yaml").read_text()))
        for rule in policy["spec"].get("egress", ())
        for target in rule.get("to", ())
        if "ipBlock" in target
    ]
    assert len(blocks) == 4
    for block in blocks:
        if block["cidr"] == "0.0.0.0/0":
            assert {"10.0.0.0/8", "169.254.0.0/16", "127.0.0.0/8", "192.168.0.0/16"} <= set(block["except"])
        else:
            assert block["cidr"] == "2000::/3"  # neither ::1, fc00::/7 nor fe80::/10
