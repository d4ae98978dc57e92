"""Every example tool, and the catalogue entries in the shape of `POST /api/v1/admin/tools`.

python -m examples.tools.catalogue      prints them as JSON
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from examples.tools import chat, flaky, keywords, language, patience, sentiment, storyteller, summary
from examples.tools.tool import Json, Tool

BASE_URL = "http://127.0.0.1:8100"

TOOLS: tuple[Tool, ...] = (
    language.TOOL,
    sentiment.TOOL,
    keywords.TOOL,
    summary.TOOL,
    patience.TOOL,
    flaky.TOOL,
)


def entries(base_url: str = BASE_URL, environ: Mapping[str, str] | None = None) -> list[Json]:
    """The tools of the service at `base_url`, and `chat` where the environment names an OpenAI-compatible endpoint."""
    offered = chat.entry(os.environ if environ is None else environ)
    return [*(tool.entry(base_url) for tool in TOOLS), storyteller.entry(base_url), *([offered] if offered else [])]


if __name__ == "__main__":
    print(json.dumps(entries(), indent=2, ensure_ascii=False))
