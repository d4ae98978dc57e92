"""An example tool: its catalogue entry and the function that answers.

The entry needs only the standard library; models are imported on first use, so the catalogue can be read where no model
is installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: A JSON object. Any: an input fits its tool's schema when the tool reads it.
Json = dict[str, Any]

MAX_CHARACTERS = 10_000
UNIT_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Answer:
    """A tool's `result` and the `usage` that its price is computed from."""

    result: Json
    usage: Mapping[str, int | float]


class Refusal(Exception):
    """A refused request: an HTTP `status`, a stable `code`, and `retry_after` in seconds if a retry may succeed."""

    def __init__(self, status: int, code: str, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.retry_after = status, code, detail, retry_after


@dataclass(frozen=True, slots=True)
class Tool:
    """`answer(input, key)` gets an input that fits `input_schema` and the call's `Idempotency-Key` ("" without one).

    `output_schema` describes only the `result`, which the catalogue's `result_pointer` selects.
    """

    slug: str
    name: str
    description: str
    category: str
    price: Json
    input_schema: Json
    output_schema: Json
    example_input: Json
    answer: Callable[[Json, str], Answer] = field(repr=False)
    path: str = ""
    timeout_seconds: int = 15
    max_attempts: int = 3

    @property
    def route(self) -> str:
        return self.path or f"/{self.slug}"

    def entry(self, base_url: str) -> Json:
        """The body of `POST /api/v1/admin/tools` for this tool, served at `base_url`."""
        return {
            "slug": self.slug,
            "name": self.name,
            "description": self.description,
            "category": self.category,
            "endpoint_url": base_url.rstrip("/") + self.route,
            "adapter": "http_json",
            "method": "POST",
            "headers": {},
            "auth": {"type": "none"},
            "input_schema": self.input_schema,
            "output_schema": self.output_schema,
            "price": self.price,
            "timeout_seconds": self.timeout_seconds,
            "max_attempts": self.max_attempts,
            "idempotent": True,  # the same input always has the same result
            "example_input": self.example_input,
            "result_pointer": "/result",
            "is_active": True,
        }


def schema(properties: Json, *, required: list[str]) -> Json:
    """A strict JSON Schema (2020-12) of an object, without additional properties."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def text(description: str) -> Json:
    """The schema of a non-blank text."""
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_CHARACTERS,
        "pattern": "\\S",
        "description": description,
    }


def price_by_length(base_tokens: int) -> Json:
    """`base_tokens`, plus 1 token per 100 characters or part thereof."""
    return {
        "base_tokens": base_tokens,
        "per_unit": {"pointer": "/usage/units", "tokens": 1, "unit": f"{UNIT_CHARACTERS} characters"},
        "max_tokens": base_tokens + MAX_CHARACTERS // UNIT_CHARACTERS,
    }


def usage_by_length(value: str) -> dict[str, int]:
    """The units that `price_by_length` charges for. Characters are Unicode code points, as JSON Schema counts them."""
    return {"characters": len(value), "units": math.ceil(len(value) / UNIT_CHARACTERS)}
