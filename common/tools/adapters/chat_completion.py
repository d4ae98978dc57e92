"""`chat_completion`: the OpenAI-compatible protocol (`POST …/chat/completions`), priced by the tokens used."""

from __future__ import annotations

import json
from collections.abc import Mapping

from common.kit import jsonb
from common.kit.outbound import Answer, OutboundClient
from common.tools import Version
from common.tools.adapters import exchange, reading, replies
from common.tools.adapters.exchange import Outgoing
from common.tools.adapters.model import Reply, ToolRequest, ToolResult

PATH = "/chat/completions"
#: Parameters that ask for a streamed response.
STREAMING = frozenset(("stream", "stream_options"))
#: Parameters that limit the response: the newer name, and the older one that more servers accept.
LIMITS = ("max_completion_tokens", "max_tokens")
#: Units that grow with the length of the response.
LIMITED = ("/usage/total_tokens", "/usage/completion_tokens")


def ask(outbound: OutboundClient, request: ToolRequest) -> Reply:
    """Call the model once. Raises `ToolFailure`, `outbound.Aborted`."""
    outgoing = asking(request, {})
    answer = exchange.send(outbound, request, outgoing)
    return replies.reply(answer, len(answer.body), lambda: _read(request.version, answer, outgoing.secrets))


def asking(request: ToolRequest, more: Mapping[str, object]) -> Outgoing:
    """The request for a completion, with `more` parameters than the input has."""
    version = request.version
    body = _limited(version, _unstreamed(json.loads(request.text)), request.max_units)
    return Outgoing(
        "POST",
        endpoint(version.endpoint_url, PATH),
        exchange.headers(request, body=True),
        jsonb.encoded({**body, **more} if isinstance(body, dict) else body),
        secrets=exchange.secrets_of(request),
    )


def _read(version: Version, answer: Answer, secrets: tuple[str, ...]) -> ToolResult:
    return exchange.result(version, answer, with_total(checked(answer, exchange.read(answer, secrets), secrets)))


def endpoint(url: str, path: str) -> str:
    """Complete a provider's base URL (`…/v1`) to the full one."""
    base, mark, query = url.partition("?")
    base = base.rstrip("/")
    return (base if base.endswith(path) else base + path) + mark + query


def _unstreamed(value: object) -> object:
    """Drop the streaming parameters: an invocation has a single result."""
    return {name: each for name, each in value.items() if name not in STREAMING} if isinstance(value, dict) else value


def _limited(version: Version, value: object, max_units: int | None) -> object:
    """Lower the token limit of the input to what the caller pays for, divided among `n` choices."""
    per_unit = version.price.per_unit
    if max_units is None or not isinstance(value, dict) or per_unit is None or per_unit["pointer"] not in LIMITED:
        return value
    answers = value.get("n")
    share = max(1, max_units // (answers if type(answers) is int and answers > 1 else 1))
    named = [name for name in LIMITS if value.get(name) is not None] or [_limit_of(version.input_schema)]
    return {**value, **{name: _lower(value.get(name), share) for name in named}}


def _limit_of(schema: Mapping[str, object]) -> str:
    known = schema.get("properties")
    return LIMITS[0] if isinstance(known, dict) and LIMITS[0] in known else LIMITS[1]


def _lower(given: object, share: int) -> object:
    if given is None:
        return share
    return min(given, share) if isinstance(given, int | float) and not isinstance(given, bool) else given


def checked(answer: Answer, whole: object, secrets: tuple[str, ...]) -> dict[str, object]:
    """A response with choices; others are rejected, as some providers report errors with status 200."""
    if isinstance(whole, dict):
        choices = whole.get("choices")
        if isinstance(choices, list) and choices and all(isinstance(choice, dict) for choice in choices):
            return whole
    raise exchange.unusable(answer, "The response has no choices", whole, secrets)


def with_total(whole: dict[str, object]) -> dict[str, object]:
    """Add `usage.total_tokens`, the sum of the other two, where the server omits it; at most `reading.MOST_UNITS`."""
    usage = whole.get("usage")
    if not isinstance(usage, dict) or "total_tokens" in usage:
        return whole
    parts = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
    counts = [part for part in parts if isinstance(part, int) and not isinstance(part, bool) and part >= 0]
    if len(counts) < len(parts):
        return whole
    total = sum(counts)
    return {**whole, "usage": {**usage, "total_tokens": min(total, int(reading.MOST_UNITS))}}
