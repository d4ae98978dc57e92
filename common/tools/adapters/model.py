"""The values of a tool call: the request, the reply, the result, and the failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from common.kit.outbound import Call
from common.tools import Version
from common.tools.streamed import Chunk


@dataclass(frozen=True, slots=True)
class CallIds:
    """The ids sent with a call. The invocation id is the same on every attempt."""

    invocation_id: UUID
    request_id: str


class Sink(Protocol):
    """Takes the chunks of a streamed response as they come. Raises `outbound.Aborted` when they are not wanted."""

    def add(self, chunk: Chunk) -> None: ...
    def pause(self) -> None:
        """Between two reads of the response: wait for as long as it pays to let more come in."""


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """One call of a tool.

    Attributes:
        text: the input as JSON.
        secret: the tool's credential in clear.
        call: lets another thread abort the exchange.
        max_units: the most units that the caller pays for, announced to the tool (None: no limit).
        sink: the response is asked for as a stream, and its chunks go there (None: as a whole).
    """

    version: Version
    text: str
    ids: CallIds
    secret: str | None = None
    call: Call | None = None
    max_units: int | None = None
    sink: Sink | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """`output`: the response, or its part at `result_pointer`. `units`: None when the price does not depend on them.

    `basis`: how they are known, `reported` or `metered`.
    """

    output: object
    units: float | None
    http_status: int
    duration_ms: int
    basis: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An unparsed response. Parsing it takes many times `size` (bytes) of memory until the result is freed.

    `read` raises `ToolFailure`.
    """

    size: int
    read: Callable[[], ToolResult]


class ToolFailure(Exception):
    """A failed attempt. `code` and `detail` are shown to the user.

    Attributes:
        sent: False only when the tool certainly did not run.
        transient: another attempt may succeed.
        counts_against_tool: counts as a failure for the circuit breaker; the caller's own errors (4xx) do not.
        operator_detail: shown only to operators, where `detail` withholds something.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        sent: bool,
        http_status: int | None = None,
        retry_after: float | None = None,
        transient: bool = False,
        counts_against_tool: bool = False,
        duration_ms: int | None = None,
        operator_detail: str | None = None,
    ) -> None:
        self.code = code
        self.detail = detail
        self.sent = sent
        self.http_status = http_status
        self.retry_after = retry_after
        self.transient = transient
        self.counts_against_tool = counts_against_tool
        self.duration_ms = duration_ms
        self.operator_detail = operator_detail
        super().__init__(f"{code}: {detail}")
