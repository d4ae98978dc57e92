"""A call of a tool as code that works when it is pasted: curl, Python, JavaScript. The key is `$HUB_API_KEY`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

WAIT: Final = 30


@dataclass(frozen=True, slots=True)
class Snippet:
    """Code in one language. `id`: for the page."""

    id: str
    language: str
    text: str


def of_call(url: str, sent: Mapping[str, object], key: str) -> list[Snippet]:
    """POST `sent` to `url` under this `Idempotency-Key`, and wait for the end."""
    return [
        Snippet("curl", "curl", curl(url, sent, key)),
        Snippet("python", "Python", _python(url, sent, key)),
        Snippet("javascript", "JavaScript", _javascript(url, sent, key)),
    ]


def curl(url: str, sent: Mapping[str, object], key: str) -> str:
    """The same for a shell."""
    return f"""curl -s {shlex.quote(url)} \\
  -H "X-API-Key: $HUB_API_KEY" \\
  -H 'Content-Type: application/json' \\
  -H {shlex.quote(f"Idempotency-Key: {key}")} \\
  -H 'Prefer: wait={WAIT}' \\
  -d {shlex.quote(json.dumps(sent, ensure_ascii=False))}
"""


def _python(url: str, sent: Mapping[str, object], key: str) -> str:
    return f"""import json
import os
import urllib.request

request = urllib.request.Request(
    {url!r},
    data=json.dumps({sent!r}).encode(),
    headers={{
        "X-API-Key": os.environ["HUB_API_KEY"],
        "Content-Type": "application/json",
        "Idempotency-Key": {key!r},
        "Prefer": "wait={WAIT}",
    }},
)
with urllib.request.urlopen(request) as response:
    print(json.dumps(json.load(response)["data"], indent=2))
"""


def _javascript(url: str, sent: Mapping[str, object], key: str) -> str:
    return f"""const response = await fetch({json.dumps(url)}, {{
  method: "POST",
  headers: {{
    "X-API-Key": process.env.HUB_API_KEY,
    "Content-Type": "application/json",
    "Idempotency-Key": {json.dumps(key)},
    "Prefer": "wait={WAIT}",
  }},
  body: JSON.stringify({json.dumps(sent)}),
}});
const {{ data }} = await response.json();
console.log(JSON.stringify(data, null, 2));
"""
