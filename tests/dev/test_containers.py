"""What no container has to run for: the compose file is valid, is careful, and agrees with the code as the image does.

`compose-spec.json` is the schema of https://github.com/compose-spec/compose-spec (Apache License 2.0).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from common import settings
from common.queueing import messages
from tests.dev.test_env_example import Recorder

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
NOT_OURS = {"PROMETHEUS_MULTIPROC_DIR"}


def words(service: str) -> list[str]:
    return " ".join(SERVICES[service].get("command", ())).split()


def test_every_queue_has_a_service_that_listens_to_it() -> None:
    heard = {words(name)[words(name).index("-Q") + 1] for name in SERVICES if "-Q" in words(name)}

    assert heard == set(messages.QUEUES.values())


def test_every_variable_is_a_setting() -> None:
    environ = Recorder()
    settings.read_from(settings.Reader(environ))
    given = {name for service in SERVICES.values() if "build" in service for name in service["environment"]}

    assert given - NOT_OURS <= environ.asked


def test_every_setting_of_the_example_reaches_the_containers() -> None:
    """One in `.env` that is not named in the compose file would do nothing, and nobody would say so."""
    explained = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    of_the_image = {"ENV", "HOST", "DATA_DIR"}
    of_the_machine = {"PORT", "FLOWER_PORT"}
    elsewhere = {"DATABASE_POOLING", "FAILPOINTS", "TOOLS_PORT", "OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_API_KEY"}

    reaching = set(SERVICES["web"]["environment"]) - NOT_OURS
    assert reaching == explained - of_the_image - of_the_machine - elsewhere


def test_no_database_is_ready_while_it_is_being_made() -> None:
    """It listens on its socket only; migrations that begin then fail, and nobody repeats them."""
    assert "--host" in SERVICES["postgres"]["healthcheck"]["test"]


def test_production_gets_what_it_refuses_to_guess() -> None:
    environment = dict.fromkeys(SERVICES["web"]["environment"], "x") | {"ENV": "production"}
    with pytest.raises(settings.SettingsError) as refused:
        settings.load(environment)

    assert not [problem for problem in refused.value.problems if "is required" in problem]


def test_the_image_holds_the_rooms_and_nothing_of_development() -> None:
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))

    assert copied == {
        "requirements.txt requirements-tracing.txt",
        "wsgi.py celeryconfig.py",
        "common",
        "web",
        "worker",
        "migrations",
    }


def test_the_compose_file_is_one() -> None:
    schema = json.loads((ROOT / "tests" / "dev" / "compose-spec.json").read_text())
    wrong = [
        f"{error.instance_path}: {error.message}" for error in jsonschema_rs.validator_for(schema).iter_errors(COMPOSE)
    ]
    assert wrong == []


def test_what_services_refer_to_exists() -> None:
    named = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    assert {name for name in named if not name.startswith("./")} == set(COMPOSE["volumes"])
    assert [name for name in named if name.startswith("./") and not (ROOT / name).exists()] == []
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", ())) <= set(SERVICES), name
        for needed, how in service.get("depends_on", {}).items():
            profiled = not set(SERVICES[needed].get("profiles", ())) <= set(service.get("profiles", ()))
            assert not profiled or how["required"] is False, f"{name} needs {needed}, which is not always there"


def test_our_containers_have_no_rights_and_write_nowhere() -> None:
    for name, service in SERVICES.items():
        assert "privileged" not in service, name
        assert service["deploy"]["resources"]["limits"]["memory"], name
        if "build" in service:
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name


def test_whoever_stays_up_is_looked_after() -> None:
    """Restarted when it dies; and asked whether it is well, but for those in whom nobody could see it."""
    image_has_one = re.search(r"^HEALTHCHECK", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for name, service in SERVICES.items():
        assert service["restart"] == ("no" if name == "migrate" else "unless-stopped"), name
        if name not in {"prometheus", "grafana"}:
            assert "healthcheck" in service or ("build" in service and image_has_one), name


def test_nothing_is_reachable_from_other_machines() -> None:
    """The API, Flower and the monitoring behind loopback, for a proxy of this machine; servers not at all."""
    open_ = {
        name for name, service in SERVICES.items() for port in service.get("ports", ()) if "127.0.0.1:" not in port
    }
    assert open_ == set()


def test_no_secret_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "JWT_SECRET_KEY", "SECRETS_KEYS", "FLOWER_BASIC_AUTH"):
        assert set(re.findall(rf"\$\{{{name}([^}}]*)\}}", text)) == {":?set it in .env"}, name


def test_hadolint_finds_nothing_in_the_image() -> None:
    found = shutil.which("hadolint")
    if found is None:
        pytest.skip("hadolint is not here")
    done = subprocess.run([found, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
