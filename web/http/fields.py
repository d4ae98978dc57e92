"""Field types for schemas: strict, with the same meaning in a body and in a query string."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict, Unpack
from uuid import UUID

import marshmallow as ma
from marshmallow import fields, validate
from marshmallow.types import ErrorMessages, Validator

from common.kit import clock
from common.kit.nfc import MOST_COMPOSED, nfc
from common.models.base import MAX_TOKENS

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,18})", re.ASCII)
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
#: Spaces, control and format characters (zero-width, directional marks): text of these alone is blank.
_INVISIBLE = frozenset(["Zs", "Zl", "Zp", "Cc", "Cf"])
#: About the same for the OpenAPI document: at least one visible character.
_TEXT_PATTERN = r"[^\s\x00-\x1f\x7f-\x9f]"
_LINE_PATTERN = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MESSAGES: ErrorMessages = {
    "blank": "Must not be blank.",
    "control": "Must not contain control characters or line breaks.",
    "repeated": "Must not contain the same item twice.",
    "too_many": "Must not have more than {max} items.",
}
_INVALID_INSTANT: ErrorMessages = {
    "invalid": "Must be an RFC 3339 date-time with a time zone, such as 2027-01-31T12:00:00Z."
}
INT4_MAX = 2**31 - 1
#: A field of whatever value: marshmallow's fields are generic in what they load, and invariant.
AnyField = fields.Field[Any]  # whatever it loads
#: The object whose member a field loads.
Given = Mapping[str, object] | None


class Options(TypedDict, total=False):
    """The options of marshmallow's fields that ours pass on."""

    load_default: object
    dump_default: object
    data_key: str | None
    attribute: str | None
    validate: Validator | Iterable[Validator] | None
    required: bool
    allow_none: bool | None
    metadata: Mapping[str, object]


class Text(fields.String):
    """Text of `min`–`max` characters that is not blank (spaces and invisible characters alone do not count).

    `line` refuses control characters and line breaks (for text used in mails and headers), `nfc` normalises to Unicode
    NFC before comparison, `blank` allows blank text and the empty string. Text that is too long is not looked at.
    """

    default_error_messages = _MESSAGES

    def __init__(
        self,
        *,
        min: int = 1,
        max: int = 10_000,
        line: bool = False,
        nfc: bool = False,
        blank: bool = False,
        **kwargs: Unpack[Options],
    ) -> None:
        self.line, self.nfc, self.blank = line, nfc, blank
        if not blank and "validate" not in kwargs:
            kwargs["metadata"] = {"pattern": _LINE_PATTERN if line else _TEXT_PATTERN, **kwargs.get("metadata", {})}
        self.length, self.longest = validate.Length(0 if blank else min, max), max * (MOST_COMPOSED if nfc else 1)
        kwargs["validate"] = [self.length, *_listed(kwargs.get("validate"))]
        super().__init__(**kwargs)

    def _deserialize(self, value: object, attr: str | None, data: Given, **kwargs: object) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if len(text) > self.longest:
            self.length(text)
        text = nfc(text) if self.nfc else text
        if self.line and _CONTROL.search(text):
            raise self.make_error("control")
        if not self.blank and all(unicodedata.category(char) in _INVISIBLE for char in text):
            raise self.make_error("blank")
        return text


class Secret(fields.String):
    """A password or token: taken exactly as sent and never shown."""

    def __init__(self, *, min: int = 1, max: int = 4096, **kwargs: Unpack[Options]) -> None:
        kwargs["validate"] = [validate.Length(min, max), *_listed(kwargs.get("validate"))]
        super().__init__(load_only=True, **kwargs)


class Whole(fields.Integer):
    """An integer from `low` to `high`; not a boolean, a fraction or (in a body) text."""

    def __init__(self, low: int = 0, high: int = INT4_MAX, **kwargs: Unpack[Options]) -> None:
        kwargs["validate"] = [validate.Range(low, high), *_listed(kwargs.get("validate"))]
        super().__init__(strict=True, **kwargs)

    def _deserialize(self, value: object, attr: str | None, data: Given, **kwargs: object) -> int:
        if _is_text(self) and isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        return super()._deserialize(value, attr, data, **kwargs)


class Tokens(Whole):
    """An amount of tokens, 0 to 2^53−1: integers that every JSON parser represents exactly."""

    def __init__(self, low: int = 0, high: int = MAX_TOKENS, **kwargs: Unpack[Options]) -> None:
        super().__init__(low, high, **kwargs)


class Number(fields.Float):
    """A finite number from `low` to `high`; not a boolean or text."""

    def __init__(self, low: float = 0, high: float = MAX_TOKENS, **kwargs: Unpack[Options]) -> None:
        kwargs["validate"] = validate.Range(low, high)
        super().__init__(**kwargs)

    def _deserialize(self, value: object, attr: str | None, data: Given, **kwargs: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


class Flag(fields.Boolean):
    """Exactly true or false; no equivalents."""

    def _deserialize(self, value: object, *_: object, **__: object) -> bool:
        if isinstance(value, bool):
            return value
        if _is_text(self) and value in ("true", "false"):
            return value == "true"
        raise self.make_error("invalid", input=value)


class Id(fields.UUID):
    """A UUID in its canonical form: 36 characters, lower case."""

    def _deserialize(self, value: object, *_: object, **__: object) -> UUID:
        if not isinstance(value, str) or not _UUID.fullmatch(value):
            raise self.make_error("invalid_uuid")
        return UUID(value)


class Instant(fields.AwareDateTime):
    """A point in time: RFC 3339 with a time zone. Loaded as UTC, shown with `Z`."""

    default_error_messages = _INVALID_INSTANT

    def _deserialize(self, value: object, *_: object, **__: object) -> datetime:
        if not isinstance(value, str) or not _RFC3339.fullmatch(value):
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE)
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE) from error

    def _serialize(self, value: datetime | None, *_: object, **__: object) -> str | None:
        return None if value is None else clock.rfc3339(value)


class Word(fields.String):
    """One of the given words."""

    def __init__(self, *words: str, **kwargs: Unpack[Options]) -> None:
        kwargs["validate"] = validate.OneOf(words)
        super().__init__(**kwargs)


class Many(fields.List[Any]):  # whatever its inner field loads
    """An array of at most `max` items; `unique` refuses repeated ones."""

    default_error_messages = _MESSAGES

    def __init__(
        self, inner: AnyField, *, min: int = 0, max: int = 100, unique: bool = False, **kwargs: Unpack[Options]
    ) -> None:
        self.unique, self.most = unique, max
        kwargs["validate"] = [validate.Length(min, max), *_listed(kwargs.get("validate"))]
        kwargs["metadata"] = {**({"uniqueItems": True} if unique else {}), **kwargs.get("metadata", {})}
        super().__init__(inner, **kwargs)

    def _deserialize(self, value: object, attr: str | None, data: Given, **kwargs: object) -> list[object]:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        if len(value) > self.most:
            raise self.make_error("too_many", max=self.most)
        items = super()._deserialize(value, attr, data, **kwargs)
        if self.unique and any(item in items[:index] for index, item in enumerate(items)):
            raise self.make_error("repeated")
        return items


class Unread(fields.Nested):
    """Documented as its schema, but loaded unchanged: for items that are validated one by one."""

    def deserialize(self, value: object, *_: object, **__: object) -> object:
        return value


class OneOrMore(Many):
    """A query parameter that may be repeated (`status=queued&status=running`)."""


class JsonObject(fields.Dict):
    """Any JSON object, unchanged."""

    def _deserialize(self, value: object, *_: object, **__: object) -> dict[str, object]:
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        return value


class Pairs(fields.Dict):
    """An object with text values. Errors point at the pair, without the `key` or `value` that marshmallow appends."""

    def _deserialize(self, value: object, attr: str | None, data: Given, **kwargs: object) -> dict[str, object]:
        try:
            pairs: dict[str, object] = super()._deserialize(value, attr, data, **kwargs)  # type: ignore[no-untyped-call]
        except ma.ValidationError as error:
            if isinstance(error.messages, dict):
                raise ma.ValidationError({name: _of_both(halves) for name, halves in error.messages.items()}) from None
            raise
        return pairs


class Metadata(Pairs):
    """The caller's labels: at most `pairs` pairs of text."""

    def __init__(self, *, pairs: int = 16, **kwargs: Unpack[Options]) -> None:
        kwargs["validate"] = validate.Length(max=pairs)
        name, text = fields.String(validate=validate.Length(1, 64)), fields.String(validate=validate.Length(0, 512))
        super().__init__(keys=name, values=text, **kwargs)


def _of_both(halves: dict[str, list[str]]) -> list[str]:
    return [message for messages in halves.values() for message in messages]


def _listed(validators: Validator | Iterable[Validator] | None) -> list[Validator]:
    if validators is None:
        return []
    return list(validators) if isinstance(validators, Iterable) else [validators]


def _is_text(field: AnyField) -> bool:
    return bool(getattr(field.root, "from_text", False))
