"""Detect credentials in a tool's headers and URL, where every admin who may read the catalogue would see them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl

from common.errors import FieldError

#: Names of headers and parameters that carry credentials: `X-Api-Key`, `access_token`, `sig`, `Cookie`, …
_NAMES = re.compile(
    r"auth(?!or(?!i[sz]))|api[-_]?key|(?:subscription|access|private|account|app|client)[-_]?key|token(?!s)|secret|passw|pwd"
    r"|credential|cookie|signature|\bsig\b|jwt|bearer|session",
    re.IGNORECASE,
)
#: Values that look like credentials, whatever their name.
_VALUES = re.compile(
    r"(?i:bearer|basic|token)\s+\S{8,}|(?:sk|pk|rk|ghp|gho|xox[abp]|AKIA|AIza|hf|glpat)[-_A-Za-z0-9]{16,}"
)
ADVICE = "Credentials belong in auth, where they are stored encrypted and never shown."


def in_headers(headers: Mapping[str, str]) -> Iterator[FieldError]:
    """A fault for each header that looks like a credential."""
    for name, value in headers.items():
        if _NAMES.search(name) or _VALUES.match(value):
            yield FieldError(f"/headers/{name.replace('~', '~0').replace('/', '~1')}", ADVICE)


def in_url(url: str) -> Iterator[FieldError]:
    """A fault for each query parameter that looks like a credential. What is no URL is looked through as well."""
    query = url.partition("#")[0].partition("?")[2]
    for name, value in parse_qsl(query, keep_blank_values=True):
        if _NAMES.search(name) or name.lower() == "key" or _VALUES.match(value):
            yield FieldError("/endpoint_url", f"{ADVICE} (Parameter: {name[:50]}.)")
