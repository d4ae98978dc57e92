"""What operators do to keep an installation well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import text

from common import boot, doctor, jobs, sealing, tools, webhooks
from common.audit import OPERATOR
from common.invocations import sweeping
from common.kit import db, redis
from common.settings import Settings
from common.tools import editing
from dev.platform import Platform
from tests import factories
from tests.subscriptions.accounts import account
from web.app import create_app

OLD, NEW = "the key of last year, 32 characters", "the key of this year, 32 characters"


def flask(settings: Settings, *arguments: str) -> Result:
    return create_app(settings).test_cli_runner().invoke(args=arguments)


@pytest.fixture
def keys(db: None, settings: Settings) -> Iterator[Settings]:
    """The settings; the process has its own keys back afterwards."""
    yield settings
    boot.connect(settings, process="test", pool_size=20)


def test_after_a_rotation_the_old_key_can_go(keys: Settings) -> None:
    create_app(replace(keys, secrets_keys=(OLD,)))
    entry = {"slug": "t", "name": "T", "endpoint_url": "http://127.0.0.1:1/", "input_schema": {}}
    price = {"base_tokens": 0, "max_tokens": 0}
    auth = {"type": "bearer", "secret": "sk-1"}
    tool = editing.create(OPERATOR, editing.Draft.of({**entry, "price": price, "auth": auth}))
    user = account()
    webhooks.create(user, boot.door(), url="http://127.0.0.1:1/")
    default = webhooks.default_secret(user).open()

    done = flask(replace(keys, secrets_keys=(NEW, OLD)), "secrets", "rotate")
    assert (done.exit_code, done.output) == (0, "3 secrets sealed under the newest key, 0 unreadable.\n")
    create_app(replace(keys, secrets_keys=(NEW,)))
    assert tools.get(tool.id).current.secret() == "sk-1"
    assert webhooks.default_secret(user).open() == default
    assert all(each.readable for each in sealing.rotate())

    lost = flask(replace(keys, secrets_keys=(OLD,)), "secrets", "rotate")
    assert lost.exit_code == 1
    assert lost.output.count("UNREADABLE") == 3


WELL_SECRETS: dict[str, Any] = {
    "jwt_secret_keys": ("j" * 40,),
    "secrets_keys": (NEW,),
    "flower_basic_auth": "ops:a long one",
}


def wrong(settings: Settings) -> list[str]:
    return [finding.name for finding in doctor.examine(settings) if not finding.well]


def test_the_doctor_finds_what_is_wrong(hub: Platform, keys: Settings) -> None:
    assert wrong(keys) == ["beat"]
    assert wrong(replace(keys, env="production")) == ["beat", "secrets"]
    sweeping.note("roll-up-usage", 1, failed=False)
    well = replace(keys, **WELL_SECRETS)
    assert wrong(well) == []
    redis.client().config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert wrong(well) == ["redis eviction"]
    finally:
        redis.client().config_set("maxmemory-policy", "noeviction")
    db.once(text("update sweep_runs set ran_at = now() - interval '61 seconds'"), {})
    assert wrong(well) == ["beat"]


def test_the_doctor_holds_the_visibility_timeout_against_the_longest_call(keys: Settings) -> None:
    def seen() -> doctor.Finding:
        return next(finding for finding in doctor.examine(keys) if finding.name == "visibility timeout")

    factories.tool(timeout_seconds=600)
    assert seen() == doctor.Finding("visibility timeout", True, "3600 s, the longest call may take 600 s")
    options = jobs.app().conf.broker_transport_options
    usual = options["visibility_timeout"]
    options["visibility_timeout"] = 600
    try:
        assert not seen().well
    finally:
        options["visibility_timeout"] = usual


def test_the_doctor_says_so_to_the_shell(keys: Settings) -> None:
    told = flask(keys, "doctor")
    assert told.exit_code == 1
    assert "WRONG  beat" in told.output
    assert "ok     secrets: for development only: everybody knows JWT_SECRET_KEY" in told.output
    assert "ok     migrations: at head" in told.output
