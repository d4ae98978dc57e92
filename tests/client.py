"""A client of the public API as its users would write it: requests and nothing of ours."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import requests

from tests import billing

PASSWORD = "correct horse battery staple"
ENDS = ("succeeded", "failed", "canceled", "expired")
Json = dict[str, Any]


class Client:
    """One account over HTTP. Methods return what is inside `data`, after checking the status."""

    def __init__(self, url: str) -> None:
        self.api = f"{url}/api/v1"
        self.http = requests.Session()
        self.http.trust_env = False
        self.email = f"{uuid4().hex[:12]}@example.com"

    def call(self, method: str, path: str, expect: int | tuple[int, ...] = 200, **kwargs: Any) -> requests.Response:
        response = self.http.request(method, f"{self.api}{path}", timeout=90, **kwargs)
        wanted = (expect,) if isinstance(expect, int) else expect
        assert response.status_code in wanted, f"{method} {path}: {response.status_code} {response.text[:1000]}"
        return response

    def data(self, method: str, path: str, expect: int | tuple[int, ...] = 200, **kwargs: Any) -> Any:
        return self.call(method, path, expect, **kwargs).json()["data"]

    # -- the story, step by step ---------------------------------------------------------------------------------

    def join(self, plan: str | None = "free") -> Client:
        """Register, log in, subscribe."""
        body = {"email": self.email, "password": PASSWORD, "name": "Tester"}
        self.call("POST", "/auth/register", 201, json=body)
        tokens = self.data("POST", "/auth/login", json={"email": self.email, "password": PASSWORD})
        self.http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        if plan is not None:
            self.call("POST", "/subscriptions/subscribe", 201, json={"plan": plan})
        return self

    def invoke(self, tool: str, value: Any, *, headers: dict[str, str] | None = None, **body: Any) -> Json:
        return dict(
            self.data("POST", f"/tools/{tool}/invoke", (200, 202), json={"input": value, **body}, headers=headers)
        )

    def get(self, invocation_id: str, wait: int | None = None) -> Json:
        params = {} if wait is None else {"wait": wait}
        return billing.checked(self.data("GET", f"/invocations/{invocation_id}", params=params))

    def ended(self, invocation_id: str, within: float = 60.0) -> Json:
        """Long-poll until the end."""
        give_up = time.monotonic() + within
        while True:
            left = give_up - time.monotonic()
            invocation = self.get(invocation_id, wait=max(1, min(30, int(left))))
            if invocation["status"] in ENDS:
                return invocation
            assert left > 0, f"still {invocation['status']} after {within} s"

    def cancel(self, invocation_id: str) -> Json:
        return dict(self.data("POST", f"/invocations/{invocation_id}/cancel", (200, 202)))

    def tokens(self) -> Json:
        return dict(self.data("GET", "/subscriptions/current")["tokens"])


def eventually(what: str, within: float, condition: Any) -> Any:
    """The first true answer of `condition`; fails with `what` when there is none in time."""
    give_up = time.monotonic() + within
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < give_up, f"not within {within} s: {what}"
        time.sleep(0.05)
