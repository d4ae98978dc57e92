"""Addresses with variables: each value stays where the template has it, whatever it is."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Invalid
from common.kit.outbound import OutboundClient
from common.tools import adapters as tools
from common.tools import url_templates
from common.tools.adapters import ToolFailure, ToolRequest
from common.tools.editing import Draft
from common.tools.url_templates import Unfillable
from tests.kit import peers
from tests.kit.peers import running
from tests.worker.test_tools import IDS, outbound, reply, version

__all__ = ["outbound"]

PET = "https://api.example.com/v1/pets/{id}/photos"


def asked(outbound: OutboundClient, path: str, value: Any, **changes: Any) -> tuple[str, bytes]:
    """The request line and the body that a tool with this path gets."""
    with running(peers.answers(reply({}))) as peer:
        request = ToolRequest(version(peer.url(path), **changes), json.dumps(value), IDS)
        tools.call(outbound, request)
    head, _, body = peer.requests[0].partition(b"\r\n\r\n")
    return head.decode("latin-1").split("\r\n")[0], body


def test_the_rest_of_the_input_is_the_body_or_the_query(outbound: OutboundClient) -> None:
    value = {"z": 1.50, "id": "a/b c", "a": [1, None], "n": 7, "tags": ["x", "y"]}
    line, body = asked(outbound, "/pets/{id}/{n}", value)
    assert line == "POST /pets/a%2Fb%20c/7 HTTP/1.1"
    assert body == b'{"z":1.5,"a":[1,null],"tags":["x","y"]}'
    line, body = asked(outbound, "/pets/{id}?fixed=1", value, method="GET")
    assert line == "GET /pets/a%2Fb%20c?fixed=1&z=1.5&a=1&n=7&tags=x&tags=y HTTP/1.1"
    line, body = asked(outbound, "/pets/{id}{?tags,a,other}", value, method="DELETE")
    assert line == "DELETE /pets/a%2Fb%20c?tags=x&tags=y&a=1 HTTP/1.1"
    assert body == b'{"z":1.5,"n":7}'


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("Größe", "Gr%C3%B6%C3%9Fe"),
        ("-._~", "-._~"),
        (0, "0"),
        (1.0, "1.0"),
        (10**30, "1" + "0" * 30),
        (True, "true"),
        (["a,b", 2], "a%2Cb,2"),
        ("?x=1#y", "%3Fx%3D1%23y"),
        ("//evil.example/", "%2F%2Fevil.example%2F"),
        ("@evil.example:80", "%40evil.example%3A80"),
        ("\\..\\", "%5C..%5C"),
        ("..%2f", "..%252f"),
        ("%41", "%2541"),
        ("a\r\nHost: evil", "a%0D%0AHost%3A%20evil"),
        ("{other}", "%7Bother%7D"),
        ("...", "..."),
        ("\x00", "%00"),
    ],
)
def test_a_value_is_one_segment(outbound: OutboundClient, value: Any, segment: str) -> None:
    line, _ = asked(outbound, "/v1/pets/{id}/photos", {"id": value, "other": "no"})
    assert line == f"POST /v1/pets/{segment}/photos HTTP/1.1"


@pytest.mark.parametrize(
    "value",
    ["", ".", "..", "%2e%2E", "%2e.", [], ["a", ""], None, {"a": 1}, [["a"]], "\ud800", "x" * 3_000],
    ids=repr,
)
def test_what_is_no_segment_is_not_sent(outbound: OutboundClient, value: Any) -> None:
    with running(peers.answers(reply({}))) as peer, pytest.raises(ToolFailure) as caught:
        request = ToolRequest(version(peer.url("/v1/pets/{id}")), json.dumps({"id": value}), IDS)
        tools.call(outbound, request)
    assert (caught.value.code, caught.value.sent, peer.connections) == ("tool_error", False, 0)


def test_parts_of_a_segment_make_no_dots_together() -> None:
    for url in ("https://a.example/x/{a}{b}", "https://a.example/x/.{a}"):
        with pytest.raises(Unfillable):
            url_templates.fill(url, {"a": ".", "b": "."})
    assert url_templates.fill("https://a.example/x/{a}.{b}", {"a": 1, "b": "json"}).url == "https://a.example/x/1.json"


@pytest.mark.parametrize("value", [["id"], "id", None, {}])
def test_an_input_without_the_value(value: Any) -> None:
    with pytest.raises(Unfillable):
        url_templates.fill(PET, value)


@given(st.one_of(st.text(), st.lists(st.text(), min_size=1), st.integers(), st.floats(allow_nan=False, width=32)))
def test_no_value_leaves_its_place(value: Any) -> None:
    try:
        filled = urlsplit(url_templates.fill(PET, {"id": value}).url)
    except Unfillable:
        return
    assert (filled.scheme, filled.netloc, filled.query, filled.fragment) == ("https", "api.example.com", "", "")
    before, segment, after = filled.path.removeprefix("/v1/").split("/")
    assert (before, after) == ("pets", "photos")
    if isinstance(value, str):
        assert unquote(segment) == value


def draft(url: str, **changes: Any) -> Draft:
    schema = {"type": "object", "properties": {"id": {}, "limit": {}}, "required": ["id"]}
    entry = {"slug": "s", "name": "S", "endpoint_url": url, "input_schema": schema}
    return Draft.of({**entry, "price": {"base_tokens": 1, "max_tokens": 1}, **changes})


@pytest.mark.parametrize(
    "url",
    [
        PET,
        "https://a.example/{id}{?limit}",
        PET + "?v=1",
        "https://a.example/x-{id}.json",
        "https://a.example/{id}/{id}",
    ],
)
def test_templates(url: str) -> None:
    assert draft(url).endpoint_url == url


@pytest.mark.parametrize(
    "url",
    [
        "https://{id}.example.com/",
        "https://a.example:{id}/",
        "https://{id}@a.example/",
        "{id}://a.example/",
        "{id}",
        "https://a.example{id}",
        "https://a.example/{other}",
        "https://a.example/{limit}",
        "https://a.example/{id}{?other}",
        "https://a.example/{id}{?id}",
        "https://a.example/{?limit}/{id}",
        "https://a.example/?x={id}",
        "https://a.example/#{id}",
        "https://a.example/{+id}",
        "https://a.example/{/id}",
        "https://a.example/{id:3}",
        "https://a.example/{id*}",
        "https://a.example/{id",
        "https://a.example/id}",
        "https://a.example/{}",
        "https://a.example/{{id}}",
        "https://a.example/{i d}",
    ],
)
def test_what_is_no_template(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        draft(url)
    assert {fault.pointer for fault in refused.value.errors} == {"/endpoint_url"}


def test_only_http_json_has_them() -> None:
    with pytest.raises(Invalid):
        draft(PET, adapter="chat_completion")


def test_braces_from_before_may_stay() -> None:
    """A version that was stored when they meant nothing is not in the way of another change."""
    before = draft("https://a.example/{id}")
    old = Draft(
        **{**{name: getattr(before, name) for name in Draft.__slots__}, "endpoint_url": "https://a.example/{x}"}
    )
    entry = {name: getattr(old, name) for name in Draft.__slots__}
    assert Draft.of({**entry, "name": "Other"}, before=old).name == "Other"
    with pytest.raises(Invalid):
        Draft.of({**entry, "endpoint_url": "https://a.example/{y}"}, before=old)
