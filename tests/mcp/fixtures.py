"""Tools that the conformance suite asks for, by the names that it has for them (with hyphens)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests import factories
from tests.outside.server import Request, answer
from tests.outside.tool import Tool

#: Longer than the hub waits for a call before it answers with a task or a stream.
LONG = 3.0
TEXT: dict[str, Any] = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


class Fixtures(Tool):
    """The server of these tools."""

    def offer(self) -> None:
        """Put them all into the catalogue."""
        chat: dict[str, Any] = {"adapter": "chat_completion"}
        kinds: dict[str, tuple[str, dict[str, Any]]] = {
            "echo": ("/echo", {"input_schema": TEXT}),
            "talk": ("/stream?words=40&every=100", {**chat, "streaming": True}),
            "greet": ("/greet", chat),
            "slow-compute": ("/slow-compute", {}),
            "failing-job": (f"/fail?status=400&after={LONG * 1000:.0f}", {}),
            "test-simple-text": ("/greet", chat),
            "test-error-handling": ("/fail?status=400", {}),
            "test-tool-with-progress": ("/stream?words=10&every=450", {**chat, "streaming": True}),
        }
        for slug, (path, changes) in kinds.items():
            factories.tool(slug=slug, name=slug, endpoint_url=f"{self.url}{path}", **changes)

    async def on_greet(self, request: Request, writer: asyncio.StreamWriter) -> None:
        name = json.loads(request.body).get("name", "World")
        said = {"choices": [{"message": {"role": "assistant", "content": f"Hello, {name}!"}}]}
        writer.write(answer(200, json.dumps(said).encode()))

    async def on_slow_compute(self, request: Request, writer: asyncio.StreamWriter) -> None:
        seconds = json.loads(request.body).get("seconds", 0)
        await asyncio.sleep(seconds and max(seconds, LONG))
        writer.write(answer(200, b'{"computed": true}'))
