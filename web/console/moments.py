"""Points in time as browsers send them from `<input type="datetime-local">`: without a zone, meant in the reader's."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from marshmallow.types import ErrorMessages

from common.kit import clock
from web.console import preferences
from web.http.fields import Instant

_LOCAL: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?", re.ASCII)
_INVALID: Final[ErrorMessages] = {"invalid": "Must be a date and a time, such as 2027-01-31T12:00."}


class Moment(Instant):
    """A date and a time in the reader's zone, or one with a zone of its own (RFC 3339); loads as UTC."""

    default_error_messages = _INVALID

    def _deserialize(self, value: object, *args: object, **kwargs: object) -> datetime:
        if isinstance(value, str) and _LOCAL.fullmatch(value):
            try:
                value = clock.rfc3339(datetime.fromisoformat(value).replace(tzinfo=preferences.current().zone))
            except (ValueError, OverflowError) as error:
                raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE) from error
        return super()._deserialize(value, *args, **kwargs)
