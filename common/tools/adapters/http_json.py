"""`http_json`: the input is the JSON body (GET: the query); the output is the JSON response or a part of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from common.kit import jsonb
from common.kit.outbound import OutboundClient
from common.tools.adapters import exchange
from common.tools.adapters.exchange import Outgoing
from common.tools.adapters.model import Reply, ToolFailure, ToolRequest


def ask(outbound: OutboundClient, request: ToolRequest) -> Reply:
    """Call the tool once. Raises `ToolFailure`, `outbound.Aborted`."""
    version, get = request.version, request.version.method == "GET"
    outgoing = Outgoing(
        version.method,
        version.endpoint_url,
        exchange.headers(request, body=not get, max_units=request.max_units),
        None if get else request.text.encode(),
        tuple(_query(json.loads(request.text))) if get else (),
        exchange.secrets_of(request),
    )
    answer = exchange.send(outbound, request, outgoing)
    return Reply(len(answer.body), lambda: exchange.result(version, answer, exchange.read(answer, outgoing.secrets)))


def _query(value: object) -> Iterator[tuple[str, str]]:
    """An object as query parameters: lists repeat the name, nulls are omitted, nested values are sent as JSON."""
    if not isinstance(value, dict):
        raise ToolFailure("tool_error", "The input must be an object, because the tool is called with GET.", sent=False)
    for name, one_or_many in value.items():
        for each in one_or_many if isinstance(one_or_many, list) else [one_or_many]:
            if each is not None:
                yield name, each if isinstance(each, str) else jsonb.dumps(each)
