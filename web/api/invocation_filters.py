"""What invocations are chosen by: in the query of a list, and in the body of what is done to many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from datetime import datetime
from typing import Final, NotRequired, TypedDict
from uuid import UUID

import marshmallow as ma
from marshmallow import validate

from common import invocations
from common.invocations import Matching
from common.models.invocations import ERROR_CODES
from web.http.fields import Flag, Id, Instant, Many, Metadata, OneOrMore, Text, Whole, Word
from web.http.pagination import ListArguments, ListQuery
from web.http.schemas import Body

STATUSES: Final = ("queued", "running", *invocations.ENDS)
KEY: Final = r"^[\x20-\x7e]+\Z"
_LABELS: Final = "metadata["


class RangeFields(ma.Schema):
    """A range of `created_at`."""

    start = Instant(data_key="from", metadata={"description": "Inclusive, on `created_at`."})
    end = Instant(data_key="to", metadata={"description": "Exclusive."})

    @ma.validates_schema
    def in_order(self, data: CreatedArguments, **_: object) -> None:
        if "start" in data and "end" in data and data["start"] >= data["end"]:
            raise ma.ValidationError("Must be before `to`.", "from")


class CreatedArguments(TypedDict):
    """What `RangeFields` loads."""

    start: NotRequired[datetime]
    end: NotRequired[datetime]


class FilterFields(RangeFields):
    """The filters of a list, but for the status."""

    tool = Text(max=64, metadata={"description": "Id or slug."})
    idempotency_key = Text(
        max=255, validate=validate.Regexp(KEY), metadata={"description": "Of the submit; known for 24 hours."}
    )
    request_id = Text(max=128, metadata={"description": "The `X-Request-ID` of the submit."})
    metadata = Metadata(metadata={"description": "Pairs that are all there."})
    api_key = Id(metadata={"description": "The id of the key that it was submitted with."})
    end_user = Text(max=128, line=True)
    error = Word(*ERROR_CODES)
    rerun_of = Id(metadata={"description": "The invocation that it repeats."})


class ChoiceArguments(CreatedArguments):
    """What `FilterFields` loads, with the statuses of those who have them."""

    statuses: NotRequired[list[str]]
    tool: NotRequired[str]
    idempotency_key: NotRequired[str]
    request_id: NotRequired[str]
    metadata: NotRequired[dict[str, str]]
    api_key: NotRequired[UUID]
    end_user: NotRequired[str]
    error: NotRequired[str]
    rerun_of: NotRequired[UUID]


class Chosen(TypedDict):
    """The same as the verbs take it."""

    statuses: Sequence[str]
    tool: str | None
    start: datetime | None
    end: datetime | None
    matching: Matching


def chosen(given: ChoiceArguments) -> Chosen:
    """What is to be chosen by."""
    matching = Matching(
        idempotency_key=given.get("idempotency_key"),
        request_id=given.get("request_id"),
        metadata=given.get("metadata", {}),
        api_key=given.get("api_key"),
        end_user=given.get("end_user"),
        error=given.get("error"),
        rerun_of=given.get("rerun_of"),
    )
    return {
        "statuses": given.get("statuses", ()),
        "tool": given.get("tool"),
        "start": given.get("start"),
        "end": given.get("end"),
        "matching": matching,
    }


class InvocationQuery(FilterFields, ListQuery):
    """A list. Metadata is given as `metadata[name]=value`."""

    statuses = OneOrMore(Word(*STATUSES), max=6, data_key="status")
    payloads = Flag(load_default=True, metadata={"description": "False: without `input` and `output`."})

    @ma.pre_load
    def labels(self, data: Mapping[str, object], **_: object) -> Mapping[str, object]:
        named = {name for name in data if name.startswith(_LABELS) and name.endswith("]")}
        if not named:
            return data
        pairs = {name[len(_LABELS) : -1]: data[name] for name in named}
        return {**{name: value for name, value in data.items() if name not in named}, "metadata": pairs}


class InvocationArguments(ChoiceArguments, ListArguments):
    """What `InvocationQuery` loads."""

    payloads: bool


class FailureQuery(RangeFields, ListQuery):
    """By default the last 30 days before `to`."""


class FailureArguments(CreatedArguments, ListArguments):
    """What `FailureQuery` loads."""


class CancelManyInSchema(FilterFields, Body):
    """`ids`, or filters with `confirm`."""

    ids = Many(Id(), min=1, max=100, unique=True)
    statuses = Many(Word(*STATUSES), data_key="status", min=1, max=6, unique=True)
    confirm = Whole(
        metadata={"description": "The number of open invocations that match the filters; required without `ids`."}
    )

    @ma.validates_schema(pass_original=True)
    def one_or_the_other(self, data: Mapping[str, object], original: Sized, **_: object) -> None:
        if "ids" in data and len(original) > 1:
            raise ma.ValidationError("Must be the only field.", "ids")
        if "ids" not in data and "confirm" not in data:
            raise ma.ValidationError("Required unless there are `ids`.", "confirm")


class CancelManyIn(ChoiceArguments):
    """What `CancelManyInSchema` loads."""

    ids: NotRequired[list[UUID]]
    confirm: NotRequired[int]
