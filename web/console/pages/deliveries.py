"""Deliveries to an endpoint: each with every attempt, sent again one by one or all that failed since a time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NotRequired, TypedDict
from uuid import UUID

from flask import Response

from common import webhooks
from common.kit import clock
from web.console import forms, lists, repeats
from web.console.blueprint import Context, action, blp, go, page
from web.console.moments import Moment
from web.console.repeats import RepeatableForm
from web.http import auth
from web.http.schemas import QueryArguments

#: Attempts that a page shows: the newest.
MOST_ATTEMPTS: Final = 10
#: From when on a replay is offered, unless another time is asked for.
OFFERED: Final = timedelta(days=1)


class SinceQuery(QueryArguments):
    since = Moment()


class SinceAsked(TypedDict, total=False):
    """What `SinceQuery` loads."""

    since: datetime


class ReplayForm(RepeatableForm):
    since = Moment(required=True)


class ReplaySent(TypedDict):
    """What `ReplayForm` loads."""

    since: datetime
    once: NotRequired[str]


class ResendSent(TypedDict):
    """What a form loads that has nothing but its key."""

    once: NotRequired[str]


def one(endpoint_id: UUID, delivery_id: UUID) -> Context:
    """For the page of a delivery."""
    found = webhooks.delivery(auth.caller().user_id, endpoint_id, delivery_id)
    return {"endpoint_id": endpoint_id, "delivery": found, "most": MOST_ATTEMPTS}


@blp.get("/webhooks/<uuid:endpoint_id>/deliveries/<uuid:delivery_id>")
@auth.needs("webhooks:manage")
@page("delivery.html", parts=("delivery_attempts",))
def delivery(endpoint_id: UUID, delivery_id: UUID) -> Context:
    """One delivery with every attempt."""
    return one(endpoint_id, delivery_id)


@blp.post("/webhooks/<uuid:endpoint_id>/deliveries/<uuid:delivery_id>")
@auth.needs("webhooks:manage")
@action("delivery.html", again=one)
def resend(endpoint_id: UUID, delivery_id: UUID) -> Response:
    """Send it again."""
    sent: ResendSent = forms.load(RepeatableForm)
    webhooks.resend(auth.caller().user_id, endpoint_id, delivery_id, once=repeats.of(sent))
    return go("delivery", endpoint_id=endpoint_id, delivery_id=delivery_id, said="resent")


def counted(endpoint_id: UUID) -> Context:
    """What a replay would send, counted before it is done."""
    asked: SinceAsked = lists.query(SinceQuery)
    since = asked.get("since", clock.now() - OFFERED)
    owner = auth.caller().user_id
    endpoint, health = webhooks.endpoint(owner, endpoint_id), webhooks.health_of(owner, endpoint_id)
    number = webhooks.replayable(owner, endpoint_id, since)
    return {"endpoint": endpoint, "since": since, "number": number, "pending": health.pending}


@blp.get("/webhooks/<uuid:endpoint_id>/replay")
@auth.needs("webhooks:manage")
@page("replay.html")
def ask_replay(endpoint_id: UUID) -> Context:
    """How many failed since then, and the button that sends them again."""
    return counted(endpoint_id)


@blp.post("/webhooks/<uuid:endpoint_id>/replay")
@auth.needs("webhooks:manage")
@action("replay.html", again=counted)
def replay(endpoint_id: UUID) -> Response:
    """Send again what failed since then."""
    sent: ReplaySent = forms.load(ReplayForm)
    done = webhooks.replay(auth.caller().user_id, endpoint_id, sent["since"], once=repeats.of(sent))
    return go("webhook", endpoint_id=endpoint_id, said="replayed-more" if done.has_more else "replayed")
