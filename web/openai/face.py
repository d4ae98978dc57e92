"""The policy of the OpenAI-compatible route: the credentials of REST, OpenAI's errors, and bodies that are the model's
business.
"""

from __future__ import annotations

from typing import Final

from common.settings.links import OPENAI_PREFIX
from web.http import credentials, quotas
from web.http.faces import CLOSED, Face
from web.openai import errors

OPENAI: Final = Face(
    name="openai",
    prefix=OPENAI_PREFIX,
    credential=credentials.bearer_or_api_key,
    headers=CLOSED,
    error=errors.answer,
    quota=quotas.reads,
    unknown_fields="ignored",
)
