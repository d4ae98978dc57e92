"""import: a preview of a document's tools, and those of them that are wanted, made together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NotRequired, TypedDict

from common import webhooks
from common.errors import FieldError, Invalid
from common.identity.audit import Actor
from common.identity.idempotency import Once
from common.kit import jsonb
from common.kit.outbound import OutboundClient, OutboundError
from common.tools import editing
from common.tools.drafts import DOCUMENTS
from common.tools.importing import reader
from common.tools.importing.document import MAX_BYTES
from common.tools.importing.operations import ImportedTool
from common.tools.importing.reader import Asked
from common.tools.model import ListedTool
from common.tools.prices import PriceFields

FETCH_SECONDS: Final = 20


class ImportFields(TypedDict):
    """What an admin sends: a document, or where it is; and what is to be made of it."""

    document: NotRequired[dict[str, object]]
    url: NotRequired[str]
    base_url: NotRequired[str]
    show: NotRequired[list[str]]
    create: NotRequired[list[str]]
    price: NotRequired[PriceFields]
    auth: NotRequired[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Imported:
    """The tools of a document, and those that were made. `omitted`: how many are shown without schemas."""

    tools: list[ImportedTool]
    omitted: int
    created: list[ListedTool]


def run(actor: Actor, outbound: OutboundClient, given: ImportFields, *, once: Once = None) -> Imported:
    """Preview the document's operations, and make tools of those named in `create`: all, or none.

    Raises `Invalid`, `UrlRefused`, `SlugTaken`, `IdempotencyKeyReused`.
    """
    document = jsonb.encoded(given["document"]) if "document" in given else _fetched(outbound, given.get("url"))
    wanted = given.get("create", [])
    show = given.get("show", wanted)
    found = reader.found(Asked(document, given.get("url"), given.get("base_url"), show, wanted))
    drafts = _drafts(outbound, found.wanted, wanted, given)
    created = editing.create_all(actor, drafts, once=once)
    return Imported(found.shown, found.omitted, created)


def _fetched(outbound: OutboundClient, url: str | None) -> bytes:
    if url is None:
        raise Invalid(errors=[FieldError("/document", "Send a document, or the url of one.")])
    webhooks.check_url(outbound, url, "/url", operator=True)
    try:
        answer = outbound.request(
            "GET", url, headers={"Accept": "application/json"}, timeout=FETCH_SECONDS, max_bytes=MAX_BYTES
        )
    except OutboundError as error:
        raise Invalid(errors=[FieldError("/url", error.message)]) from None
    if answer.status != 200:
        raise Invalid(errors=[FieldError("/url", f"The answer was {answer.status}, not 200.")])
    return answer.body


def _drafts(
    outbound: OutboundClient, found: Mapping[str, ImportedTool], wanted: Sequence[str], given: ImportFields
) -> list[editing.Draft]:
    if wanted and "price" not in given:
        raise Invalid(errors=[FieldError("/price", "Missing: what a call of these tools costs.")])
    return [_draft(outbound, found.get(slug), given, f"/create/{number}") for number, slug in enumerate(wanted)]


def _draft(outbound: OutboundClient, tool: ImportedTool | None, given: ImportFields, at: str) -> editing.Draft:
    if tool is None:
        raise Invalid(errors=[FieldError(at, "The document has no such tool.")])
    if not tool.is_importable:
        whys = [problem.detail for problem in tool.problems if problem.blocking]
        raise Invalid(errors=[FieldError(at, why) for why in whys])
    entry = {**_entry(tool), "price": given.get("price"), "auth": _auth(tool, given.get("auth", {}))}
    try:
        draft = editing.Draft.of(entry)
        webhooks.check_url(outbound, draft.endpoint_url, "/endpoint_url", operator=True)
    except Invalid as refusal:
        errors = [FieldError(f"{at}{fault.pointer}", fault.detail) for fault in refusal.errors]
        raise type(refusal)(refusal.detail, errors=errors) from None
    return draft


def _entry(tool: ImportedTool) -> dict[str, object]:
    names = ("slug", "name", "description", "method", "endpoint_url", "headers", *DOCUMENTS)
    return {name: getattr(tool, name) for name in names}


def _auth(tool: ImportedTool, given: Mapping[str, str]) -> dict[str, str]:
    """The credential that was sent, in the place that the document names."""
    if tool.auth["type"] == "none":
        return tool.auth
    if given.get("type") != tool.auth["type"]:
        raise Invalid(errors=[FieldError("/auth", f"{tool.slug} needs a credential of type {tool.auth['type']}.")])
    return {**given, **tool.auth}
