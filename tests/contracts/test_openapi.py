"""The running product against its own OpenAPI document: generated requests, and every answer held to what it says.

A schema cannot say everything (a plan that exists, a password that is not common), so a refusal of what it allows is no
fault: `positive_data_acceptance` stays out. That every refusal is as documented is what the other checks are for.
A fixed seed keeps the run the same from day to day. To hunt for more, leave it out, and add examples.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from common.identity import accounts
from common.identity.audit import OPERATOR
from common.tools import editing
from tests.web.conftest import ROOT, Service, serving

HERE = Path(__file__).parent
#: These call out to addresses that were generated.
CALLING_OUT = "/test$"
#: In the shape of another protocol, which has tests of its own.
ELSEWHERE = r"/mcp$|/oauth-protected-resource"
PERSON = {"email": "reader@example.com", "password": "a quiet green river"}


@pytest.fixture(scope="module")
def product(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(environ, tmp_path_factory.mktemp("product"), "wsgi:app") as running:
        yield running


def subscriber(product: Service, role: str) -> str:
    """The access token of a new account with the free plan."""
    registered = product("POST", "/api/v1/auth/register", json={**PERSON, "name": "Reader"})
    assert registered.status_code == 201
    token = str(product("POST", "/api/v1/auth/login", json=PERSON).json()["data"]["access_token"])
    begun = product(
        "POST", "/api/v1/subscriptions/subscribe", json={"plan": "free"}, headers={"Authorization": f"Bearer {token}"}
    )
    assert begun.status_code == 201
    if role == "admin":
        accounts.administer(UUID(registered.json()["data"]["id"]), actor=OPERATOR, role="admin")
    return token


#: Takes any input, so that what is submitted gets as far as the queue (there are no workers).
TOOL = {
    "slug": "anything",
    "name": "Anything",
    "endpoint_url": "https://203.0.113.1/",
    "input_schema": {},
    "price": {"base_tokens": 0, "max_tokens": 1},
}
#: By what the caller is: the phases, and how many examples of each kind of request.
RUNS = {"nobody": ("fuzzing", 1), "user": ("fuzzing", 2), "admin": ("fuzzing,stateful", 2)}


@pytest.mark.parametrize("role", RUNS)
def test_every_answer_is_as_documented(db: None, product: Service, tmp_path: Path, role: str) -> None:
    phases, examples = RUNS[role]
    editing.create(OPERATOR, editing.Draft.of(TOOL))
    left_out = f"{CALLING_OUT}|{ELSEWHERE}" if role == "admin" else f"{CALLING_OUT}|{ELSEWHERE}|/admin/"
    credentials = [] if role == "nobody" else ["--header", f"Authorization: Bearer {subscriber(product, role)}"]
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "--no-color"),
        *("run", f"{product.base}/api/v1/openapi.json", *credentials),
        *("--checks", "all", "--exclude-checks", "positive_data_acceptance"),
        *("--phases", phases, "--max-examples", str(examples), "--seed", "1", "--request-timeout", "20"),
        *("--exclude-path-regex", left_out),
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.contracts.checks", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **hooks}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2000:]
