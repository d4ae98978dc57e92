"""The policies of what this package serves: the REST API, its public keys, the documentation, and operators' routes."""

from __future__ import annotations

from typing import Final

from common.settings.links import API_PREFIX
from web.http import credentials, problems, quotas
from web.http.faces import CLOSED, Face

REST: Final = Face(
    name="rest",
    prefix=API_PREFIX,
    credential=credentials.bearer_or_api_key,
    headers=CLOSED,
    error=problems.response_to,
    quota=quotas.reads,
    unknown_fields="refused",
)
#: What anybody may read to check what we have signed.
WELL_KNOWN: Final = Face(
    name="well-known",
    prefix="/.well-known",
    credential=credentials.none,
    headers=CLOSED,
    error=problems.response_to,
    quota=None,
    unknown_fields="refused",
)
#: Swagger UI uses inline styles and data: images; scripts are loaded from our own origin only.
DOCUMENTATION: Final = Face(
    name="documentation",
    prefix="/docs",
    credential=credentials.none,
    headers={
        **CLOSED,
        "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    },
    error=problems.response_to,
    quota=None,
    unknown_fields="refused",
)
#: Health, readiness and metrics; also the shape of errors where no other face is.
OPERATIONS: Final = Face(
    name="operations",
    prefix="/",
    credential=credentials.none,
    headers=CLOSED,
    error=problems.response_to,
    quota=None,
    unknown_fields="refused",
    independent=True,
)
