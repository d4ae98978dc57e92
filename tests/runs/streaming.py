"""A customer whose invocations are streamed, while a thread of the test is the worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from common.tools import ListedTool
from tests import factories
from tests.outside.tool import Tool
from tests.runs.conftest import Api, Json
from tests.runs.following import Follower
from tests.working import working
from worker.heartbeat import WorkerProcess

TOKENS = {"pointer": "/usage/total_tokens", "tokens": 2, "unit": "token"}
METER = {"chars_per_unit": 4, "input": True}
INPUT = {"messages": [{"role": "user", "content": "How are you?"}]}


def words(count: int) -> str:
    return "".join(f"wörd{number} " for number in range(count))


@dataclass(frozen=True, slots=True)
class Stage:
    """A customer, a worker that runs one invocation after the other, and a tool that streams as it is told."""

    api: Api
    me: WorkerProcess
    tool: Tool

    def chat(self, query: str, *, metered: Any = METER, **changes: Any) -> ListedTool:
        price = {"base_tokens": 1, "per_unit": TOKENS, "max_tokens": 1_000, "metered": metered}
        given = {"adapter": "chat_completion", "streaming": True, "price": price, **changes}
        return factories.tool(endpoint_url=f"{self.tool.url}/stream?{query}", **given)

    def submit(self, tool: ListedTool, **body: Any) -> str:
        return str(self.api.submit(tool, INPUT, stream=True, **body)["id"])

    def streamed(self, query: str, **changes: Any) -> tuple[str, Follower]:
        made = self.submit(self.chat(query, **changes))
        return made, Follower(self.api, made)

    def cancel(self, made: str) -> None:
        self.api.post(f"/invocations/{made}/cancel", expect=202)
        self.me._heartbeat()


@pytest.fixture
def stage(api: Api, tool: Tool) -> Iterator[Stage]:
    with working() as process:
        yield Stage(api, process, tool)


def content(ended: Json) -> Any:
    return ended["output"]["choices"][0]["message"]["content"]
