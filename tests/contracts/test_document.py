"""The document itself: kept, true to its own schemas, and lint-free."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from common.models.webhooks import EVENT_TYPES
from common.settings import Settings
from web.api.openapi import document, example_values
from web.app import create_app
from web.cli.openapi import openapi

ROOT = Path(__file__).resolve().parent.parent.parent
KEPT = ROOT / "docs" / "openapi.json"
#: The exit status of `clients/generated/node.py` when the npm registry does not answer.
NO_REGISTRY = 69


@pytest.fixture(scope="module")
def spec(settings: Settings) -> dict[str, Any]:
    return document.of(create_app(replace(settings, public_url="http://localhost:8000")))


def test_the_kept_document_is_that_of_the_code(spec: dict[str, Any]) -> None:
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    changed = [name for name in {*spec["paths"], *kept["paths"]} if spec["paths"].get(name) != kept["paths"].get(name)]
    wrong = f"docs/openapi.json is not what the code says (paths that differ: {sorted(changed)}): run `make openapi`"
    assert kept == spec, wrong
    assert list(kept) == list(spec), wrong


def test_the_command_prints_and_writes_it(settings: Settings, tmp_path: Path) -> None:
    app = create_app(replace(settings, expose_docs=False))
    runner = app.test_cli_runner()
    wanted = document.of(app)
    for arguments in ([], ["print"]):
        told = runner.invoke(openapi, arguments)
        assert (told.exit_code, json.loads(told.stdout)) == (0, wanted)
    file = tmp_path / "openapi.json"
    assert runner.invoke(openapi, ["write", str(file)]).exit_code == 0
    assert json.loads(file.read_text(encoding="utf-8")) == wanted


def bodies(spec: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    named = [*document.operations(spec), *((name, item["post"]) for name, item in spec["webhooks"].items())]
    for name, operation in named:
        for body in (operation.get("requestBody", {}), *operation["responses"].values()):
            for media_type, content in body.get("content", {}).items():
                yield name, media_type, content
    for name, response in spec["components"]["responses"].items():
        for media_type, content in response["content"].items():
            for example in content["examples"].values():
                yield name, media_type, {"schema": content["schema"], "example": example["value"]}


def test_every_body_has_an_example_that_fits_its_schema(spec: dict[str, Any]) -> None:
    seen = 0
    for name, media_type, content in bodies(spec):
        assert "example" in content, (name, media_type)
        if media_type.endswith("json") and "ndjson" not in media_type:
            schema = {**content["schema"], "components": spec["components"]}
            validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
            faults = [
                f"{error.message} at {error.instance_path}" for error in validator.iter_errors(content["example"])
            ]
            assert not faults, (name, faults)
            seen += 1
    assert seen > 150


def test_every_example_belongs_to_something(spec: dict[str, Any]) -> None:
    schemas = spec["components"]["schemas"]
    fields = {f"{name}.{field}" for name, schema in schemas.items() for field in schema.get("properties", {})}
    names = {field.partition(".")[2] for field in fields}
    assert not example_values.ASKED.keys() - schemas.keys()
    assert not example_values.SHOWN.keys() - fields - names


def test_every_event_that_is_sent_is_documented(spec: dict[str, Any]) -> None:
    assert set(spec["webhooks"]) == set(EVENT_TYPES)


def test_redocly_finds_nothing() -> None:
    command = [
        sys.executable,
        "clients/generated/node.py",
        "redocly",
        "lint",
        "--config",
        "docs/redocly.yaml",
        str(KEPT),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == NO_REGISTRY:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_only_an_end_in_time_says_that_waiting_was_applied(spec: dict[str, Any]) -> None:
    answers = spec["paths"]["/api/v1/tools/{tool}/invoke"]["post"]["responses"]
    assert [status for status in ("200", "202") if "Preference-Applied" in answers[status]["headers"]] == ["200"]


#: What no schema can say, and where a reader looks for it ("": in the introduction).
SAID = {
    "": [
        "`from` is inclusive",
        "the platform's unit of budget",
        "6,000 reads a minute",
        "and not reads",
        "1 MiB",
        "the smaller of",
        "rounded up",
        "are free",
        "before it started",
    ],
    "post /auth/register": ["100 registrations an hour"],
    "post /auth/login": ["in 15 minutes, 10 per account"],
    "post /auth/password-reset": ["20 requests an hour"],
    "post /tools/{tool}/invoke": ["rate limit, circuit breaker, budget", "24 hours", "can be used again"],
    "post /webhooks": ["30 minutes", "410", "5 days", "Private"],
    "post /admin/tools": ["`Idempotency-Key`", "502, 503, 504", "certainly did not run", "5 MiB", "Redirects"],
    "post /subscriptions/subscribe": ["201"],
}


@pytest.mark.parametrize("where", SAID)
def test_what_no_schema_can_say_is_said(spec: dict[str, Any], where: str) -> None:
    method, _, path = where.partition(" ")
    told = spec["paths"][f"/api/v1{path}"][method] if where else spec["info"]
    missing = [words for words in SAID[where] if words not in " ".join(told["description"].split())]
    assert not missing


def test_every_range_of_time_says_what_it_includes(spec: dict[str, Any]) -> None:
    for path, methods in spec["paths"].items():
        for parameter in methods.get("get", {}).get("parameters", []):
            if parameter.get("name") in ("from", "to"):
                assert "nclusive" in parameter["description"] or "xclusive" in parameter["description"], path
