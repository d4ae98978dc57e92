"""Which messages are accepted, and with which error others are refused: in the order of the specification."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from common.settings import SettingsError, load
from tests.mcp.conftest import PREFIX, VERSION, Json, Mcp, envelope, error, message

HEADERS = {"MCP-Protocol-Version": VERSION, "Mcp-Method": "server/discover"}
OTHER = "2027-01-01"


def discover(**changes: Any) -> Json:
    return message("server/discover", {"_meta": {**envelope(), **changes}})


#: What is wrong with a request, everything that is checked later being wrong too.
LADDER: dict[str, tuple[Json | bytes, Json, tuple[int, int]]] = {
    "a page of somebody's": (b"[", {"Origin": "https://evil.example", "Authorization": None}, (403, -32000)),
    "no credential": (b"[", {"Authorization": None}, (401, -32000)),
    "not JSON": (b"[", {}, (400, -32700)),
    "a key twice": (b'{"jsonrpc":"2.0","jsonrpc":"2.0"}', {}, (400, -32700)),
    "a batch": (b"[]", {}, (400, -32600)),
    "an id that is none": ({**discover(), "id": None}, {}, (400, -32600)),
    "params that are none": ({**discover(), "params": []}, HEADERS, (400, -32600)),
    "no version header": (message("x", {"_meta": {f"{PREFIX}protocolVersion": OTHER}}), {}, (400, -32020)),
    "no _meta": (message("x", {}), {"MCP-Protocol-Version": OTHER}, (400, -32602)),
    "no capabilities": (
        message("x", {"_meta": {f"{PREFIX}protocolVersion": VERSION}}),
        {"MCP-Protocol-Version": OTHER},
        (400, -32602),
    ),
    "another version": (discover(**envelope(version="2027-02-02")), {"MCP-Protocol-Version": OTHER}, (400, -32020)),
    "an unknown version": (discover(**envelope(version=OTHER)), {"MCP-Protocol-Version": OTHER}, (400, -32022)),
    "no method header": (discover(), {**HEADERS, "Mcp-Method": None}, (400, -32020)),
    "another method": (message("nothing", {"_meta": envelope()}), HEADERS, (400, -32020)),
    "another name": (
        message("tools/call", {"name": "a", "_meta": envelope()}),
        {**HEADERS, "Mcp-Method": "tools/call", "Mcp-Name": "b"},
        (400, -32020),
    ),
    "an unknown method": (
        message("nothing", {"_meta": envelope()}),
        {**HEADERS, "Mcp-Method": "nothing"},
        (404, -32601),
    ),
}


@pytest.mark.parametrize("wrong", LADDER)
def test_the_first_thing_that_is_wrong_is_told(mcp: Mcp, wrong: str) -> None:
    sent, headers, told = LADDER[wrong]
    response = mcp.send(sent, {"Content-Type": "application/json", **headers})
    assert error(response) == told
    if isinstance(sent, dict) and told[1] not in (-32700, -32600):
        assert response.json["id"] == sent["id"]  # type: ignore[index]


def test_an_unknown_version_is_told_which_are_known(mcp: Mcp) -> None:
    response = mcp.modern("tools/list", meta=envelope(version=OTHER), headers={"MCP-Protocol-Version": OTHER})
    assert response.json["error"]["data"] == {"supported": [VERSION], "requested": OTHER}  # type: ignore[index]


def test_what_is_removed_from_the_modern_revision_is_not_there(mcp: Mcp) -> None:
    methods = ("initialize", "ping", "logging/setLevel", "tasks/list", "tasks/result", "prompts/list", "resources/list")
    told = {method: error(mcp.modern(method)) for method in methods}
    assert told == dict.fromkeys(methods, (404, -32601))


@pytest.mark.parametrize(
    ("sent", "accepted"),
    [("SGV5", True), ("SGV5=", False), ("SGV6", False), ("S G V 5", False), ("\xe9", False), ("/w==", False)],
)
def test_a_name_may_be_in_base64(mcp: Mcp, sent: str, accepted: bool) -> None:
    assert base64.b64decode("SGV5") == b"Hey"
    response = mcp.modern("tools/call", {"name": "Hey"}, headers={"Mcp-Name": f"=?base64?{sent}?="})
    assert error(response) == ((400, -32602) if accepted else (400, -32020))


def test_a_header_that_is_there_twice_is_refused(mcp: Mcp) -> None:
    assert error(mcp.modern("tools/list", headers={"Mcp-Method": "tools/list,tools/list"})) == (400, -32020)


def test_discovery(mcp: Mcp) -> None:
    found = mcp.result("server/discover")
    assert found["resultType"] == "complete"
    assert (found["supportedVersions"], found["ttlMs"], found["cacheScope"]) == ([VERSION], 60_000, "private")
    assert found["capabilities"] == {"tools": {}, "extensions": {f"{PREFIX}tasks": {}}}
    assert found["_meta"][f"{PREFIX}serverInfo"]["name"] == "joyfull-hub"


# -- revisions that begin with initialize --------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2025-11-25", "2025-06-18", "2025-03-26"])
def test_a_handshake_agrees_on_the_clients_revision(mcp: Mcp, version: str) -> None:
    begun = mcp.send(message("initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": {}}))
    assert begun.json is not None
    assert begun.json["result"]["protocolVersion"] == version
    assert "Mcp-Session-Id" not in begun.headers
    assert begun.json["result"].keys() == {"protocolVersion", "capabilities", "serverInfo", "instructions"}
    told = mcp.send({"jsonrpc": "2.0", "method": "notifications/initialized"}, {"MCP-Protocol-Version": version})
    assert (told.status_code, told.data) == (202, b"")
    assert mcp.handshake("ping", version=version).json["result"] == {}  # type: ignore[index]
    assert "ttlMs" not in mcp.handshake("tools/list", version=version).json["result"]  # type: ignore[index]


def test_an_older_client_is_offered_the_newest_handshake(mcp: Mcp) -> None:
    begun = mcp.handshake("initialize", {"protocolVersion": "2024-11-05"}, version=None)
    assert begun.json["result"]["protocolVersion"] == "2025-11-25"  # type: ignore[index]


def test_errors_of_a_handshake_revision_are_read_with_status_200(mcp: Mcp) -> None:
    assert error(mcp.handshake("server/discover")) == (200, -32601)
    assert error(mcp.handshake("tools/call", {"name": "nothing"})) == (200, -32602)


def test_what_needs_no_answer_gets_none(mcp: Mcp) -> None:
    modern = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    assert mcp.send(modern, {"MCP-Protocol-Version": VERSION}).status_code == 202
    assert error(mcp.send(modern, {"MCP-Protocol-Version": OTHER})) == (400, -32022)
    answer = {"jsonrpc": "2.0", "id": 5, "result": {}}
    assert mcp.send(answer).status_code == 202
    assert error(mcp.send(answer, {"MCP-Protocol-Version": VERSION})) == (400, -32600)
    assert error(mcp.send({"jsonrpc": "2.0"})) == (400, -32600)


# -- HTTP ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_there_is_no_stream_and_no_session_to_ask_for(mcp: Mcp, method: str) -> None:
    response = mcp.send(b"", method=method)
    assert error(response) == (405, -32000)
    assert response.headers["Allow"] == "OPTIONS, POST"


def known(mcp: Mcp, **headers: str) -> bool:
    return mcp.modern("server/discover", headers=headers).status_code == 200


def test_names_and_pages_that_are_known(mcp: Mcp) -> None:
    for host in ("localhost", "127.0.0.1:8000", "[::1]:80", "web:8000", "10.1.2.3"):
        assert known(mcp, Host=host), host
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8000"):
        assert error(mcp.modern("server/discover", headers={"Host": host})) == (403, -32000), host
    assert known(mcp, Host="localhost:8000", Origin="http://127.0.0.1:6274")
    for host, origin in {
        "web:8000": "http://localhost:6274",
        "localhost": "https://evil.example",
        "[::1]": "null",
        "127.0.0.1": "http://[",
        "localhost:8000": "http://127.0.0.1]",
    }.items():
        assert error(mcp.modern("server/discover", headers={"Host": host, "Origin": origin})) == (403, -32000), origin


def test_the_public_url_is_known(settings_with: Callable[..., Mcp]) -> None:
    public = settings_with(PUBLIC_URL="https://hub.example.com", CORS_ORIGINS="https://app.example.com")
    for origin in ("https://hub.example.com", "https://app.example.com"):
        assert known(public, Host="hub.example.com", Origin=origin)
    assert not known(public, Host="hub.example.com", Origin="http://hub.example.com")


# -- who may ask -------------------------------------------------------------------------------------------------


def challenge(response: TestResponse) -> str:
    return response.headers["WWW-Authenticate"]


def test_who_has_no_credential_is_told_where_to_get_one(mcp: Mcp) -> None:
    metadata = 'resource_metadata="http://localhost:8000/.well-known/oauth-protected-resource/mcp"'
    scopes = "tools:read invocations:read invocations:write subscriptions:read"
    refused = mcp.modern("server/discover", headers={"Authorization": None})
    assert refused.status_code == 401
    assert challenge(refused) == f'Bearer realm="joyfull-hub", {metadata}, scope="{scopes}"'
    assert refused.json["error"]["data"]["code"] == "unauthenticated"  # type: ignore[index]
    forbidden = mcp.key_with("tools:read").modern("tools/call", {"name": "x"})
    assert forbidden.status_code == 403
    assert challenge(forbidden) == f'Bearer error="insufficient_scope", scope="invocations:write", {metadata}'


def test_every_method_needs_its_scope(mcp: Mcp) -> None:
    needed = {
        "tools/list": "tools:read",
        "tools/call": "invocations:write",
        "tasks/get": "invocations:read",
        "tasks/update": "invocations:write",
        "tasks/cancel": "invocations:write",
    }
    every = ["tools:read", "invocations:read", "invocations:write", "usage:read"]
    for method, scope in needed.items():
        without = mcp.key_with(*(each for each in every if each != scope))
        response = without.modern(method, {"name": "x", "taskId": "x"}, headers={"Mcp-Name": "x"})
        assert response.status_code == 403, method
        assert response.json["error"]["data"]["code"] == "scope_missing"  # type: ignore[index]


def test_metadata_of_the_resource(mcp: Mcp, settings_with: Callable[..., Mcp]) -> None:
    where = "/.well-known/oauth-protected-resource"
    found: Any = mcp.http.get(f"{where}/mcp").json
    assert found["resource"] == "http://localhost:8000/mcp"
    assert found["bearer_methods_supported"] == ["header"]
    assert "authorization_servers" not in found
    assert {"tools:read", "invocations:write"} <= {*found["scopes_supported"]}
    assert "admin" not in found["scopes_supported"]
    assert mcp.http.get(where).json["resource"] == "http://localhost:8000"  # type: ignore[index]
    issuers = ("https://login.example.com/", "https://b.example.com/tenant")
    told = settings_with(OAUTH_ISSUERS=",".join(issuers)).http.get(f"{where}/mcp")
    assert told.json["authorization_servers"] == [*issuers]  # type: ignore[index]


@pytest.mark.parametrize("issuer", ["login.example.com", "https://", "https://a.example/?x=1", "http://a.example"])
def test_issuers_are_addresses(issuer: str) -> None:
    with pytest.raises(SettingsError, match="OAUTH_ISSUERS"):
        load({"OAUTH_ISSUERS": f"https://ok.example, {issuer}", "ENV": "production"})
