"""An official client repeats by itself, without a key, and two web processes have a part in it: one invocation."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

import openai
import pytest

from common.identity import audit, keys
from tests import factories
from tests.budgets import world
from tests.client import eventually
from tests.outside.tool import Tool
from tests.web.conftest import Pair
from tests.web.test_one_key import charges, holds
from tests.working import working

#: How a request for a chat's answer is logged, once it is over.
CHAT = "/v1/chat/completions"


class Meeting(NamedTuple):
    """Where the process of the first request is stopped or killed, while its client repeats it at the other."""

    point: str
    action: str
    stream: bool


MEETINGS = [
    Meeting("web.before_call", "stop:2", stream=False),
    Meeting("web.before_commit", "stop:2", stream=True),
    Meeting("web.after_commit", "kill9", stream=True),
]


@pytest.mark.chaos
@pytest.mark.parametrize("meeting", MEETINGS, ids=lambda each: f"{each.point}-{each.action}")
def test_an_official_client_repeats_what_another_process_has_begun(
    db: None, pair: Pair, _tool: Tool, meeting: Meeting
) -> None:
    """It counts its repeats, and has no key: whatever becomes of the first one, there is one invocation."""
    customer = factories.customer()
    key = keys.create(customer.user_id, "a key", actor=audit.OPERATOR)[1]
    url = f"{_tool.url}/{'stream?words=2' if meeting.stream else 'chat/completions'}"
    chat = factories.tool(endpoint_url=url, adapter="chat_completion", streaming=True)
    begun = pair.service.log.read_text().count(CHAT)
    pair.arm(meeting.point, meeting.action)
    with (
        working(),
        openai.OpenAI(base_url=f"{pair.service.base}/v1", api_key=key, timeout=0.7, max_retries=9) as client,
    ):
        messages: Any = [{"role": "user", "content": "x"}]
        raw = client.chat.completions.with_raw_response.create(
            model=chat.slug, messages=messages, stream=meeting.stream
        )
        assert raw.retries_taken
        if meeting.stream:
            said = "".join(choice.delta.content or "" for chunk in raw.parse() for choice in chunk.choices)
        else:
            said = raw.parse().choices[0].message.content
        assert said == ("wörd0 wörd1 " if meeting.stream else "a long answer")
        if meeting.action != "kill9":  # it wakes up, and its client is gone
            eventually(
                "both are over", 30, lambda: pair.service.log.read_text().count(CHAT) > begun + raw.retries_taken
            )
        eventually("all has ended", 30, lambda: not world.open_rows())
    assert charges() == [(UUID(raw.headers["Joyfull-Invocation"]), 1)] and holds() == 0
