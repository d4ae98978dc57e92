"""`chat_completion`: the OpenAI-compatible protocol (`POST …/chat/completions`), priced by the tokens really used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from common.kit import jsonb
from common.kit.outbound import Answer, Call, OutboundClient
from common.tools import Version
from common.tools.adapters import exchange
from common.tools.adapters.exchange import Ids, Outgoing, Reply, ToolResult

PATH = "/chat/completions"
#: What asks for an answer in pieces, and what may only be sent beside it.
STREAMING = frozenset(("stream", "stream_options"))
#: How callers limit an answer: the newer name, and the older one that more servers know.
LIMITS = ("max_completion_tokens", "max_tokens")
#: Units that grow with the length of the answer.
LIMITED = ("/usage/total_tokens", "/usage/completion_tokens")


def ask(
    outbound: OutboundClient,
    version: Version,
    text: str,
    *,
    secret: str | None,
    ids: Ids,
    call: Call | None = None,
    max_units: int | None = None,
) -> Reply:
    """Ask the model once. Raises `ToolFailure`, or `outbound.Aborted`."""
    outgoing = Outgoing(
        "POST",
        endpoint(version.endpoint_url),
        exchange.headers(version, ids, secret, body=True),
        jsonb.dumps(_limited(version, _unstreamed(json.loads(text)), max_units)).encode(),
        secrets=exchange.secrets_of(version, secret),
    )
    answer = exchange.send(outbound, outgoing, seconds=version.timeout_seconds, call=call)
    return Reply(len(answer.body), lambda: _read(version, answer, outgoing.secrets))


def _read(version: Version, answer: Answer, secrets: tuple[str, ...]) -> ToolResult:
    whole = exchange.read(answer, secrets)
    _check(answer, whole, secrets)
    return exchange.result(version, answer, _with_total(whole))


def endpoint(url: str) -> str:
    """The base URL that providers publish (`…/v1`) is as good as the full one."""
    base, mark, query = url.partition("?")
    base = base.rstrip("/")
    return (base if base.endswith(PATH) else base + PATH) + mark + query


def _unstreamed(value: Any) -> Any:
    """An answer in pieces has no place to go: the invocation ends once."""
    return {name: each for name, each in value.items() if name not in STREAMING} if isinstance(value, dict) else value


def _limited(version: Version, value: Any, max_units: int | None) -> Any:
    """The input with its limit of tokens lowered to what the caller pays for: each of `n` answers gets its share."""
    per_unit = version.price.per_unit
    if max_units is None or not isinstance(value, dict) or per_unit is None or per_unit["pointer"] not in LIMITED:
        return value
    answers = value.get("n")
    share = max(1, max_units // (answers if type(answers) is int and answers > 1 else 1))
    named = [name for name in LIMITS if value.get(name) is not None] or [_limit_of(version.input_schema)]
    return {**value, **{name: _lower(value.get(name), share) for name in named}}


def _limit_of(schema: Mapping[str, Any]) -> str:
    known = schema.get("properties")
    return LIMITS[0] if isinstance(known, dict) and LIMITS[0] in known else LIMITS[1]


def _lower(given: Any, share: int) -> Any:
    return min(given, share) if type(given) in (int, float) else share if given is None else given


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
