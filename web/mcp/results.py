"""The result of a call: the tool's output, or a problem that the model can read."""

from __future__ import annotations

import json
from collections.abc import Mapping

from common import tools
from common.errors import DependencyUnavailable, PlatformError
from common.invocations import Invocation, billed, receipts
from common.kit import jsonb, log
from web.http import problems
from web.mcp import protocol
from web.mcp.rpc import Json, Message
from web.mcp.schemas import OUTPUT

logger = log.get(__name__)


def of(message: Message, invocation: Invocation) -> Json:
    """The `CallToolResult` of an ended invocation."""
    meta = {"_meta": {f"{protocol.OURS}billing": _billing(invocation)}}
    if invocation.status != "succeeded":
        return failed(_problem(invocation)) | meta
    output = invocation.output
    if output is None:
        return {"content": [_text("The output of this call is no longer stored.")], **meta}
    whole: object = jsonb.passed_on(output)
    if not message.is_modern and not output.lstrip().startswith("{"):
        whole = {OUTPUT: whole}
    return {"content": [_text(_said(invocation, output))], "structuredContent": whole, **meta}


def value(whole: object) -> Json:
    """The result of a built-in tool: an object."""
    return {"content": [_text(jsonb.dumps(whole))], "structuredContent": whole}


def refused(error: PlatformError) -> Json:
    """The result of a call that was not accepted."""
    return failed(json.loads(problems.encode(problems.as_dict(error))))


def failed(problem: Json) -> Json:
    """A result that is an error: both texts are the problem, because models are shown one or the other."""
    return {"content": [_text(jsonb.dumps(problem))], "structuredContent": problem, "isError": True}


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _problem(invocation: Invocation) -> Json:
    code = invocation.error_code or invocation.status
    detail = invocation.error_detail or f"The invocation is {invocation.status}."
    return {
        "title": code.replace("_", " ").capitalize(),
        "detail": detail,
        "code": code,
        "status": invocation.status,
        "invocation": str(invocation.id),
        "request_id": invocation.request_id,
    }


def _said(invocation: Invocation, output: str) -> str:
    """What the model is to read: the answer of a chat completion, or the output as JSON."""
    if tools.numbered(invocation.tool_id, invocation.tool_version).adapter != "chat_completion":
        return output
    return _answer(jsonb.parsed(output)) or output


def _answer(completion: object) -> str | None:
    choices = completion.get("choices") if isinstance(completion, Mapping) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    answer = first.get("message") if isinstance(first, Mapping) else None
    text = answer.get("content") if isinstance(answer, Mapping) else None
    return text if isinstance(text, str) else None


def _billing(invocation: Invocation) -> Json:
    billing = billed(invocation)
    told = {name: billing[name] for name in ("held", "charged", "basis")}
    return {"invocation": str(invocation.id), **told, "receipt": _receipt(invocation)}


def _receipt(invocation: Invocation) -> str | None:
    try:
        return receipts.issue(invocation.id, invocation.user_id).receipt
    except DependencyUnavailable:
        logger.warning("result sent without a receipt", invocation_id=str(invocation.id))
        return None
