"""Credentials where everybody who may read the catalogue's entries would read them: in headers, and in the URL."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlsplit

from common.errors import FieldError

#: Names under which APIs take their keys: `X-Api-Key`, `access_token`, `sig`, `Ocp-Apim-Subscription-Key`, `Cookie`, …
_NAMES = re.compile(
    r"auth(?!or(?!i[sz]))|api[-_]?key|(?:subscription|access|private|account|app|client)[-_]?key|token(?!s)|secret|passw|pwd"
    r"|credential|cookie|signature|\bsig\b|jwt|bearer|session",
    re.IGNORECASE,
)
#: Values that are keys by their looks, whatever their name is.
_VALUES = re.compile(
    r"(?i:bearer|basic|token)\s+\S{8,}|(?:sk|pk|rk|ghp|gho|xox[abp]|AKIA|AIza|hf|glpat)[-_A-Za-z0-9]{16,}"
)
TOLD = "Credentials belong into auth, where they are stored encrypted and never shown."


def in_headers(headers: Mapping[str, str]) -> Iterator[FieldError]:
    for name, value in headers.items():
        if _NAMES.search(name) or _VALUES.match(value):
            yield FieldError(f"/headers/{name.replace('~', '~0').replace('/', '~1')}", TOLD)


def in_url(url: str) -> Iterator[FieldError]:
    for name, value in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        if _NAMES.search(name) or name.lower() == "key" or _VALUES.match(value):
            yield FieldError("/endpoint_url", f"{TOLD} (Here: {name[:50]}.)")
