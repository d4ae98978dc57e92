"""One class for each code of the document, with its members, readable, picklable, and without a secret."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from pathlib import Path

import pytest

import joyfull
from joyfull import codes, errors
from joyfull.operations import CODES, INVOCATION_ERRORS
from joyfull.problems import ApiError
from tests.clients.scripted import KEY, RESET, Json, Stage, invocation, ok, problem

ROOT = Path(__file__).resolve().parents[2]


def test_every_code_of_the_document_has_a_class_of_the_right_family() -> None:
    assert set(ApiError.by_code) == set(CODES)
    assert set(ApiError.by_status) == {400, 401, 402, 403, 404, 409, 422, 429, 503}
    for code, status in CODES.items():
        assert issubclass(ApiError.by_code[code], ApiError.by_status.get(status, ApiError))
        assert getattr(codes, ApiError.by_code[code].__name__) is ApiError.by_code[code]


def test_every_way_an_invocation_can_fail_has_a_class() -> None:
    assert set(errors.FAILURES) == set(INVOCATION_ERRORS)


def test_the_codes_are_those_of_the_committed_document() -> None:
    """`generate.py --check` compares every file; this is why the two tests above can trust the table."""
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    examples = {
        name
        for response in document["components"]["responses"].values()
        for name in response["content"]["application/problem+json"]["examples"]
    }
    assert examples == set(CODES)


def refusal(*replies: object) -> ApiError:
    with pytest.raises(ApiError) as raised:
        Stage("sync", *replies).do(lambda client: client.submit("echo", {}))  # type: ignore[arg-type]
    return raised.value


def test_members_are_attributes() -> None:
    members: Json = {"required": 50, "available": 9, "shortfall": 41, "budget": "account", "plans": ["pro"]}
    error = refusal(problem(402, "budget_exhausted", **members, resets_at="2026-12-28T00:00:00Z"))
    assert isinstance(error, codes.BudgetExhausted)
    assert (error.required, error.available, error.shortfall, error.plans) == (50, 9, 41, ("pro",))
    assert (error.budget, error.resets_at) == ("account", datetime(2026, 12, 28, tzinfo=UTC))
    lacking = refusal(problem(403, "scope_missing", scope="invocations:write"))
    assert isinstance(lacking, codes.ScopeMissing)
    assert lacking.scope == "invocations:write"


def test_an_error_says_what_where_and_which_request() -> None:
    faults = [{"pointer": "/input/text", "detail": "is required"}]
    said = str(refusal(problem(422, "tool_input_rejected", errors=faults)))
    assert said == (
        "POST /api/v1/tools/echo/invoke: tool_input_rejected: It is tool_input_rejected; "
        "/input/text: is required (request r-1)"
    )


def test_an_unknown_code_is_its_family() -> None:
    error = refusal(problem(409, "of_the_future"))
    assert (type(error).__name__, error.code) == ("Conflict", "of_the_future")


def test_errors_pickle_and_hold_no_credential() -> None:
    stage = Stage("sync", ok(invocation("failed", error={"code": "tool_error", "detail": "no"})), *[RESET] * 5)
    with pytest.raises(joyfull.InvocationFailed) as failed:
        stage.do(lambda client: client.run("echo", {}))
    with pytest.raises(joyfull.OutcomeUnknown) as unknown:
        stage.do(lambda client: client.submit("echo", {}))
    for error in (refusal(problem(404, "not_found")), failed.value, unknown.value):
        packed = pickle.dumps(error)
        again = pickle.loads(packed)
        assert (type(again), str(again)) == (type(error), str(error))
        assert KEY.encode() not in packed
    job = pickle.loads(pickle.dumps(failed.value)).job
    assert (job.id, job.error.code) == ("01a2", "tool_error")
    with pytest.raises(joyfull.ConfigurationError, match=r"client\.job"):
        job.refresh()
