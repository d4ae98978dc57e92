"""Webhook endpoints: how they are doing, their secrets, and the check of a signature."""

from __future__ import annotations

from typing import Final, NotRequired, TypedDict
from uuid import UUID

from flask import Response

from common import boot, webhooks
from common.errors import FieldError, Invalid
from common.kit import clock
from common.kit.paging import Window
from common.models.webhooks import COMPLETED, FILTERS, INCLUDES, PAYLOADS
from web.console import forms, lists, repeats, responses
from web.console.blueprint import Context, action, blp, go, page
from web.console.forms import Form
from web.console.rendering import url
from web.console.repeats import RepeatableForm
from web.http import auth
from web.http.fields import Many, OneOrMore, Secret, Text, Whole, Word
from web.http.pagination import ListArguments, ListQuery

STATUSES: Final = ("pending", "delivered", "failed")
#: An account has at most 20 endpoints.
ALL: Final = Window(100)
EVENTS: Final = [(each, f"{each}: the four final states of a run" if each == COMPLETED else each) for each in FILTERS]


class EndpointForm(RepeatableForm):
    url = Text(required=True, max=2048)
    events = Many(Word(*FILTERS), required=True, min=1, max=len(FILTERS), unique=True)
    description = Text(max=500, blank=True)
    rate_limit_per_second = Whole(1, 1_000)
    payload = Word(*PAYLOADS, load_default=PAYLOADS[0])
    include = Many(Word(*INCLUDES), load_default=list, max=len(INCLUDES), unique=True)
    headers = Secret(max=100_000)


class EndpointSent(TypedDict):
    """What `EndpointForm` loads."""

    url: str
    events: list[str]
    description: NotRequired[str]
    rate_limit_per_second: NotRequired[int]
    payload: str
    include: list[str]
    headers: NotRequired[str]
    once: NotRequired[str]


class StatusForm(Form):
    status = Word("enabled", "disabled", required=True)


class StatusSent(TypedDict):
    """What `StatusForm` loads."""

    status: str


class DeliveriesFilter(ListQuery):
    status = OneOrMore(Word(*STATUSES), max=len(STATUSES))


class DeliveryAsked(ListArguments):
    """What `DeliveriesFilter` loads."""

    status: NotRequired[list[str]]


def listed() -> Context:
    """For the page of all endpoints."""
    owner = auth.caller().user_id
    return {"endpoints": webhooks.endpoints(owner, ALL).items, "health": webhooks.health(owner), "events": EVENTS}


def one(endpoint_id: UUID) -> Context:
    """For the page of an endpoint: itself, and its deliveries as the address filters them."""
    query: DeliveryAsked = lists.query(DeliveriesFilter)
    owner, statuses = auth.caller().user_id, query.get("status", [])
    endpoint, found = webhooks.with_endpoint(owner, endpoint_id, query["window"], statuses)
    context: Context = {"endpoint": endpoint, "page": found, "pages": lists.pages(found), "statuses": statuses}
    context["header_lines"] = "\n".join(f"{name}: {value}" for name, value in endpoint.headers.items())
    return {**context, "limit": query["window"].limit, "events": EVENTS, "now": clock.now(), "tested": None}


class EndpointFields(TypedDict):
    """What an endpoint is made or changed with."""

    url: str
    events: list[str]
    description: str | None
    rate_limit_per_second: int | None
    payload: str
    include: list[str]
    headers: dict[str, str]


def settings_of(sent: EndpointSent) -> EndpointFields:
    """What was typed. Raises `Invalid` for a line of `headers` that is none."""
    lines = [line for line in sent.get("headers", "").splitlines() if line.strip()]
    if any(":" not in line for line in lines):
        fault = FieldError("/headers", "Each line must be a name, a colon and a value.")
        raise Invalid("The headers are not valid.", errors=[fault])
    return {
        "url": sent["url"],
        "events": sent["events"],
        "description": sent.get("description"),
        "rate_limit_per_second": sent.get("rate_limit_per_second"),
        "payload": sent["payload"],
        "include": sent["include"],
        "headers": {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)},
    }


# -- the endpoints -------------------------------------------------------------------------------------------------


@blp.get("/webhooks", endpoint="webhooks")
@auth.needs("webhooks:manage")
@page("webhooks.html", parts=("endpoints",))
def index() -> Context:
    """The endpoints, and a form for another."""
    return listed()


@blp.post("/webhooks")
@auth.needs("webhooks:manage")
@action("webhooks.html", again=listed)
def add_webhook() -> Response:
    """Add an endpoint; its secret is shown once."""
    sent: EndpointSent = forms.load(EndpointForm)
    made = webhooks.create(auth.caller().user_id, boot.outbound(), **settings_of(sent), once=repeats.of(sent))
    back = url("webhook", endpoint_id=made.endpoint.id)
    return responses.page("webhook_secret.html", {"secret": made.secret, "back": back, "is_default": False})


@blp.get("/webhooks/<uuid:endpoint_id>")
@auth.needs("webhooks:manage")
@page("webhook.html", parts=("deliveries",))
def webhook(endpoint_id: UUID) -> Context:
    """One endpoint and its deliveries."""
    return one(endpoint_id)


@blp.post("/webhooks/<uuid:endpoint_id>")
@auth.needs("webhooks:manage")
@action("webhook.html", again=one)
def change_webhook(endpoint_id: UUID) -> Response:
    """Change where it is sent, and what."""
    sent: EndpointSent = forms.load(EndpointForm)
    webhooks.change(auth.caller().user_id, endpoint_id, boot.outbound(), **settings_of(sent))
    return go("webhook", endpoint_id=endpoint_id, said="saved")


@blp.post("/webhooks/<uuid:endpoint_id>/status")
@auth.needs("webhooks:manage")
@action("webhook.html", again=one)
def switch_webhook(endpoint_id: UUID) -> Response:
    """Enable or disable it."""
    sent: StatusSent = forms.load(StatusForm)
    webhooks.change(auth.caller().user_id, endpoint_id, boot.outbound(), status=sent["status"])
    return go("webhook", endpoint_id=endpoint_id, said=f"webhook-{sent['status']}")


@blp.post("/webhooks/<uuid:endpoint_id>/test")
@auth.needs("webhooks:manage")
@action("webhook.html", again=one)
def test_webhook(endpoint_id: UUID) -> Context:
    """Send a test now, and show the answer."""
    tested = webhooks.test(auth.caller().user_id, endpoint_id, boot.outbound())
    return {**one(endpoint_id), "tested": tested}


def asked_removal(endpoint_id: UUID) -> Context:
    """What deleting an endpoint ends."""
    endpoint = webhooks.endpoint(auth.caller().user_id, endpoint_id)
    effects = [
        f"Nothing is sent to {endpoint.url} any more. What is waiting to be sent to it is dropped.",
        "Its log of deliveries can no longer be read. The events stay in the feed, GET /api/v1/events.",
    ]
    here = {"path": url("remove_webhook", endpoint_id=endpoint_id), "back": url("webhook", endpoint_id=endpoint_id)}
    return {
        "asked": "Delete this endpoint?",
        "effects": effects,
        "fields": [],
        "label": "Delete",
        "danger": True,
        **here,
    }


@blp.get("/webhooks/<uuid:endpoint_id>/delete")
@auth.needs("webhooks:manage")
@page("confirm.html")
def ask_webhook_removal(endpoint_id: UUID) -> Context:
    """Ask before it is deleted."""
    return asked_removal(endpoint_id)


@blp.post("/webhooks/<uuid:endpoint_id>/delete")
@auth.needs("webhooks:manage")
@action("confirm.html", again=asked_removal)
def remove_webhook(endpoint_id: UUID) -> Response:
    """Delete it."""
    webhooks.remove(auth.caller().user_id, endpoint_id)
    return go("webhooks", said="webhook-deleted")
