"""JSON Schema at the tool's door: inputs before they are accepted, outputs before they are believed.

Validators are compiled once for each version and process. Patterns run in linear time, and nothing outside the schema
itself is ever fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from uuid import UUID

import jsonschema_rs

from common.errors import FieldError, ToolInputRejected
from common.tools import patterns
from common.tools.catalogue import Version, version

VALIDATORS = 2_000
MAX_INPUT_ERRORS = 20
MAX_POINTER = 150


def check_schema(schema: Mapping[str, Any]) -> None:
    """Refuse a schema that cannot be used: invalid, or with references outside itself. Raises `ValueError`."""
    try:
        _compile(schema)
    except jsonschema_rs.ValidationError as error:
        raise ValueError(_invalid(error)) from error
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        raise ValueError(str(error).splitlines()[0]) from error


def _invalid(error: jsonschema_rs.ValidationError) -> str:
    """Why a schema is wrong, and where."""
    kind = error.kind
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.Format) and kind.format == "regex":
        why = patterns.fault(str(error.instance))
    else:
        why = error.message.splitlines()[0]
    return f"At {_pointer(error.instance_path)[:MAX_POINTER] or 'the root'}: {why}"


def _compile(schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
    """JSON Schema (2020-12 unless it says otherwise) with no network, no files and linear-time patterns."""
    return jsonschema_rs.validator_for(
        dict(schema),
        retriever=_no_references,
        pattern_options=patterns.OPTIONS,
        validate_formats=True,
    )


def _no_references(uri: str) -> Any:
    raise ValueError(f"references to other documents are not allowed: {uri}")


@lru_cache(maxsize=VALIDATORS)
def _validator(version_id: UUID, part: str) -> jsonschema_rs.Validator | None:
    schema = getattr(version(version_id), part)
    return None if schema is None else _compile(schema)


def validate_input(tool: Version, value: Any) -> None:
    """Check an input against the tool's schema. Raises `ToolInputRejected` with a pointer for each fault."""
    validator = _validator(tool.id, "input_schema")
    if validator is None or validator.is_valid(value):
        return
    faults = []
    for error in validator.iter_errors(value):
        faults.append(FieldError(_pointer(("input", *error.instance_path)), error.message[:300]))
        if len(faults) == MAX_INPUT_ERRORS:
            break
    raise ToolInputRejected(errors=faults)


def output_fault(tool: Version, value: Any) -> str | None:
    """What the tool's `output_schema` has against an output; None when it fits or there is no schema."""
    validator = _validator(tool.id, "output_schema")
    if validator is None or validator.is_valid(value):
        return None
    error = next(iter(validator.iter_errors(value)))
    return f"{_pointer(error.instance_path) or 'the output'}: {error.message[:300]}"


def _pointer(path: Any) -> str:
    """RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
