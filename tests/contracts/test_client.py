"""A client that somebody else's generator made of our document, against the running platform.

Nothing here is written by hand but the story: every path, field and status comes from what was generated.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import requests

from dev.platform import Platform

PACKAGE = "hub_client_of_a_stranger"
EMAIL, PASSWORD = "stranger@example.com", "a quiet green river"


class Generated:
    """The generated package: `sdk("api.tools.tools_invoke")` is a module of it, `sdk.model("SubmitIn")` a class."""

    def __call__(self, name: str) -> Any:
        return importlib.import_module(f"{PACKAGE}.{name}")

    def model(self, model: str, **fields: Any) -> Any:
        return getattr(self("models"), model).from_dict(fields)


@pytest.fixture(scope="module")
def sdk(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generated]:
    """Generated anew from what the service says of itself."""
    directory = tmp_path_factory.mktemp("sdk")
    document, config = directory / "openapi.json", directory / "config.yaml"
    document.write_bytes(requests.get(f"{platform.url}/api/v1/openapi.json", timeout=10).content)
    config.write_text(f"package_name_override: {PACKAGE}\npost_hooks: []\n", encoding="utf-8")
    command = [
        *(str(Path(sys.executable).with_name("openapi-python-client")), "generate", "--meta", "none"),
        *("--path", str(document), "--output-path", str(directory / PACKAGE), "--config", str(config)),
        "--fail-on-warning",
    ]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(directory))
    yield Generated()
    sys.path.remove(str(directory))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def data(response: Any, status: HTTPStatus) -> Any:
    assert response.status_code == status, response.content[:500]
    return response.parsed.data


def test_a_generated_client_goes_the_whole_way(sdk: Generated, hub: Platform, offer: Callable[..., str]) -> None:
    slug = offer("/echo")
    anybody = sdk("client").Client(base_url=hub.url)
    registered = sdk("api.authentication.auth_register").sync_detailed(
        client=anybody, body=sdk.model("Registration", email=EMAIL, password=PASSWORD, name="A stranger")
    )
    assert data(registered, HTTPStatus.CREATED).email == EMAIL
    credentials = sdk.model("Credentials", email=EMAIL, password=PASSWORD)
    pair = data(sdk("api.authentication.auth_login").sync_detailed(client=anybody, body=credentials), HTTPStatus.OK)

    me = sdk("client").AuthenticatedClient(base_url=hub.url, token=pair.access_token)
    begun = sdk("api.subscriptions.subscriptions_subscribe").sync_detailed(
        client=me, body=sdk.model("SubscribeIn", plan="free")
    )
    assert data(begun, HTTPStatus.CREATED).tokens.available == 10_000
    tools = data(sdk("api.tools.tools_index").sync_detailed(client=me), HTTPStatus.OK)
    assert slug in [tool.slug for tool in tools]

    submitted = sdk("api.tools.tools_invoke").sync_detailed(
        slug, client=me, body=sdk.model("SubmitIn", input={"text": "abc"}, metadata={"order": "42"}), prefer="wait=30"
    )
    invocation = data(submitted, HTTPStatus.OK)
    read = data(sdk("api.invocations.invocations_show").sync_detailed(invocation.id, client=me, wait=30), HTTPStatus.OK)
    assert (read.status.value, read.output["echo"], read.metadata["order"]) == ("succeeded", {"text": "abc"}, "42")
    summary = data(sdk("api.usage.usage_summary").sync_detailed(client=me), HTTPStatus.OK)
    assert (summary.totals.succeeded, summary.totals.tokens_used) == (1, read.billing.charged)


def test_a_generated_client_understands_refusals(sdk: Generated, hub: Platform) -> None:
    nobody = sdk("client").AuthenticatedClient(base_url=hub.url, token="nonsense")
    refused = sdk("api.tools.tools_index").sync_detailed(client=nobody)
    assert refused.status_code == HTTPStatus.UNAUTHORIZED
    assert type(refused.parsed).__name__ == "UnauthenticatedProblem"
    assert (refused.parsed.code.value, refused.parsed.status) == ("unauthenticated", 401)
    anybody = sdk("client").Client(base_url=hub.url)
    body = sdk.model("Registration", email="no address", password=PASSWORD, name="A stranger")
    wrong = sdk("api.authentication.auth_register").sync_detailed(client=anybody, body=body).parsed
    assert (wrong.code.value, wrong.errors[0].pointer) == ("validation_failed", "/email")
