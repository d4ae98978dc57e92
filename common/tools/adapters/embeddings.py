"""`embeddings`: the OpenAI-compatible protocol (`POST …/embeddings`), priced by the tokens used."""

from __future__ import annotations

from common.kit.outbound import Answer, OutboundClient
from common.tools import Version
from common.tools.adapters import exchange, replies
from common.tools.adapters.chat_completion import endpoint
from common.tools.adapters.exchange import Outgoing
from common.tools.adapters.model import Reply, ToolRequest, ToolResult

PATH = "/embeddings"


def ask(outbound: OutboundClient, request: ToolRequest) -> Reply:
    """Call the model once. Raises `ToolFailure`, `outbound.Aborted`."""
    version = request.version
    outgoing = Outgoing(
        "POST",
        endpoint(version.endpoint_url, PATH),
        exchange.headers(request, body=True),
        request.text.encode(),
        secrets=exchange.secrets_of(request),
    )
    answer = exchange.send(outbound, request, outgoing)
    return replies.reply(answer, len(answer.body), lambda: _read(version, answer, outgoing.secrets))


def _read(version: Version, answer: Answer, secrets: tuple[str, ...]) -> ToolResult:
    """A response without vectors is rejected, as some providers report errors with status 200."""
    whole = exchange.read(answer, secrets)
    if not isinstance(whole, dict) or not isinstance(whole.get("data"), list) or not whole["data"]:
        raise exchange.unusable(answer, "The response has no embeddings", whole, secrets)
    return exchange.result(version, answer, whole)
