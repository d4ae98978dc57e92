"""Operator commands: key rotation, doctor, loading tools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import text

from common import boot, tools, webhooks
from common.identity.audit import OPERATOR
from common.invocations import sweeping
from common.kit import redis
from common.kit.paging import Window
from common.operations import doctor, key_rotation
from common.queueing import messages
from common.settings import Settings
from common.tools import editing
from dev.platform import Platform
from tests import factories
from tests.plain import plain
from tests.subscriptions.accounts import account
from web.app import create_app

OLD, NEW = "the key of last year, 32 characters", "the key of this year, 32 characters"


def flask(settings: Settings, *arguments: str) -> Result:
    return create_app(settings).test_cli_runner().invoke(args=arguments)


@pytest.fixture
def keys(db: None, settings: Settings) -> Iterator[Settings]:
    """The settings; restores the keys of the process afterwards."""
    yield settings
    boot.connect(settings, process="test", pool_size=20)


def test_after_a_rotation_the_old_key_can_go(keys: Settings) -> None:
    create_app(replace(keys, secrets_keys=(OLD,)))
    entry = {"slug": "t", "name": "T", "endpoint_url": "http://127.0.0.1:1/", "input_schema": {}}
    price = {"base_tokens": 0, "max_tokens": 0}
    auth = {"type": "bearer", "secret": "sk-1"}
    tool = editing.create(OPERATOR, editing.Draft.of({**entry, "price": price, "auth": auth}))
    user = account()
    webhooks.create(user, boot.outbound(), url="http://127.0.0.1:1/")
    default = webhooks.default_secret(user).open()

    done = flask(replace(keys, secrets_keys=(NEW, OLD)), "secrets", "rotate")
    assert (done.exit_code, done.output) == (0, "3 secrets encrypted with the newest key, 0 unreadable.\n")
    create_app(replace(keys, secrets_keys=(NEW,)))
    assert tools.get(tool.id).current.secret() == "sk-1"
    assert webhooks.default_secret(user).open() == default
    assert all(each.readable for each in key_rotation.rotate())

    lost = flask(replace(keys, secrets_keys=(OLD,)), "secrets", "rotate")
    assert lost.exit_code == 1
    assert lost.output.count("UNREADABLE") == 3


WELL_SECRETS: dict[str, Any] = {
    "jwt_secret_keys": ("j" * 40,),
    "secrets_keys": (NEW,),
    "flower_basic_auth": "ops:a long one",
}


def wrong(settings: Settings) -> list[str]:
    return [finding.name for finding in doctor.run_checks(settings) if not finding.passed]


def test_the_doctor_finds_what_is_wrong(hub: Platform, keys: Settings) -> None:
    assert wrong(keys) == ["beat"]
    assert wrong(replace(keys, env="production")) == ["beat", "secrets", "mail"]
    sweeping.note("roll-up-usage", 1, failed=False)
    well = replace(keys, **WELL_SECRETS)
    assert wrong(well) == []
    redis.client().config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert wrong(well) == ["redis eviction"]
    finally:
        redis.client().config_set("maxmemory-policy", "noeviction")
    plain(text("update sweep_runs set ran_at = now() - interval '61 seconds'"), {})
    assert wrong(well) == ["beat"]


def test_the_doctor_holds_the_visibility_timeout_against_the_longest_call(keys: Settings) -> None:
    def seen() -> doctor.CheckResult:
        return next(finding for finding in doctor.run_checks(keys) if finding.name == "visibility timeout")

    factories.tool(timeout_seconds=600)
    assert seen() == doctor.CheckResult("visibility timeout", True, "3600 s, the longest call may take 600 s")
    options = messages.app().conf.broker_transport_options
    usual = options["visibility_timeout"]
    options["visibility_timeout"] = 600
    try:
        assert not seen().passed
    finally:
        options["visibility_timeout"] = usual


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, "set SMTP_URL"),
        ({"smtp_url": "smtp://mail.example.com"}, "set PUBLIC_URL"),
        ({"smtp_url": "smtp://mail.example.com", "public_url": "https://hub.example.com"}, None),
    ],
)
def test_the_doctor_knows_mails_that_nobody_gets(keys: Settings, changes: dict[str, Any], found: str | None) -> None:
    settings = replace(keys, env="production", **changes)
    (seen,) = (finding for finding in doctor.run_checks(settings) if finding.name == "mail")
    assert seen.passed == (found is None)
    assert found is None or found in seen.detail


def test_the_doctor_says_so_to_the_shell(keys: Settings) -> None:
    told = flask(keys, "doctor")
    assert told.exit_code == 1
    assert "WRONG  beat" in told.output
    assert "ok     secrets: for development only: JWT_SECRET_KEY" in told.output
    assert "ok     migrations: at head" in told.output


def load(settings: Settings, text: str) -> Result:
    runner = create_app(settings).test_cli_runner()
    return runner.invoke(args=["tools", "load", "-"], input=text)


ENTRY = {
    "slug": "loaded",
    "name": "Loaded",
    "endpoint_url": "http://127.0.0.1:1/",
    "input_schema": {},
    "price": {"base_tokens": 1, "max_tokens": 5},
}
NOT_LOADED: dict[str, tuple[dict[str, Any], str]] = {
    "metadata address": ({"endpoint_url": "http://169.254.169.254/"}, "/1/endpoint_url"),
    "not a URL": ({"endpoint_url": "gopher://x/"}, "/1/endpoint_url"),
    "too long a timeout": ({"timeout_seconds": 601}, "/1/timeout_seconds"),
    "no attempts": ({"max_attempts": 0}, "/1/max_attempts"),
    "a fraction of a token": ({"price": {"base_tokens": 0.5, "max_tokens": 5}}, "/1/price/base_tokens"),
    "more than can be counted": ({"price": {"base_tokens": 0, "max_tokens": 2**53}}, "/1/price/max_tokens"),
    "a negative price": ({"price": {"base_tokens": -1, "max_tokens": 5}}, "/1/price/base_tokens"),
    "a slug that is none": ({"slug": "Über"}, "/1/slug"),
    "an unknown field": ({"colour": "red"}, "/1/colour"),
    "a schema elsewhere": ({"input_schema": {"$ref": "file:///etc/passwd"}}, "/1/input_schema"),
    "a text for a flag": ({"idempotent": "yes"}, "/1/idempotent"),
}


@pytest.mark.parametrize(("change", "pointer"), NOT_LOADED.values(), ids=NOT_LOADED)
def test_what_the_api_would_refuse_is_not_loaded(keys: Settings, change: dict[str, Any], pointer: str) -> None:
    told = load(keys, json.dumps([ENTRY, {**ENTRY, "slug": "other", **change}]))
    assert told.exit_code == 1
    assert f"{pointer}: " in told.output
    assert tools.everything(Window(10, None)).items == [], "all or nothing"


@pytest.mark.parametrize("text_", ["{", "{}", "[1]", '[{"slug":"a","slug":"b"}]', "", "[NaN]"])
def test_what_is_no_list_of_tools_is_not_loaded(keys: Settings, text_: str) -> None:
    told = load(keys, text_)
    assert (told.exit_code, "Traceback" in told.output) == (1, False)
    assert told.output.startswith("Error: ")


def test_loading_twice_changes_what_changed(keys: Settings) -> None:
    assert load(keys, json.dumps([ENTRY])).output == "1 tools created, 0 changed.\n"
    assert load(keys, json.dumps([ENTRY])).output == "0 tools created, 0 changed.\n"
    assert load(keys, json.dumps([{**ENTRY, "name": "Anew"}])).output == "0 tools created, 1 changed.\n"
