"""Every kind of error: the class that the official client makes of it, what it says, and whether it is repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import openai
import pytest
import requests

from common.identity import keys
from common.identity.audit import OPERATOR
from common.tools import breakers
from tests import factories
from tests.openai.conftest import MESSAGES, Stage, charges


class Case(NamedTuple):
    """`ask` fails with this class; `retried`: the client would repeat it by itself. `param`: what is wrong."""

    name: str
    ask: Callable[[Stage], object]
    kind: type[openai.APIStatusError]
    status: int
    code: str
    type: str
    retried: bool = False
    param: str | None = None


def call(stage: Stage, path: str = "/chat/completions", *, sent: Any = None, key: str = "", **changes: Any) -> object:
    client = stage.client(api_key=key or stage.key)
    return client.chat.completions.create(
        **{"model": stage.chat(path, **changes), "messages": MESSAGES, **(sent or {})}
    )


def of(stage: Stage, customer: factories.Customer) -> str:
    return keys.create(customer.user_id, "another", actor=OPERATOR)[1]


def reads_only(stage: Stage) -> object:
    return call(stage, key=keys.create(stage.customer.user_id, "reads", actor=OPERATOR, scopes=["tools:read"])[1])


def in_a_minute(stage: Stage) -> object:
    key = of(stage, factories.customer(per_minute=1))
    call(stage, key=key)
    return call(stage, key=key)


def resting(stage: Stage) -> object:
    tool = stage.offer("/chat/completions", adapter="chat_completion")
    breakers._breaker(str(tool.id)).open()
    return call(stage, sent={"model": tool.slug})


ENDS, LIMITED = "invalid_request_error", "rate_limit_error"
CASES = [
    Case("no key of ours", lambda s: call(s, key="jh_no"), openai.AuthenticationError, 401, "unauthenticated",
         "authentication_error"),
    Case("no budget", lambda s: call(s, key=of(s, factories.customer(10))), openai.APIStatusError, 402,
         "budget_exhausted", "insufficient_quota"),
    Case("no scope", reads_only, openai.PermissionDeniedError, 403, "scope_missing", "permission_error"),
    Case("no such model", lambda s: call(s, sent={"model": "no"}), openai.NotFoundError, 404, "model_not_found", ENDS),
    Case("not a chat model", lambda s: call(s, adapter="embeddings", streaming=False), openai.NotFoundError, 404,
         "model_not_found", ENDS),
    Case("not what the model takes", lambda s: call(s, sent={"temperature": 3}, input_schema={
         "properties": {"temperature": {"maximum": 2}}}), openai.BadRequestError, 400, "tool_input_rejected", ENDS,
         param="/temperature"),
    Case("not metadata", lambda s: call(s, sent={"metadata": {"a": 1}}), openai.UnprocessableEntityError, 422,
         "validation_failed", ENDS, param="/metadata/a"),
    Case("does not stream", lambda s: call(s, sent={"stream": True}, streaming=False), openai.UnprocessableEntityError,
         422, "streaming_unsupported", ENDS),
    Case("no such limit", lambda s: call(s, sent={"extra_headers": {"Joyfull-Max-Tokens": "9.5"}}),
         openai.BadRequestError, 400, "invalid_header", ENDS),
    Case("no such wish", lambda s: call(s, sent={"extra_headers": {"Joyfull-On-Disconnect": "stay"}}),
         openai.BadRequestError, 400, "invalid_header", ENDS),
    Case("no quote", lambda s: call(s, sent={"extra_headers": {"Joyfull-Quote": "x.y.z"}}),
         openai.UnprocessableEntityError, 422, "quote_invalid", ENDS),
    Case("too large", lambda s: call(s, sent={"messages": [{"content": "x" * 1_100_000}]}), openai.APIStatusError, 413,
         "payload_too_large", ENDS),
    Case("too many", in_a_minute, openai.RateLimitError, 429, "rate_limited", LIMITED, retried=True),
    Case("the tool rests", resting, openai.InternalServerError, 503, "tool_unavailable", "server_error", retried=True),
    Case("the tool refuses", lambda s: call(s, "/fail?status=404"), openai.BadRequestError, 400, "tool_error", ENDS),
    Case("the tool fails", lambda s: call(s, "/fail?status=500"), openai.InternalServerError, 502, "tool_failed",
         "server_error"),
    Case("the tool hangs", lambda s: call(s, "/hang", timeout_seconds=1, max_attempts=1), openai.InternalServerError,
         504, "tool_timeout", "server_error"),
    Case("the tool says nonsense", lambda s: call(s, "/garbage"), openai.InternalServerError, 502, "tool_bad_response",
         "server_error"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_is_wrong_and_whether_it_is_repeated(stage: Stage, case: Case) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        case.ask(stage)
    error = caught.value
    assert (type(error), error.status_code, error.code) == (case.kind, case.status, case.code)
    assert (error.type, error.param) == (case.type, case.param)
    body: Any = error.body
    assert body["message"] and not {"title", "status", "instance"} & body.keys()
    assert stage.client()._should_retry(error.response) == case.retried
    assert ("Retry-After" in error.response.headers) == case.retried
    assert error.response.headers["x-request-id"] == body.get("request_id", error.response.headers["x-request-id"])
    assert not charges() or set(charges()) == {0} or case.name == "too many"


def test_a_refusal_that_lacks_budget_says_what_would_help(stage: Stage) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        call(stage, key=of(stage, factories.customer(10)))
    body: Any = caught.value.body
    assert (body["required"], body["available"], body["affordable_max_tokens"]) == (1_000, 10, 10)
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_a_failure_names_its_invocation(stage: Stage) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        call(stage, "/fail?status=500")
    told = caught.value.response.headers
    body: Any = caught.value.body
    assert (told["x-should-retry"], told["Joyfull-Charged"]) == ("false", "0")
    assert body["joyfull"]["invocation"] == told["Joyfull-Invocation"]


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (("POST", "/chat/completions", b"{"), 400, "malformed_json"),
        (("POST", "/chat/completions", b"[]"), 422, "validation_failed"),
        (("POST", "/embeddings", b""), 400, "body_required"),
        (("POST", "/responses", b"{}"), 404, "not_found"),
        (("DELETE", "/models", b""), 405, "method_not_allowed"),
    ],
    ids=["half a body", "a list", "no body", "no such route", "no such method"],
)
def test_what_no_official_client_sends(stage: Stage, sent: tuple[str, str, bytes], status: int, code: str) -> None:
    method, path, body = sent
    headers = {"Authorization": f"Bearer {stage.key}", "Content-Type": "application/json"}
    told = requests.request(method, stage.url + path, data=body, headers=headers, timeout=20)
    assert (told.status_code, told.json()["error"]["code"]) == (status, code)
    assert told.json()["error"]["type"] == "invalid_request_error"
