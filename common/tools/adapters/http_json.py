"""`http_json`: the input is the JSON body (GET: the query); the output is the JSON response or a part of it.

Properties that the tool's address names are put there instead (`common/tools/url_templates.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from common.kit import jsonb
from common.kit.outbound import OutboundClient
from common.tools import url_templates
from common.tools.adapters import exchange, replies
from common.tools.adapters.exchange import Outgoing
from common.tools.adapters.model import Reply, ToolFailure, ToolRequest


def ask(outbound: OutboundClient, request: ToolRequest) -> Reply:
    """Call the tool once. Raises `ToolFailure`, `outbound.Aborted`."""
    version, sent = request.version, _sent(request)
    outgoing = Outgoing(
        version.method,
        sent.url,
        exchange.headers(request, body=sent.body is not None, max_units=request.max_units),
        sent.body,
        sent.params,
        exchange.secrets_of(request),
    )
    answer = exchange.send(outbound, request, outgoing)
    return replies.reply(
        answer, len(answer.body), lambda: exchange.result(version, answer, exchange.read(answer, outgoing.secrets))
    )


@dataclass(frozen=True, slots=True)
class _Sent:
    """An input as it is sent."""

    url: str
    body: bytes | None
    params: tuple[tuple[str, str], ...]


def _sent(request: ToolRequest) -> _Sent:
    version, get = request.version, request.version.method == "GET"
    if url_templates.has_variables(version.endpoint_url):
        return _filled(request)
    params = tuple(_query(_members(json.loads(request.text)))) if get else ()
    return _Sent(version.endpoint_url, None if get else request.text.encode(), params)


def _filled(request: ToolRequest) -> _Sent:
    """What the address does not take is the query of a GET, or else the body."""
    version = request.version
    try:
        filled = url_templates.fill(version.endpoint_url, json.loads(request.text))
    except url_templates.Unfillable as error:
        raise ToolFailure("tool_error", str(error), sent=False) from None
    if version.method == "GET":
        return _Sent(filled.url, None, tuple(_query((*filled.query, *filled.rest.items()))))
    return _Sent(filled.url, jsonb.dumps(dict(filled.rest)).encode(), tuple(_query(filled.query)))


def _members(value: object) -> Iterable[tuple[str, object]]:
    if not isinstance(value, dict):
        raise ToolFailure("tool_error", "The input must be an object, because the tool is called with GET.", sent=False)
    return value.items()


def _query(members: Iterable[tuple[str, object]]) -> Iterator[tuple[str, str]]:
    """Query parameters: lists repeat the name, nulls are omitted, nested values are sent as JSON."""
    for name, one_or_many in members:
        for each in one_or_many if isinstance(one_or_many, list) else [one_or_many]:
            if each is not None:
                yield name, each if isinstance(each, str) else jsonb.dumps(each)
