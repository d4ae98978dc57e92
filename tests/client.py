"""A client of the public API as its users write it: the package `joyfull`; and the wire, where a test looks at that."""

from __future__ import annotations

import time
from typing import Any, Self
from uuid import uuid4

import httpx

import joyfull
from tests import billing

PASSWORD = "correct horse battery staple"
Json = dict[str, Any]


class Client(joyfull.Client):
    """One account. What takes a path is plain HTTP with the account's credentials, after checking the status."""

    def __init__(self, url: str, email: str | None = None, **options: Any) -> None:
        self.email = email or f"{uuid4().hex[:12]}@example.com"
        self.login = joyfull.Session(self.email, PASSWORD)
        self.api = f"{url}/api/v1"
        limits = httpx.Limits(max_connections=None)
        self.http = httpx.Client(auth=self._authorize, limits=limits, timeout=90, trust_env=False, **options)
        super().__init__(base_url=url, session=self.login, retries=0, timeout=90, http=self.http)

    def _authorize(self, request: httpx.Request) -> httpx.Request:
        if tokens := self.login.store.read():
            request.headers.setdefault("Authorization", f"Bearer {tokens.access_token}")
        return request

    def join(self, plan: str | None = "free") -> Self:
        """Register, log in, subscribe."""
        self.id = self.account.register(email=self.email, password=PASSWORD, name="Tester").id
        if plan is None:
            self.account.me()  # logs in
        else:
            self.subscription.subscribe(plan=plan)
        return self

    # -- the story, as JSON ----------------------------------------------------------------------------------------

    def invoke(self, tool: str, value: Any, **options: Any) -> Json:
        return dict(self.submit(tool, value, **options).invocation.raw)

    def get(self, invocation_id: str) -> Json:
        return billing.checked(dict(self.invocations.get(invocation_id).raw))

    def ended(self, invocation_id: str, within: float = 60.0) -> Json:
        return billing.checked(dict(self.job(invocation_id).wait(within).raw))

    def tokens(self) -> Json:
        return dict(self.subscription.current().tokens.raw)

    # -- the wire --------------------------------------------------------------------------------------------------

    def call(self, method: str, path: str, expect: int | tuple[int, ...] = 200, **options: Any) -> httpx.Response:
        response = self.http.request(method, f"{self.api}{path}", **options)
        wanted = (expect,) if isinstance(expect, int) else expect
        assert response.status_code in wanted, f"{method} {path}: {response.status_code} {response.text[:1000]}"
        return response

    def data(self, method: str, path: str, expect: int | tuple[int, ...] = 200, **options: Any) -> Any:
        return self.call(method, path, expect, **options).json()["data"]

    def opened(self, path: str, **options: Any) -> httpx.Response:
        """An answer that is read while it comes, if it is not a refusal."""
        request = self.http.build_request("GET", f"{self.api}{path}", **options)
        response = self.http.send(request, stream=True)
        if response.is_error:
            response.read()
        return response


def eventually(what: str, within: float, condition: Any) -> Any:
    """The first true answer of `condition`; fails with `what` when there is none in time."""
    give_up = time.monotonic() + within
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < give_up, f"not within {within} s: {what}"
        time.sleep(0.05)
