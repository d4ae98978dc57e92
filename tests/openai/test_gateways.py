"""What a gateway of others makes of the same calls: litellm proxy, where `make bench ONLY=peer` has installed it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator

import openai
import pytest
import requests

from dev.ports import free_port
from tests import factories
from tests.budgets import world
from tests.client import eventually
from tests.openai.conftest import MESSAGES, Stage, charges
from tests.outside.server import Request, Server
from tests.outside.tool import Tool
from tools.bench import environments

KEY = "sk-test"
CONFIG = """
model_list:
  - {{model_name: hangs, litellm_params: {{model: openai/tool, api_base: {hangs}, api_key: nothing}}}}
  - {{model_name: breaks, litellm_params: {{model: openai/tool, api_base: {breaks}, api_key: nothing}}}}
litellm_settings: {{telemetry: false}}
general_settings: {{master_key: {key}}}
"""


async def breaks_off(_: Request, writer: asyncio.StreamWriter) -> None:
    """Half an answer: there is no `finish_reason`, and no end."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    for text in ("half ", "of it"):
        choice = {"index": 0, "delta": {"role": "assistant", "content": text}}
        chunk = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        writer.write(f"data: {json.dumps(chunk)}\n\n".encode())
    await writer.drain()
    writer.close()


@pytest.fixture(scope="module")
def breaking() -> Iterator[str]:
    with Server(breaks_off) as server:
        yield server.url


@pytest.fixture(scope="module")
def gateway(_tool: Tool, breaking: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where it serves the same tool, without a database."""
    where = environments.place("peer")
    if not (where / "installed").exists():
        pytest.skip("litellm proxy is not installed")
    directory, port = tmp_path_factory.mktemp("gateway"), free_port()
    (directory / "config.yaml").write_text(CONFIG.format(hangs=f"{_tool.url}/hang", breaks=breaking, key=KEY))
    command = [
        str(where / "bin/litellm"),
        "--config",
        str(directory / "config.yaml"),
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
    ]
    environ = {"PATH": os.environ["PATH"], "HOME": str(directory), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with (directory / "log").open("wb") as log, subprocess.Popen(command, env=environ, stdout=log, stderr=log) as child:
        try:
            eventually("it serves", 120, lambda: child.poll() is not None or is_served(f"http://127.0.0.1:{port}"))
            assert child.poll() is None, (directory / "log").read_text()
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            child.kill()


def is_served(url: str) -> bool:
    try:
        return requests.get(f"{url}/health/liveliness", timeout=5).ok
    except requests.ConnectionError:
        return False


def called(url: str, key: str, model: str, tool: Tool) -> int:
    """How often a tool is called for one call of a client that gives up after half a second, and repeats it twice."""
    client = openai.OpenAI(base_url=url, api_key=key, timeout=0.5, max_retries=2)
    with client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model=model, messages=MESSAGES)
    return len(tool.calls())


def test_what_a_client_repeats_by_itself_calls_the_tool_once_and_elsewhere_each_time(
    stage: Stage, gateway: str
) -> None:
    assert called(stage.url, stage.key, stage.chat("/hang", timeout_seconds=5), stage.tool) == 1
    assert len(world.open_rows()) == 1
    stage.tool.forget()
    assert called(gateway, KEY, "hangs", stage.tool) > 1


def said(url: str, key: str, model: str) -> tuple[str, str | None]:
    """What a client is told of an answer that breaks off: its text, and how it ended."""
    text, ended = "", None
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
        try:
            for chunk in client.chat.completions.create(model=model, messages=MESSAGES, stream=True):
                text += chunk.choices[0].delta.content or ""
                ended = chunk.choices[0].finish_reason
        except openai.APIError as error:
            return text, error.code
    return text, ended


def test_half_an_answer_is_an_error_and_free_and_elsewhere_looks_whole(
    stage: Stage, gateway: str, breaking: str
) -> None:
    chat = factories.tool(endpoint_url=breaking, adapter="chat_completion", streaming=True)
    assert said(stage.url, stage.key, chat.slug) == ("half of it", "tool_bad_response")
    assert charges() == [0]
    assert said(gateway, KEY, "breaks") == ("half of it", "stop")
