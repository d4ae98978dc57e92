"""Errors that the API answers (RFC 9457): the class of all, and one for each family; `codes` has their leaves."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar

from joyfull import wire
from joyfull.errors import JoyfullError
from joyfull.exchange import Response
from joyfull.wire import Json


@dataclass(frozen=True, slots=True)
class Fault:
    """One invalid part of a request; `pointer` is a JSON Pointer (RFC 6901)."""

    pointer: str
    detail: str


class ApiError(JoyfullError):
    """The API refused. `problem` has every member of the answer; `retry_after` is in seconds."""

    #: The classes by code, and by status for codes that this version does not know.
    by_code: ClassVar[dict[str, type[ApiError]]] = {}
    by_status: ClassVar[dict[int, type[ApiError]]] = {}

    def __init_subclass__(cls, code: str | None = None, family: int | None = None) -> None:
        super().__init_subclass__()
        if code is not None:
            ApiError.by_code[code] = cls
        if family is not None:
            ApiError.by_status[family] = cls

    def __init__(self, response: Response, problem: Mapping[str, Json], request: str = "") -> None:
        self.response = response
        self.problem = dict(problem)
        self.request = request
        self.status = response.status
        self.code = str(problem.get("code", ""))
        self.title = str(problem.get("title", ""))
        self.detail = str(problem.get("detail", ""))
        self.request_id = str(problem.get("request_id", "")) or response.headers.get("x-request-id", "")
        self.retry_after = wire.seconds(response)
        self.errors = tuple(Fault(each["pointer"], each["detail"]) for each in problem.get("errors", ()))
        super().__init__(response, self.problem, request)

    def __str__(self) -> str:
        what = f"{self.code}: {self.detail}" if self.code else f"{self.status} {self.detail or 'without a problem'}"
        what = what.removesuffix(".") if self.errors else what
        faults = "".join(f"; {fault.pointer or '(all)'}: {fault.detail}" for fault in self.errors)
        return f"{self.request}: {what}{faults} (request {self.request_id or 'without an id'})"


# -- families ---------------------------------------------------------------------------------------------------


class BadRequest(ApiError, family=400):
    """400: the request cannot be read."""


class Unauthenticated(ApiError, family=401):
    """401: the credentials are missing, wrong or no longer valid."""


class PaymentRequired(ApiError, family=402):
    """402: the budget does not allow it."""


class Forbidden(ApiError, family=403):
    """403: these credentials may not."""


class NotFound(ApiError, family=404):
    """404: unknown, or someone else's."""


class Conflict(ApiError, family=409):
    """409: the resource is not in a state for this."""


class Unprocessable(ApiError, family=422):
    """422: the request can be read, and is not valid."""


class TooManyRequests(ApiError, family=429):
    """429: later, in `retry_after` seconds."""


class Unavailable(ApiError, family=503):
    """503: something that is needed is not there now."""


def error_of(response: Response, request: str) -> ApiError:
    """The error for a refusal: by its code, else by its status."""
    problem: object = None
    with suppress(ValueError):
        problem = wire.decode(response.body)
    members = problem if isinstance(problem, dict) else {}
    import_module("joyfull.codes")  # the leaves are known from the first refusal on
    kind = ApiError.by_code.get(str(members.get("code")), ApiError.by_status.get(response.status, ApiError))
    return kind(response, members, request)
