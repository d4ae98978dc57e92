"""A process whose settings are wrong does not start, and says everything that is wrong, and nothing else."""

from __future__ import annotations

import os
import secrets
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
        "invalid settings:",
        "  - DATABASE_URL is required in production",
        "  - REDIS_URL must start with redis:// or rediss:// or unix:// or redis+sentinel://"
        " or rediss+sentinel:// or redis+cluster:// or rediss+cluster://",
        "  - JWT_SECRET_KEY is the development secret; production needs its own",
        "  - SECRETS_KEYS has a key shorter than 32 bytes",
        "  - FLOWER_BASIC_AUTH is required in production (user:password)",
    ]


#: What an installation could look like that was made in a hurry, and what is said of it.
GUESSED = {
    "ENV": "production",
    "DATABASE_URL": "postgresql://postgres:postgres@db/joyfull",
    "REDIS_URL": "redis://redis:6379/0",
    "BROKER_URL": "amqp://guest:guest@rabbitmq//",
    "JWT_SECRET_KEY": "a" * 32,
    "SECRETS_KEYS": "abcdefghijklmnopqrstuvwxyz0123456789",
    "FLOWER_BASIC_AUTH": "admin:admin",
    "PUBLIC_URL": "http://hub.example.org",
    "OUTBOUND_ALLOW": "10.0.0.0/8,0.0.0.0/0,::/0",
}
SAID = [
    "DATABASE_URL has a password shorter than 10 characters",
    "REDIS_URL needs a password in production (or a Unix socket)",
    "BROKER_URL has a password shorter than 10 characters",
    "JWT_SECRET_KEY has a guessable key; production needs a random one",
    "SECRETS_KEYS has a guessable key; production needs a random one",
    "FLOWER_BASIC_AUTH has a password shorter than 10 characters",
    "PUBLIC_URL must start with https:// in production",
    "OUTBOUND_ALLOW includes more than private networks: 0.0.0.0/0, ::/0",
]


def test_production_says_all_that_can_be_guessed(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **GUESSED}
    command = [sys.executable, "-m", *PROCESSES["web"]]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["invalid settings:", *(f"  - {line}" for line in SAID)]


def chance() -> dict[str, str]:
    """Settings as the documentation says how to make them."""
    return {
        "ENV": "production",
        "DATABASE_URL": f"postgresql://joyfull:{secrets.token_hex(16)}@db/joyfull",
        "REDIS_URL": f"redis://:{secrets.token_hex(16)}@redis:6379/0",
        "JWT_SECRET_KEY": f"{secrets.token_hex(32)},{secrets.token_urlsafe(32)}",
        "SECRETS_KEYS": secrets.token_hex(16),
        "FLOWER_BASIC_AUTH": f"ops:{secrets.token_hex(8)},eve:{secrets.token_urlsafe(12)}",
        "PUBLIC_URL": "https://hub.example.org",
    }


@pytest.mark.parametrize("_", range(50))
def test_what_was_made_by_chance_is_never_refused(_: int) -> None:
    assert settings.load(chance()).production


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "unix:///run/redis.sock"),
        ("REDIS_URL", "rediss://redis:6380/0?ssl_certfile=/run/tls.pem"),
        ("REDIS_URL", "redis://redis:6379/0?password=4f1c9a7be20d"),
        ("REDIS_URL", "rediss+sentinel://one,two/mymaster?ssl_ca_certs=/run/ca.pem&ssl_certfile=/run/tls.pem"),
        ("REDIS_URL", "redis+sentinel://:4f1c9a7be20d@one:26379,[fd00::2]:26379,three/mymaster/1"),
        ("BROKER_URL", "amqps://joyfull:4f1c9a7be20d@rabbitmq//"),
        ("BROKER_URL", "amqp://joyfull:4f1c9a7be20d@one//;amqp://joyfull:4f1c9a7be20d@two//"),
        ("DATABASE_URL", "postgresql://joyfull:4f1c9a7be20d@one:5433,two:5434/joyfull?target_session_attrs=read-write"),
        ("DATABASE_URL", "postgresql:///joyfull?host=/run/postgresql"),
        ("PUBLIC_URL", "http://localhost:8000"),
        ("PUBLIC_URL", "http://[::1]:8000"),
        ("OUTBOUND_ALLOW", "10.0.0.0/8,192.168.7.0/24,fd00::/8"),
    ],
)
def test_production_takes_what_is_good_enough(name: str, value: str) -> None:
    assert settings.load({**chance(), name: value}).production


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JWT_SECRET_KEY", "abcdefgh" * 8),
        ("JWT_SECRET_KEY", "please-changeme-before-you-deploy-this-thing-7391"),
        ("JWT_SECRET_KEY", "0123456789abcdef0123456789abcdef"),
        ("SECRETS_KEYS", "9" * 40),
        ("REDIS_URL", "redis://localhost:6379/0"),
        ("REDIS_URL", "redis://:@redis:6379/0"),
        ("REDIS_URL", "redis+sentinel://one,two/mymaster"),
        ("REDIS_URL", "rediss+sentinel://one,two/mymaster?ssl_ca_certs=/run/ca.pem"),
        ("REDIS_URL", "redis://:redisredis@redis:6379/0?password="),
        ("BROKER_URL", "amqp://rabbitmq//"),
        ("BROKER_URL", "amqp://joyfull:4f1c9a7be20d@one//;amqp://joyfull:joyfull-hub-1@two//"),
        ("DATABASE_URL", "postgresql://joyfull:joyfull-hub-1@one:5433,two:5434/joyfull"),
        ("BROKER_URL", "redis://broker:6379/1"),
        ("DATABASE_URL", "postgresql://joyfull:joyfull-hub-1@db/joyfull"),
        ("DATABASE_URL", "postgresql://db/joyfull?user=postgres&password=postgres"),
        ("FLOWER_BASIC_AUTH", "ops:9f2c77aa01d4e,flower:flower-flower"),
        ("FLOWER_BASIC_AUTH", "ops:aaaaaaaaaaaaaaaa"),
        ("PUBLIC_URL", "http://localhost.example.org"),
        ("OUTBOUND_ALLOW", "0.0.0.0/1,128.0.0.0/1"),
        ("OUTBOUND_ALLOW", "10.0.0.0/8,2000::/3"),
    ],
)
def test_production_refuses_what_can_be_guessed(name: str, value: str) -> None:
    with pytest.raises(settings.SettingsError) as refused:
        settings.load({**chance(), name: value})
    assert [problem.split()[0] for problem in refused.value.problems] == [name]
    assert settings.load({**chance(), "ENV": "development", name: value})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+sentinel://one,two", "must end in the name of the primary, such as /mymaster or /mymaster/0"),
        ("redis+sentinel://one,,two/mymaster", "must list hosts such as host:port,host:port"),
        ("redis+sentinel://one/mymaster?ssl=true", "does not know ssl"),
        ("redis+sentinel://one/mymaster?ssl_ca_certs=/run/ca.pem", "does not know ssl_ca_certs"),
        ("rediss+sentinel://one/mymaster?ssl_check_hostname=no", "must have ssl_check_hostname=true or false"),
        (
            "rediss+cluster://one",
            "must start with redis:// or rediss:// or unix:// or redis+sentinel:// or rediss+sentinel://",
        ),
    ],
)
def test_several_hosts_are_written_in_one_way(url: str, said: str) -> None:
    with pytest.raises(settings.SettingsError) as refused:
        settings.load({"STREAM_URL": url})
    assert refused.value.problems == [f"STREAM_URL {said}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLIC_URL", "http://["),
        ("DATABASE_URL", "postgresql://joyfull:4f1c[9a7be20d@db/joyfull"),
        ("CORS_ORIGINS", "https://app.example.org,https://["),
    ],
)
def test_what_is_no_url_is_told_like_anything_else(name: str, value: str) -> None:
    with pytest.raises(settings.SettingsError) as refused:
        settings.load({**chance(), name: value})
    assert [problem.split()[0] for problem in refused.value.problems] == [name]


def test_a_cluster_needs_other_servers_for_what_it_does_not_carry() -> None:
    cluster = {"REDIS_URL": "redis+cluster://one:7000,two:7000"}
    with pytest.raises(settings.SettingsError) as refused:
        settings.load(cluster)
    assert [problem.partition(":")[0] for problem in refused.value.problems] == [
        "BROKER_URL is required",
        "STREAM_URL is required",
    ]
    others = {"BROKER_URL": "amqp://rabbitmq//", "STREAM_URL": "redis://streams"}
    assert settings.load({**cluster, **others}).redis_url == cluster["REDIS_URL"]
    with pytest.raises(settings.SettingsError):
        settings.load({**cluster, **others, "STREAM_URL": cluster["REDIS_URL"]})


def test_two_purposes_have_two_keys() -> None:
    given = chance()
    with pytest.raises(settings.SettingsError) as refused:
        settings.load({**given, "SECRETS_KEYS": given["JWT_SECRET_KEY"]})
    assert refused.value.problems == ["JWT_SECRET_KEY and SECRETS_KEYS have a key in common"]


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
