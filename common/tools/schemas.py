"""JSON Schema validation of a tool's inputs and outputs.

Cheap checks run in this process, with validators compiled once per version. Checks that may be slow (a schema that is
large once its references are expanded, or recursive; a large value) run in a child process with a time limit
(`kit/checker.py`), so that they delay only the caller. External references are never fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from itertools import islice
from uuid import UUID, uuid4

import jsonschema_rs

from common.errors import DependencyUnavailable, FieldError, ToolInputRejected
from common.kit import checker, clock, jsonb, jsonschemas
from common.kit.jsonschemas import Fault, Unusable
from common.tools import patterns, weight
from common.tools.catalogue import version
from common.tools.model import Version

VALIDATORS = 2_000
MAX_INPUT_ERRORS = 20
MAX_POINTER = 150
#: Schemas with more checks than this are not compiled in this process.
LIGHT = 20_000
#: Limit for checks times bytes of the value in this process: a few milliseconds.
QUICK = 1_000_000
#: Time limit for the trial of a new schema.
TRIAL_SECONDS = 3.0
#: A new schema is tried on small values and on deeply nested ones, which expose recursive growth.
PROBE_DEPTH = 30
PROBE_NAMES = 20

Waiting = Callable[[], AbstractContextManager[None]]


def check_schema(schema: Mapping[str, object], example: object = None) -> None:
    """Check that a schema is usable. Raises `ValueError` if it is invalid, has external references or is too slow."""
    try:
        weight.weigh(schema)
    except weight.TooHeavy:
        raise ValueError(f"Its references expand to more than {weight.MOST:,} checks.") from None
    except weight.Unbounded:
        pass  # the trial decides
    name = f"new:{uuid4()}"
    try:
        checker.check(name, schema, b"null", most=1, seconds=TRIAL_SECONDS)  # the child process may have to start
        until = clock.monotonic() + TRIAL_SECONDS
        for probe in (*_probes(schema), example):
            left = max(0.01, until - clock.monotonic())
            checker.check(name, schema, jsonb.dumps(probe).encode(), most=1, seconds=left)
    except Unusable as error:
        raise ValueError(_unusable(error)) from error
    except checker.TooLong:
        raise ValueError("Checking it takes too long or too much memory.") from None
    except checker.CheckerBusy:
        raise DependencyUnavailable(
            "Too many schemas are being checked at once. Nothing was changed; retry.", retry_after=5
        ) from None


def _unusable(error: Unusable) -> str:
    """The location of the error in the schema, and the reason."""
    if error.path is None:
        return str(error)
    why = str(error) if error.pattern is None else patterns.fault(error.pattern)
    return f"At {_pointer(error.path)[:MAX_POINTER] or 'the root'}: {why}"


def _probes(schema: Mapping[str, object]) -> Iterator[object]:
    yield from (0, "", [], {})
    nested: object = None
    for _ in range(PROBE_DEPTH):
        nested = [nested]
    yield nested
    for name in islice(dict.fromkeys(_property_names(schema)), PROBE_NAMES):
        nested = None
        for _ in range(PROBE_DEPTH):
            nested = {name: nested}
        yield nested


def _property_names(node: object) -> Iterator[str]:
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
    """The number of checks in a version's schema; None when it depends on the value or exceeds the limit."""
    try:
        return weight.weigh(getattr(version(version_id), part))
    except (weight.TooHeavy, weight.Unbounded):
        return None


@lru_cache(maxsize=VALIDATORS)
def _validator(version_id: UUID, part: str) -> jsonschema_rs.Validator:
    return jsonschemas.compiled(getattr(version(version_id), part))


def _faults(
    tool: Version, part: str, value: object, *, most: int, account: UUID | None, waiting: Waiting = nullcontext
) -> list[Fault]:
    """Raises `checker.TooLong`, `checker.CheckerBusy`."""
    schema = getattr(tool, part)
    if schema is None:
        return []
    text, checks = jsonb.dumps(value).encode(), _weight(tool.id, part)
    try:
        if checks is not None and checks <= LIGHT and checks * len(text) <= QUICK:
            return jsonschemas.faults(_validator(tool.id, part), value, most)
        with waiting():
            return checker.check(f"{tool.id}:{part}", schema, text, most=most, account=account)
    except Unusable as error:  # accepted by an older release
        raise checker.TooLong from error


def validate_input(tool: Version, value: object, account: UUID | None = None, waiting: Waiting = nullcontext) -> None:
    """Check an input of an account against the tool's schema. `waiting`: entered while another process checks.

    Raises `ToolInputRejected` with a pointer for each fault, `DependencyUnavailable`.
    """
    try:
        found = _faults(tool, "input_schema", value, most=MAX_INPUT_ERRORS, account=account, waiting=waiting)
    except checker.TooLong:
        found = [([], "Validation against the tool's schema timed out.")]
    except checker.CheckerBusy:
        raise DependencyUnavailable(
            "Too many inputs are being validated. No invocation was created; retry.", retry_after=5
        ) from None
    if found:
        raise ToolInputRejected(errors=[FieldError(_pointer(("input", *path)), said) for path, said in found])


def output_fault(
    tool: Version, value: object, account: UUID | None = None, waiting: Waiting = nullcontext
) -> str | None:
    """The first violation of the tool's `output_schema`; None when the output is valid or there is no schema.

    `account`: whose call it was; `waiting`: entered while another process checks.
    """
    try:
        found = _faults(tool, "output_schema", value, most=1, account=account, waiting=waiting)
    except (checker.TooLong, checker.CheckerBusy):
        return "validation of the output against the tool's schema timed out"
    return f"{_pointer(found[0][0]) or 'the output'}: {found[0][1]}" if found else None


def _pointer(path: Iterable[str | int]) -> str:
    """A JSON Pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
