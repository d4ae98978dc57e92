"""JSON Schema validation of a tool's inputs and outputs.

Cheap checks run in this process, with validators compiled once per version. Checks that may be slow (a schema that is
large once its references are expanded, or recursive; a large value) run in a child process with a time limit
(`kit/checker.py`), so that they delay only the caller. So does the search for faults in a value that is not small:
whether a value is valid is known at its first fault, but all of them are made before the first can be had. External
references are never fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from itertools import islice
from typing import NamedTuple
from uuid import UUID, uuid4

import jsonschema_rs

from common.errors import DependencyUnavailable, FieldError, ToolInputRejected
from common.kit import checker, clock, jsonb, jsonschemas, shape
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
#: Limits for the weight of `multipleOf` times values and times bytes: a fraction takes up to 60 µs for a value.
QUICK_MULTIPLES = 2_000
QUICK_DIGITS = 400_000
#: Limits for checks times values and times bytes where the faults are listed: each takes up to 50 µs and repeats the
#: text of a value.
FEW_FAULTS = 1_000
SHORT_FAULTS = 50_000
#: Limit for checks times values above which only the first fault is looked for: a quarter of a second at most.
MANY_FAULTS = 50_000
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


class _Weight(NamedTuple):
    """The checks in a schema that is compiled in this process, and how much its `multipleOf` weigh."""

    checks: int
    multiples: int

    def is_quick(self, text: bytes) -> bool:
        """Whether a value is soon known to be valid or not."""
        return self.checks * len(text) <= QUICK and (
            not self.multiples
            or (
                self.multiples * shape.most_values(text) <= QUICK_MULTIPLES
                and self.multiples * len(text) <= QUICK_DIGITS
            )
        )

    def has_few_faults(self, text: bytes) -> bool:
        """Whether all faults of such a value are soon listed."""
        return self.checks * len(text) <= SHORT_FAULTS and self.checks * shape.most_values(text) <= FEW_FAULTS

    def has_very_many_faults(self, text: bytes) -> bool:
        """Whether it would take long to list the faults of such a value."""
        return self.checks * shape.most_values(text) > MANY_FAULTS


@lru_cache(maxsize=VALIDATORS)
def _weight(version_id: UUID, part: str) -> _Weight | None:
    """The weight of a version's schema; None when it depends on the value or exceeds the limit."""
    schema = getattr(version(version_id), part)
    try:
        found = _Weight(weight.weigh(schema), weight.multiples(schema))
    except (weight.TooHeavy, weight.Unbounded):
        return None
    return found if found.checks <= LIGHT else None


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
    text, weighs = jsonb.encoded(value), _weight(tool.id, part)
    try:
        if weighs is not None and weighs.is_quick(text):
            validator = _validator(tool.id, part)
            if validator.is_valid(value):
                return []
            if weighs.has_few_faults(text):
                return jsonschemas.faults(validator, value, most)
            most = 1 if weighs.has_very_many_faults(text) else most
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
