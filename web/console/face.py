"""The policy of the console: a cookie and nothing else, pages for errors, a quota of its own."""

from __future__ import annotations

from typing import Final

from common.settings.links import CONSOLE_PREFIX
from web.console import responses, session
from web.http.faces import Face
from web.http.quotas import ReadQuota

#: A dashboard that was left open must not use up what an account's programs may read, nor they what it may.
REQUESTS_PER_MINUTE: Final = 600

CONSOLE: Final = Face(
    name="console",
    prefix=CONSOLE_PREFIX,
    credential=session.credential,
    headers=responses.HEADERS,
    error=responses.as_page,
    quota=ReadQuota(REQUESTS_PER_MINUTE, "console"),
    unknown_fields="ignored",
)
