"""A process whose settings are wrong does not start, and says everything that is wrong, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common import settings
from tests.conftest import ROOT

PROCESSES = {
    "web": ["gunicorn", "--config", str(ROOT / "web" / "gunicorn.conf.py"), "wsgi:app"],
    "the application": ["flask", "--app", "wsgi", "doctor"],
    "worker": ["celery", "-A", "worker.app", "worker", "-Q", "sweeps"],
    "beat": ["celery", "-A", "worker.app", "beat"],
    "flower": ["celery", "-A", "worker.app", "flower"],
    "health": ["worker.health"],
}
WRONG = {
    "ENV": "production",
    "REDIS_URL": "http://redis",
    "JWT_SECRET_KEY": settings.DEVELOPMENT_SECRETS["JWT_SECRET_KEY"],
    "SECRETS_KEYS": "short",
}


@pytest.mark.parametrize("name", PROCESSES)
def test_it_says_all_that_is_wrong_and_nothing_else(name: str, tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **WRONG}
    command = [sys.executable, "-m", *PROCESSES[name]]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "settings are not usable:",
        "  - DATABASE_URL is required in production",
        "  - REDIS_URL must start with redis:// or rediss:// or unix://",
        "  - JWT_SECRET_KEY is the development secret; production needs its own",
        "  - SECRETS_KEYS has a key shorter than 32 bytes",
        "  - FLOWER_BASIC_AUTH is required in production (user:password)",
    ]


@pytest.mark.parametrize("value", ["flower", "ops:a,password", ":password", "ops:"])
def test_flower_is_given_names_with_passwords(value: str) -> None:
    """A comma parts one pair from the next there: a password with one in it would be cut short."""
    with pytest.raises(settings.SettingsError) as refused:
        settings.load({"FLOWER_BASIC_AUTH": value})

    assert refused.value.problems == ["FLOWER_BASIC_AUTH must be user:password (or several, comma-separated)"]


def test_the_environment_wins_over_the_file_whichever_way_either_gives_a_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, secret = tmp_path / ".env", tmp_path / "secret"
    secret.write_text("redis://from-a-file/0")
    file.write_text(f"REDIS_URL_FILE={secret}\nBROKER_URL=redis://from-dotenv/0\nPORT=8001\n")
    for name in ("REDIS_URL_FILE", "BROKER_URL", "PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REDIS_URL", "redis://from-the-environment/0")
    monkeypatch.setenv("BROKER_URL_FILE", str(secret))
    read = settings.load(dotenv=file)

    assert (read.redis_url, read.broker_url) == ("redis://from-the-environment/0", "redis://from-a-file/0")
    assert read.port == 8001
