"""Headers that an endpoint's owner has sent along: their values are secrets, encrypted at rest and never shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from uuid import UUID

import orjson

from common.errors import FieldError, Invalid
from common.kit import crypto
from common.kit.outbound import Refused, check_headers
from common.models.webhooks import REDACTED

PURPOSE: Final = "webhook-headers"
#: What deliveries set themselves; framing and routing are refused by the outbound client's own check.
_OURS: Final = re.compile(r"webhook-.*|content-.*|host|x-request-id|traceparent|tracestate", re.IGNORECASE)

#: Columns of an endpoint, by name.
Columns = dict[str, object]


def check(headers: Mapping[str, str]) -> None:
    """Raises `Invalid` for names and values that cannot be sent, or that deliveries set themselves."""
    names = [name.lower() for name in headers]
    faults = [
        FieldError(_pointer(name), fault)
        for name, value in headers.items()
        if (fault := _fault(name, value, repeated=names.count(name.lower()) > 1))
    ]
    if faults:
        raise Invalid("The body is not valid.", errors=faults)


def _pointer(name: str) -> str:
    return f"/headers/{name.replace('~', '~0').replace('/', '~1')}"


def _fault(name: str, value: str, *, repeated: bool) -> str | None:
    if repeated:
        return "Names differ only in case."
    if _OURS.fullmatch(name):
        return "Deliveries set this header themselves."
    try:
        check_headers({name: value})
    except Refused as error:
        return error.message
    return None


def columns(endpoint_id: UUID, given: Mapping[str, str], stored: str | None = None) -> Columns:
    """The columns for these headers. A redacted value keeps the one that is `stored` (encrypted).

    Raises `Invalid` if there is none.
    """
    before = opened(endpoint_id, stored) if REDACTED in given.values() else {}
    unknown = [name for name, value in given.items() if value == REDACTED and name not in before]
    if unknown:
        missing = f"{REDACTED} stands for a stored value, and there is none."
        raise Invalid("The body is not valid.", errors=[FieldError(_pointer(name), missing) for name in unknown])
    headers = {name: before[name] if value == REDACTED else value for name, value in given.items()}
    sealed = crypto.encrypt(PURPOSE, str(endpoint_id), orjson.dumps(headers).decode()) if headers else None
    return {"header_names": list(headers), "encrypted_headers": sealed}


def opened(endpoint_id: UUID, encrypted: str | None) -> dict[str, str]:
    """The headers; only for sending. Raises `crypto.Undecryptable`."""
    if encrypted is None:
        return {}
    found: dict[str, str] = orjson.loads(crypto.decrypt(PURPOSE, str(endpoint_id), encrypted))
    return found
