"""`http_json`: the input is the JSON body (GET: the query), the output is the JSON answer or a part of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from common.kit import jsonb
from common.kit.outbound import Call, OutboundClient
from common.tools import Version
from common.tools.adapters import exchange
from common.tools.adapters.exchange import Ids, Outgoing, Reply, ToolFailure


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
    """Ask the tool once. Raises `ToolFailure`, or `outbound.Aborted`."""
    get = version.method == "GET"
    outgoing = Outgoing(
        version.method,
        version.endpoint_url,
        exchange.headers(version, ids, secret, body=not get, max_units=max_units),
        None if get else text.encode(),
        tuple(_query(json.loads(text))) if get else (),
        exchange.secrets_of(version, secret),
    )
    answer = exchange.send(outbound, outgoing, seconds=version.timeout_seconds, call=call)
    return Reply(len(answer.body), lambda: exchange.result(version, answer, exchange.read(answer, outgoing.secrets)))


def _query(value: Any) -> Iterator[tuple[str, str]]:
    """An object as query parameters: lists repeat the name, nulls are left out, what is nested goes as JSON."""
    if not isinstance(value, dict):
        raise ToolFailure("tool_error", "This tool is called with GET: its input must be an object.", sent=False)
    for name, one_or_many in value.items():
        for each in one_or_many if isinstance(one_or_many, list) else [one_or_many]:
            if each is not None:
                yield name, each if isinstance(each, str) else jsonb.dumps(each)
