"""What the project says of itself in several places is the same everywhere: licence, version, and how it is checked."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from common import boot
from common.settings import Settings
from common.settings.version import VERSION
from web.api.openapi import document
from web.app import create_app

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def image_labels() -> dict[str, str]:
    """The labels that the Dockerfile gives the image."""
    labels = re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]+)"', (ROOT / "Dockerfile").read_text())
    return dict(labels)


def test_the_licence_is_the_same_everywhere(settings: Settings) -> None:
    info = document.of(create_app(settings))["info"]

    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith(f"{PROJECT['license']} License\n")
    assert info["license"] == {"name": PROJECT["license"], "identifier": PROJECT["license"]}
    assert image_labels()["licenses"] == PROJECT["license"]
    assert image_labels()["description"] == PROJECT["description"]


def test_the_version_is_the_same_everywhere(settings: Settings) -> None:
    app = create_app(settings)
    latest = re.search(r"^## (\S+) \(", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    kept = json.loads((ROOT / "docs/openapi.json").read_text(encoding="utf-8"))

    assert re.fullmatch(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?", VERSION)
    assert {
        "pyproject": PROJECT["version"],
        "CHANGELOG": latest and latest[1],
        "image": image_labels()["version"],
        "User-Agent": boot.USER_AGENT.removeprefix("joyfull-hub/"),
        "document": document.of(app)["info"]["version"],
        "kept document": kept["info"]["version"],
        "/health": app.test_client().get("/health").get_json()["data"]["version"],
    } == dict.fromkeys(
        ("pyproject", "CHANGELOG", "image", "User-Agent", "document", "kept document", "/health"), VERSION
    )


def read_yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_workflow_runs_what_everybody_runs() -> None:
    jobs = read_yaml(".github/workflows/ci.yml")["jobs"]

    assert [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step] == [".ci/run"]


def test_hooks_before_a_commit_are_the_tools_of_the_gate() -> None:
    [local] = read_yaml(".pre-commit-config.yaml")["repos"]
    commands = [Path(hook["entry"].split()[0]) for hook in local["hooks"]]
    gate = (ROOT / "dev/check.py").read_text(encoding="utf-8")

    assert local["repo"] == "local"
    assert {str(command.parent) for command in commands} == {".venv/bin"}
    assert {command.name for command in commands} >= {"ruff", "mypy"}
    assert [command for command in commands if f'tool("{command.name}"' not in gate] == []


def test_forms_for_issues_have_what_the_forge_asks_for() -> None:
    for form in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        said = read_yaml(str(form.relative_to(ROOT)))
        if form.stem != "config":
            assert {"name", "description", "body"} <= said.keys(), form
            ids = [field["id"] for field in said["body"] if field["type"] != "markdown"]
            assert len(set(ids)) == len(ids) > 0, form
