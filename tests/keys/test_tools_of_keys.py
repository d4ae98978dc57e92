"""A key for some tools: others do not exist for it."""

from __future__ import annotations

from tests import factories
from tests.keys.conftest import Account, Work


def test_it_lists_and_calls_those_alone(account: Account) -> None:
    mine, other = factories.tool(), factories.tool()
    key = account.key(tools=[mine.slug])
    assert account.listed(key)["tools"] == [mine.slug]
    assert [tool["slug"] for tool in key("GET", "/tools").data] == [mine.slug]
    assert {tool["slug"] for tool in account.key()("GET", "/tools").data} >= {mine.slug, other.slug}
    for ref in (mine.slug, str(mine.id)):
        assert key("GET", f"/tools/{ref}").status == 200
        assert key("POST", f"/tools/{ref}/quote", json={"input": {}}).status == 200
        assert key.submit(ref).status == 202
    for ref in (other.slug, str(other.id)):
        assert key("GET", f"/tools/{ref}").refusal == (404, "not_found")
        assert key("POST", f"/tools/{ref}/quote", json={"input": {}}).refusal == (404, "not_found")
        assert key.submit(ref).refusal == (404, "not_found")
        assert key.submit(ref).body["detail"] == key.submit("a-tool-that-nobody-has").body["detail"]


def test_a_batch_and_a_rerun(account: Account, work: Work) -> None:
    mine, other = factories.tool(), factories.tool()
    key, made = account.key(tools=[mine.slug]), account.session.submit(other).data
    items = [{"tool": tool.slug, "input": {}} for tool in (mine, other)]
    answers = key("POST", "/invocations/batch", json={"items": items}).body["data"]
    assert [each["status"] for each in answers] == [202, 404]
    assert key("POST", f"/invocations/{made['id']}/rerun").refusal == (404, "not_found")
    assert account.session("POST", f"/invocations/{made['id']}/rerun").status == 202


def test_a_repeated_submit_of_another_tool_is_not_shown(account: Account) -> None:
    mine, other = factories.tool(), factories.tool()
    key, headers = account.key(tools=[mine.slug]), {"Idempotency-Key": "one"}
    body: dict[str, object] = {"input": {}}
    first = account.session("POST", f"/tools/{other.slug}/invoke", json=body, headers=headers)
    assert first.status == 202
    assert key("POST", f"/tools/{other.slug}/invoke", json=body, headers=headers).refusal == (404, "not_found")
