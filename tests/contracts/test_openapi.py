"""The running product against its own OpenAPI document: generated requests, and every answer held to what it says.

A fixed seed keeps the run the same from day to day. To hunt for more, leave it out, and add examples and phases.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.conftest import Service, serving

CONFIG = Path(__file__).parent / "schemathesis.toml"
#: These call out to addresses that were generated.
CALLING_OUT = "/test$"


@pytest.fixture(scope="module")
def product(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(environ, tmp_path_factory.mktemp("product"), "wsgi:app") as running:
        yield running


@pytest.fixture
def token(db: None, product: Service) -> str:
    """The access token of a subscriber."""
    person = {"email": "reader@example.com", "password": "a quiet green river"}
    assert product("POST", "/api/v1/auth/register", json={**person, "name": "Reader"}).status_code == 201
    token = str(product("POST", "/api/v1/auth/login", json=person).json()["data"]["access_token"])
    credentials = {"Authorization": f"Bearer {token}"}
    assert (
        product("POST", "/api/v1/subscriptions/subscribe", json={"plan": "free"}, headers=credentials).status_code
        == 201
    )
    return token


def test_every_answer_is_as_documented(product: Service, token: str, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "--no-color"),
        *("run", f"{product.base}/api/v1/openapi.json", "--header", f"Authorization: Bearer {token}"),
        *("--phases", "fuzzing", "--max-examples", "4", "--seed", "1", "--request-timeout", "20"),
        *("--exclude-path-regex", CALLING_OUT),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2000:]
