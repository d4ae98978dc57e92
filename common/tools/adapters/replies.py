"""Reading a response: whatever goes wrong then is a failure of that attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from common.kit import log
from common.kit.outbound import Answer
from common.kit.unforeseen import VALUE_ERRORS
from common.tools.adapters.model import Reply, ToolFailure, ToolResult

logger = log.get(__name__)


def reply(answer: Answer, size: int, read: Callable[[], ToolResult]) -> Reply:
    """A response of `size` bytes, not parsed yet; `read` parses it."""

    def guarded() -> ToolResult:
        with reading(answer.status):
            return read()

    return Reply(size, guarded)


@contextmanager
def reading(status: int) -> Iterator[None]:
    """Around all that reads a response with this status. An unforeseen error is logged, and raises `ToolFailure`."""
    try:
        yield
    except VALUE_ERRORS as error:
        logger.exception("response of a tool not read: unexpected error", status=status)
        raise ToolFailure("tool_bad_response", "The response cannot be read.", sent=True, http_status=status) from error
