"""A client that follows a streamed answer, by the documentation alone: it writes on, replaces, and begins anew."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any, Protocol

import httpx

from common.kit import sse
from tests.client import eventually


class Events(Protocol):
    """An event stream as it comes."""

    def iter_encoded(self) -> Iterator[bytes]: ...
    def close(self) -> None: ...


class Asked(Protocol):
    """The API: in this process, or over HTTP."""

    def call(self, method: str, path: str, /, *, headers: dict[str, str]) -> Events: ...


class Follower:
    """Reads the events of an invocation in a thread of its own; `text` is what it has of the answer."""

    def __init__(self, api: Asked, invocation_id: str, *, after: str = "", query: str = "", text: str = "") -> None:
        self.names: list[str] = []
        self.text = text
        self.last_id = after
        self.end: dict[str, Any] | None = None
        headers = {"Last-Event-ID": after} if after else {}
        self._told: Events = api.call("GET", f"/invocations/{invocation_id}/events{query}", headers=headers)
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        parser = sse.Parser()
        with closing(self._told), suppress(OSError, httpx.TransportError):
            for piece in self._told.iter_encoded():
                for event in parser.feed(piece):
                    self.take(event.name, json.loads(event.data))
                    self.last_id = event.id
                if self._gone.is_set():
                    return

    def take(self, name: str, data: Any) -> None:
        self.names.append(name)
        if name in ("output.reset", "output.snapshot"):
            self.text = ""
        if name.startswith("output."):
            self.text += "".join(choice["delta"].get("content") or "" for choice in data.get("choices", []))
        elif data["status"] in ("succeeded", "failed", "canceled", "expired"):
            self.end = data

    @property
    def shown(self) -> list[str]:
        """The names of the events with parts of the answer."""
        return [name for name in self.names if name.startswith("output.")]

    @property
    def is_reading(self) -> bool:
        return self._thread.is_alive()

    def leave(self) -> str:
        """Go away in the middle. Returns the id to come back with."""
        self._gone.set()
        return self.last_id

    def has(self, text: str) -> None:
        eventually(f"{text!r} is there, not {self.text!r}", 30, lambda: self.text == text)

    def ended(self) -> dict[str, Any]:
        """The invocation at its end; what was shown before is how its output begins."""
        self._thread.join(60)
        assert self.end is not None, f"it never ended: {self.names}"
        output = self.end["output"]
        content = "" if output is None else output["choices"][0]["message"].get("content") or ""
        assert not self.names.count("output.delta") or self.end["status"] == "failed" or content.startswith(self.text)
        return self.end
