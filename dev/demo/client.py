"""A client of the public HTTP API, independent of the platform's code."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import requests

#: An object of the API. Any: the demo reads it as the documentation says it is.
Json = dict[str, Any]

ENDED = frozenset({"succeeded", "failed", "canceled", "expired"})
TIMEOUT = 40
LONG_POLL_SECONDS = 30
SUBMITS = 4
LONGEST_RETRY_AFTER = 5.0


class ApiError(Exception):
    """An error response; `problem` is its body (RFC 9457) and `status` its HTTP status."""

    def __init__(self, method: str, path: str, response: requests.Response) -> None:
        self.status = response.status_code
        self.retry_after = float(response.headers.get("Retry-After", 0))
        self.problem: Json = response.json() if "json" in response.headers.get("Content-Type", "") else {}
        detail = self.problem.get("detail") or response.text[:200]
        errors = "".join(f"; {e.get('pointer')}: {e.get('detail')}" for e in self.problem.get("errors") or [])
        super().__init__(f"{method} {path} answered {self.status} {self.problem.get('code', '')}: {detail}{errors}")


def _object(response: requests.Response) -> Json:
    body: Json = response.json()
    return body


class ApiClient:
    """A client for one account at `base_url`. Thread-safe: each thread has its own connection."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.token: str | None = None
        self.postponed = 0
        self._local = threading.local()

    def get(self, path: str, **params: object) -> Json:
        return _object(self.request("GET", path, params=params))

    def post(self, path: str, body: Json | None = None, **headers: str) -> Json:
        return _object(self.request("POST", path, json=body, headers=headers))

    # Any: options of requests, as they are.
    def request(self, method: str, path: str, root: str = "/api/v1", **options: Any) -> requests.Response:
        """Send a request below `root`. Raises `ApiError` for an error response."""
        options["headers"] = self._headers(options.get("headers"))
        response = self._session().request(method, f"{self.base_url}{root}{path}", timeout=TIMEOUT, **options)
        if not response.ok:
            raise ApiError(method, path, response)
        return response

    def sign_up(self, email: str, password: str, name: str) -> Json:
        """Register and log in; later requests use that account. Returns the user."""
        user: Json = self.post("/auth/register", {"email": email, "password": password, "name": name})["data"]
        self.token = self.post("/auth/login", {"email": email, "password": password})["data"]["access_token"]
        return user

    def invoke(self, tool: str, body: Json, key: str, **headers: str) -> requests.Response:
        """Submit, and retry after 429 or 503: the idempotency key makes that safe."""
        for _ in range(SUBMITS - 1):
            try:
                return self._submit(tool, body, key, headers)
            except ApiError as refusal:
                if refusal.status not in (429, 503):
                    raise
                self.postponed += 1
                time.sleep(min(refusal.retry_after, LONGEST_RETRY_AFTER))
        return self._submit(tool, body, key, headers)

    def _submit(self, tool: str, body: Json, key: str, headers: dict[str, str]) -> requests.Response:
        return self.request("POST", f"/tools/{tool}/invoke", json=body, headers={"Idempotency_Key": key, **headers})

    # -- two ways to wait for a result (the third is a webhook) -------------------------------------------------

    def long_poll(self, invocation_id: str, deadline: float) -> Iterator[Json]:
        """Yield the invocation with each response, until it has ended or `deadline` (monotonic) has passed."""
        while time.monotonic() < deadline:
            invocation: Json = self.get(f"/invocations/{invocation_id}", wait=LONG_POLL_SECONDS)["data"]
            yield invocation
            if invocation["status"] in ENDED:
                return

    def stream(self, invocation_id: str, deadline: float) -> Iterator[Json]:
        """Yield the invocation with each change of its status, until it has ended or `deadline` has passed."""
        for name, data in self.events(invocation_id, deadline):
            if not name.startswith("output."):
                yield data

    def events(self, invocation_id: str, deadline: float) -> Iterator[tuple[str, Json]]:
        """Yield name and data of each server-sent event, until the stream ends or `deadline` has passed.

        The server sends a comment every ten seconds, so the deadline is checked in time.
        """
        name = ""
        options: Json = {"stream": True, "headers": {"Accept": "text/event-stream"}}
        with self.request("GET", f"/invocations/{invocation_id}/events", **options) as response:
            response.encoding = "utf-8"
            for line in response.iter_lines(chunk_size=1, decode_unicode=True):
                if line.startswith("event:"):
                    name = line.removeprefix("event:").strip()
                elif line.startswith("data:"):
                    yield name, json.loads(line.removeprefix("data:"))
                if time.monotonic() > deadline:
                    return

    # -- plumbing ------------------------------------------------------------------------------------------------

    def _headers(self, extra: Json | None) -> dict[str, str]:
        named = {name.replace("_", "-"): value for name, value in (extra or {}).items()}
        return {"Authorization": f"Bearer {self.token}", **named} if self.token else named

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False  # no proxy from the environment for loopback
        session: requests.Session = self._local.session
        return session
