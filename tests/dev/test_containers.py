"""What no container has to run for: the compose file and the image agree with the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from common import jobs, settings
from tests.dev.test_env_example import Recorder

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
NOT_OURS = {"PROMETHEUS_MULTIPROC_DIR"}


def words(service: str) -> list[str]:
    return " ".join(SERVICES[service]["command"]).split()


def test_every_queue_has_a_service_that_listens_to_it() -> None:
    heard = {words(name)[words(name).index("-Q") + 1] for name in SERVICES if "-Q" in words(name)}

    assert heard == set(jobs.QUEUES.values())


def test_every_variable_is_a_setting() -> None:
    environ = Recorder()
    settings._Reader(environ).settings()
    given = {name for service in SERVICES.values() if "build" in service for name in service["environment"]}

    assert given - NOT_OURS <= environ.asked


def test_production_gets_what_it_refuses_to_guess() -> None:
    environment = dict.fromkeys(SERVICES["web"]["environment"], "x") | {"ENV": "production"}
    with pytest.raises(settings.SettingsError) as refused:
        settings.load(environment)

    assert not [problem for problem in refused.value.problems if "is required" in problem]


def test_the_image_holds_the_rooms_and_nothing_of_development() -> None:
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))

    assert copied == {"requirements.txt", "wsgi.py celeryconfig.py", "common", "web", "worker", "migrations"}
