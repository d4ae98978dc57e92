"""JSON Schema at the tool's outbound: inputs before they are accepted, outputs before they are believed.

What is surely checked in a moment is checked here, with validators that are compiled once for each version and process.
What may take long (a schema that expands to much or refers to itself, a large value) is checked in a child process with
a time limit (`kit/checker.py`): it holds up nobody but whoever asked. Nothing outside the schema is ever fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any
from uuid import UUID, uuid4

import jsonschema_rs

from common.errors import DependencyUnavailable, FieldError, ToolInputRejected
from common.kit import checker, clock, jsonb, jsonschemas
from common.kit.jsonschemas import Fault, Unusable
from common.tools import patterns, weight
from common.tools.catalogue import Version, version

VALIDATORS = 2_000
MAX_INPUT_ERRORS = 20
MAX_POINTER = 150
#: Schemas of more checks than this are not even compiled here.
LIGHT = 20_000
#: Checks times bytes of the value that take some milliseconds at most.
QUICK = 1_000_000
#: For trying a new schema out.
TRIAL_SECONDS = 3.0
#: What a schema is tried on when it is new: small values, and deep ones, which are where recursion grows.
PROBE_DEPTH = 30
PROBE_NAMES = 20


def check_schema(schema: Mapping[str, Any], example: Any = None) -> None:
    """Refuse a schema that cannot be used: invalid, with references outside itself, or taking too long to check.

    Raises `ValueError`.
    """
    try:
        weight.weigh(schema)
    except weight.TooHeavy:
        raise ValueError(f"Its references expand to more than {weight.MOST:,} checks.") from None
    except weight.Unbounded:
        pass  # the trial tells
    name = f"new:{uuid4()}"
    try:
        checker.check(name, schema, b"null", most=1, seconds=TRIAL_SECONDS)  # it may have to start first
        until = clock.monotonic() + TRIAL_SECONDS
        for probe in (*_probes(schema), example):
            left = max(0.01, until - clock.monotonic())
            checker.check(name, schema, jsonb.dumps(probe).encode(), most=1, seconds=left)
    except Unusable as error:
        raise ValueError(_unusable(error)) from error
    except checker.TooLong:
        raise ValueError("It takes too long to check, or too much memory.") from None
    except checker.Busy:
        raise DependencyUnavailable("Too many schemas are being checked.", retry_after=5) from None


def _unusable(error: Unusable) -> str:
    """Why a schema is wrong, and where."""
    if error.path is None:
        return str(error)
    why = str(error) if error.pattern is None else patterns.fault(error.pattern)
    return f"At {_pointer(error.path)[:MAX_POINTER] or 'the root'}: {why}"


def _probes(schema: Mapping[str, Any]) -> Iterator[Any]:
    yield from (0, "", [], {})
    nested: Any = None
    for _ in range(PROBE_DEPTH):
        nested = [nested]
    yield nested
    for name in islice(dict.fromkeys(_property_names(schema)), PROBE_NAMES):
        nested = None
        for _ in range(PROBE_DEPTH):
            nested = {name: nested}
        yield nested


def _property_names(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        properties = node.get("properties")
        if isinstance(properties, Mapping):
            yield from properties
        for each in node.values():
            yield from _property_names(each)
    elif isinstance(node, list):
        for each in node:
            yield from _property_names(each)


@lru_cache(maxsize=VALIDATORS)
def _weight(version_id: UUID, part: str) -> int | None:
    """The checks in a version's schema; None when only its value decides, or when they are too many."""
    try:
        return weight.weigh(getattr(version(version_id), part))
    except (weight.TooHeavy, weight.Unbounded):
        return None


@lru_cache(maxsize=VALIDATORS)
def _validator(version_id: UUID, part: str) -> jsonschema_rs.Validator:
    return jsonschemas.compiled(getattr(version(version_id), part))


def _faults(tool: Version, part: str, value: Any, most: int) -> list[Fault]:
    """Raises `checker.TooLong`, `checker.Busy`."""
    schema = getattr(tool, part)
    if schema is None:
        return []
    text, checks = jsonb.dumps(value).encode(), _weight(tool.id, part)
    try:
        if checks is not None and checks <= LIGHT and checks * len(text) <= QUICK:
            return jsonschemas.faults(_validator(tool.id, part), value, most)
        return checker.check(f"{tool.id}:{part}", schema, text, most=most)
    except Unusable as error:  # an older release has accepted it
        raise checker.TooLong from error


def validate_input(tool: Version, value: Any) -> None:
    """Check an input against the tool's schema. Raises `ToolInputRejected` with a pointer for each fault."""
    try:
        found = _faults(tool, "input_schema", value, MAX_INPUT_ERRORS)
    except checker.TooLong:
        found = [([], "Cannot be checked against the tool's schema in time.")]
    except checker.Busy:
        raise DependencyUnavailable("Too many inputs are being checked.", retry_after=5) from None
    if found:
        raise ToolInputRejected(errors=[FieldError(_pointer(("input", *path)), said) for path, said in found])


def output_fault(tool: Version, value: Any) -> str | None:
    """What the tool's `output_schema` has against an output; None when it fits or there is no schema."""
    try:
        found = _faults(tool, "output_schema", value, 1)
    except (checker.TooLong, checker.Busy):
        return "the output cannot be checked against the tool's schema in time"
    return f"{_pointer(found[0][0]) or 'the output'}: {found[0][1]}" if found else None


def _pointer(path: Any) -> str:
    """RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
