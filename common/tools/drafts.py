"""A tool as an admin submits it: defaults and validation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from common.errors import FieldError, Invalid
from common.kit import jsonb
from common.kit.outbound import Refused, check_headers
from common.models.tools import ADAPTERS, METHODS, Tool, ToolVersion
from common.tools import credential_detection, prices, url_templates
from common.tools.prices import PriceFields
from common.tools.schemas import check_schema

#: Values of the fields that an admin leaves out.
DEFAULTS: Mapping[str, object] = {
    "description": None,
    "category": None,
    "adapter": "http_json",
    "method": "POST",
    "headers": {},
    "auth": {"type": "none"},
    "timeout_seconds": 30,
    "max_attempts": 3,
    "idempotent": False,
    "streaming": False,
    "idle_seconds": 30,
    "result_pointer": None,
    "output_schema": None,
    "example_input": None,
    "is_active": True,
    "fallback": None,
}
REQUIRED = ("slug", "name", "endpoint_url", "input_schema", "price")
#: Fields with the same name in a draft and in a stored version.
SAME = (
    "endpoint_url",
    "adapter",
    "method",
    "headers",
    "auth",
    "input_schema",
    "output_schema",
    "example_input",
    "result_pointer",
    "timeout_seconds",
    "max_attempts",
    "idempotent",
    "streaming",
    "idle_seconds",
)
#: Free-form JSON, stored as it was sent.
DOCUMENTS = ("input_schema", "output_schema", "example_input")
#: The fields of `auth` that may be shown, by type. The secret is stored encrypted and never shown.
SHOWN = {"none": (), "bearer": (), "header": ("header_name",), "basic": ("username",)}
MAX_SCHEMA_CHARS = 200_000


@dataclass(frozen=True, slots=True)
class Draft:
    """A tool as an admin submits it (`POST /admin/tools`). The API schema has checked the type of each field."""

    slug: str
    name: str
    description: str | None
    category: str | None
    endpoint_url: str
    adapter: str
    method: str
    headers: Mapping[str, str]
    auth: Mapping[str, str]
    input_schema: Mapping[str, object]
    output_schema: Mapping[str, object] | None
    example_input: object
    result_pointer: str | None
    price: PriceFields
    timeout_seconds: int
    max_attempts: int
    idempotent: bool
    streaming: bool
    idle_seconds: int
    is_active: bool
    fallback: str | None

    @classmethod
    def of(cls, entry: Mapping[str, object], *, secret_kept: bool = False, before: Draft | None = None) -> Draft:
        """Fill in defaults and validate. Raises `Invalid`.

        `secret_kept`: the stored secret is kept, so `auth` needs none. `before`: the draft being changed; its schemas
        are not checked again where they stay the same.
        """
        names = {field.name for field in fields(cls)}
        faults = [FieldError(f"/{name}", "Missing.") for name in REQUIRED if name not in entry]
        faults += [FieldError(f"/{name}", "Unknown field.") for name in entry if name not in names]
        if faults:
            raise Invalid(errors=faults)
        typed: dict[str, Any] = {**DEFAULTS, **entry}  # Any: the API schema has checked the type of each field
        draft = cls(**typed)
        if faults := [
            *draft._faults(before),
            *draft._auth_faults(secret_kept),
            *draft._header_faults(),
            *draft._exposed(before),
            *draft._address_faults(before),
        ]:
            raise Invalid(errors=faults)
        return draft

    def _faults(self, before: Draft | None) -> Iterable[FieldError]:
        if self.adapter not in ADAPTERS:
            yield FieldError("/adapter", f"Must be one of {', '.join(ADAPTERS)}.")
        if self.method not in METHODS:
            yield FieldError("/method", f"Must be one of {', '.join(METHODS)}.")
        yield from prices.faults(self.price)
        cut = self.output_schema is not None or self.result_pointer is not None
        if self.streaming and (cut or self.adapter != "chat_completion"):
            yield FieldError("/streaming", "Only for chat_completion without output_schema and result_pointer.")
        for name in ("input_schema", "output_schema"):
            schema = getattr(self, name)
            kept = before is not None and schema == getattr(before, name)
            if not kept and (fault := _schema_fault(schema, self.example_input)) is not None:
                yield FieldError(f"/{name}", fault)

    def _address_faults(self, before: Draft | None) -> Iterable[FieldError]:
        """Braces in an address that was stored before they meant anything may stay until it is changed."""
        if before is not None and (self.endpoint_url, self.input_schema) == (before.endpoint_url, before.input_schema):
            return
        if self.adapter != "http_json" and url_templates.has_variables(self.endpoint_url):
            yield FieldError("/endpoint_url", "Only the addresses of http_json have variables.")
            return
        for fault in url_templates.faults(self.endpoint_url, self.input_schema):
            yield FieldError("/endpoint_url", fault)

    def _auth_faults(self, secret_kept: bool) -> Iterable[FieldError]:
        kind = self.auth.get("type")
        if kind not in SHOWN:
            yield FieldError("/auth/type", f"Must be one of {', '.join(SHOWN)}.")
            return
        known = () if kind == "none" else (*SHOWN[kind], "secret")
        for name in known:
            if not self.auth.get(name) and not (name == "secret" and secret_kept):
                yield FieldError(f"/auth/{name}", "Missing.")
        for name in self.auth.keys() - {"type", *known}:
            yield FieldError(f"/auth/{name}", f"Not allowed for type {kind}.")
        if ":" in self.auth.get("username", ""):
            yield FieldError("/auth/username", "Must not contain a colon (RFC 7617).")

    def _header_faults(self) -> Iterable[FieldError]:
        """Reject headers that the outbound client would refuse to send."""
        for name, value in self.headers.items():
            at = f"/headers/{name.replace('~', '~0').replace('/', '~1')}"
            if fault := _header_fault(name, value):
                yield FieldError(at, fault)
        if fault := _header_fault(self.auth.get("header_name") or "x", "x"):
            yield FieldError("/auth/header_name", fault)
        if _header_fault("x", self.auth.get("secret") or "x"):
            yield FieldError("/auth/secret", "Contains characters that are not allowed in a header.")

    def _exposed(self, before: Draft | None) -> Iterable[FieldError]:
        """Credentials already stored in clear may stay until the field is changed."""
        if before is None or self.headers != before.headers:
            yield from credential_detection.in_headers(self.headers)
        if before is None or self.endpoint_url != before.endpoint_url:
            yield from credential_detection.in_url(url_templates.fixed(self.endpoint_url))

    def version_fields(self) -> dict[str, object]:
        """The columns of a version, without the secret."""
        return {
            "endpoint_url": self.endpoint_url,
            "adapter": self.adapter,
            "method": self.method,
            "headers": dict(self.headers),
            "auth": {"type": self.auth["type"], **{name: self.auth[name] for name in SHOWN[self.auth["type"]]}},
            "input_schema": dict(self.input_schema),
            "output_schema": None if self.output_schema is None else dict(self.output_schema),
            "example_input": self.example_input,
            "result_pointer": self.result_pointer,
            "base_tokens": self.price["base_tokens"],
            "per_unit": self.price.get("per_unit"),
            "max_tokens": self.price["max_tokens"],
            "timeout_seconds": self.timeout_seconds,
            "max_attempts": self.max_attempts,
            "idempotent": self.idempotent,
            "streaming": self.streaming,
            "idle_seconds": self.idle_seconds,
            "metered": self.price.get("metered"),
        }


def _schema_fault(schema: Mapping[str, object] | None, example: object) -> str | None:
    if schema is None:
        return None
    if len(json.dumps(schema)) > MAX_SCHEMA_CHARS:
        return f"Must not be longer than {MAX_SCHEMA_CHARS:,} characters."
    try:
        check_schema(schema, example)
    except ValueError as error:
        return str(error)[:300]
    return None


def _header_fault(name: str, value: str) -> str | None:
    try:
        check_headers({name: value})
    except Refused as error:
        return error.message
    return None


def shown(draft: Draft) -> dict[str, object]:
    """A draft as recorded in the audit log, without the secret."""
    return {**tool_fields(draft), "fallback": draft.fallback, **draft.version_fields()}


def draft_of(tool: Tool, row: ToolVersion, fallback: str | None) -> Draft:
    """A stored version as a draft, without the secret. `fallback`: the slug of the tool's fallback."""
    price = PriceFields(base_tokens=row.base_tokens, per_unit=row.per_unit, max_tokens=row.max_tokens)
    return Draft(
        slug=tool.slug,
        name=tool.name,
        description=tool.description,
        category=tool.category,
        is_active=tool.is_active,
        fallback=fallback,
        price={**price, "metered": row.metered},
        **{name: row.sent(name) for name in SAME},
    )


def tool_fields(draft: Draft) -> dict[str, object]:
    """The columns of the tool itself, which all its versions share."""
    names = {name: getattr(draft, name) for name in ("slug", "name", "category", "is_active")}
    return {**names, "description": draft.description or ""}


def difference(before: Draft, after: Draft) -> tuple[dict[str, object], dict[str, object]]:
    """The changed fields, before and after, as recorded in the audit log."""
    was, is_now = shown(before), shown(after)
    changed = [name for name in is_now if not _alike(name, was, is_now)]
    return {name: was[name] for name in changed}, {name: is_now[name] for name in changed}


def _alike(name: str, one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    """Compare a field. In JSON documents the order of keys and the type of numbers (1, 1.0) count as well."""
    if name in DOCUMENTS:
        return jsonb.dumps(one[name]) == jsonb.dumps(other[name])
    return bool(one[name] == other[name])
