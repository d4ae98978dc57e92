"""`chat_completion`: the OpenAI-compatible protocol (`POST …/chat/completions`), priced by the tokens really used."""

from __future__ import annotations

from typing import Any

from common.adapters import exchange
from common.adapters.exchange import Ids, Outgoing, ToolResult
from common.kit import jsonb
from common.kit.outbound import Answer, Call, Door
from common.tools import Version

PATH = "/chat/completions"
#: What asks for an answer in pieces, and what may only be sent beside it.
STREAMING = frozenset(("stream", "stream_options"))


def call(
    door: Door, version: Version, value: Any, *, secret: str | None, ids: Ids, call: Call | None = None
) -> ToolResult:
    """Call the model once. Raises `ToolFailure`, or `outbound.Aborted`."""
    outgoing = Outgoing(
        "POST",
        endpoint(version.endpoint_url),
        exchange.headers(version, ids, secret, body=True),
        jsonb.dumps(_unstreamed(value)).encode(),
        secrets=exchange.secrets_of(version, secret),
    )
    answer = exchange.send(door, outgoing, seconds=version.timeout_seconds, call=call)
    whole = exchange.read(answer, outgoing.secrets)
    _check(answer, whole, outgoing.secrets)
    return exchange.result(version, answer, _with_total(whole))


def endpoint(url: str) -> str:
    """The base URL that providers publish (`…/v1`) is as good as the full one."""
    base, mark, query = url.partition("?")
    base = base.rstrip("/")
    return (base if base.endswith(PATH) else base + PATH) + mark + query


def _unstreamed(value: Any) -> Any:
    """An answer in pieces has no place to go: the invocation ends once."""
    return {name: each for name, each in value.items() if name not in STREAMING} if isinstance(value, dict) else value


def _check(answer: Answer, whole: Any, secrets: tuple[str, ...]) -> None:
    """Some providers report their errors with status 200."""
    choices = whole.get("choices") if isinstance(whole, dict) else None
    if isinstance(choices, list) and choices and all(isinstance(choice, dict) for choice in choices):
        return
    said = exchange.message_of(whole, secrets)
    raise exchange.bad_response(answer, "The answer has no choices" + (f": {said}" if said else "."))


def _with_total(whole: dict[str, Any]) -> dict[str, Any]:
    """`usage.total_tokens` is the sum of the other two; some servers leave the adding to us."""
    usage = whole.get("usage")
    if not isinstance(usage, dict) or "total_tokens" in usage:
        return whole
    parts = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
    if not all(isinstance(part, int) and not isinstance(part, bool) and part >= 0 for part in parts):
        return whole
    return {**whole, "usage": {**usage, "total_tokens": sum(parts)}}
