"""A request becomes an invocation, or joins the one that an earlier request of the same call has made.

OpenAI's clients repeat a request by themselves: without an Idempotency-Key, but with the number of the repeat.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from flask import Response, request
from werkzeug.exceptions import ClientDisconnected

from common import invocations
from common.errors import PlatformError
from common.invocations import CountedRequest, Submitted
from common.kit import db, failpoints, log
from web.http import auth, connections, idempotency, limits, submissions, waiting_limits
from web.http.submissions import Outcome
from web.openai.parsing import ModelCall

logger = log.get(__name__)

#: How long (seconds) a client waits for an answer that is not streamed: OpenAI's give up after 600.
WAIT_SECONDS: Final = 590
_COUNT: Final = re.compile(r"0|[1-9][0-9]{0,3}", re.ASCII)


class Begun(NamedTuple):
    """An accepted invocation, and which request of its client's call has led to it, if that counts them."""

    submitted: Submitted
    counted: CountedRequest | None

    def answered(self) -> None:
        """The answer was sent whole. Does nothing while PostgreSQL is unreachable: a repeat may join it still."""
        if self.counted is not None:
            try:
                invocations.joining.answered(self.counted)
            except db.Unreachable:
                logger.warning("answered call not recorded: database unavailable", call=str(self.counted.id))


def begin(asked: ModelCall) -> Begun:
    """Submit, unless an earlier request has: then this one is a read.

    Raises what `submissions.submit` does, `RateLimited`, and `ClientDisconnected`: nobody is there to be answered.
    """
    submissions.require_allowed()
    owner = auth.caller().user_id
    waiting_limits.places.require_one(owner, waiting_limits.most(owner))
    key = idempotency.key()
    counted = None if key is not None else _counted(asked)
    try:
        submitted = submissions.submit(asked.model, asked.fields, counted.key if counted else key, asked.body)
    except PlatformError:
        if counted is not None:
            invocations.joining.refused(counted)
        raise
    if submitted.replayed:
        limits.count_read()
    return Begun(submitted, counted)


def _counted(asked: ModelCall) -> CountedRequest | None:
    """The call of a client that counts.

    One that has left before its call was noted may have repeated it elsewhere, as a call of its own. So this is asked
    once it is noted, because whatever repeats it from then on joins it. Raises `ClientDisconnected`.
    """
    count = request.headers.get("X-Stainless-Retry-Count", "")
    if not _COUNT.fullmatch(count):
        return None
    failpoints.at("web.before_call")
    counted = invocations.joining.begin(auth.caller(), asked.body, int(count))
    if connections.has_left(request.environ):
        invocations.joining.refused(counted)
        raise ClientDisconnected
    return counted


def ended(begun: Begun) -> Outcome:
    """The invocation at its end, or as it is when the client is about to give up."""
    return submissions.outcome(begun.submitted, WAIT_SECONDS)


def noted(begun: Begun, response: Response) -> Response:
    """The response, and that it was sent whole if it is."""
    body = response.get_data()

    def sent() -> Iterator[bytes]:
        yield body
        begun.answered()

    response.response = sent()
    response.content_length = len(body)
    return response
