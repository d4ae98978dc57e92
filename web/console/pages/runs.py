"""The list of runs: found, filtered, canceled and run again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NotRequired, TypedDict
from uuid import UUID

from flask import Response, request

from common import errors, invocations
from common.errors import PlatformError
from common.invocations import ENDS, Invocation, Matching, RerunPrice
from common.kit import crypto
from common.kit.paging import Page, Window
from common.models.invocations import ERROR_CODES
from common.usage import ranges
from web.console import forms, lists, preferences
from web.console.blueprint import Context, action, blp, go, page
from web.console.forms import Form
from web.console.rendering import url
from web.http import auth, limits, submissions
from web.http.fields import Id, Many, Text, Word
from web.http.pagination import ListArguments, ListQuery

STATUSES: Final = ("queued", "running", *ENDS)
OPEN: Final = ("queued", "running")
MOST: Final = 100


class RunFilter(ListQuery):
    """`since` and `until`: days in the reader's zone, both inclusive."""

    status = Word("open", *STATUSES)
    tool = Text(max=64)
    error = Word(*ERROR_CODES)
    since = Text(max=10)
    until = Text(max=10)
    find = Text(max=128)
    select = Word("all")
    group = Word("error")


class RunsAsked(ListArguments, total=False):
    """What `RunFilter` loads."""

    status: str
    tool: str
    error: str
    since: str
    until: str
    find: str
    select: str
    group: str


class ChosenForm(Form):
    """Runs that were ticked; `key` makes running them again one thing, however often it is pressed."""

    ids = Many(Id(), max=MOST, data_key="id", load_default=list)
    key = Text(max=64)


class ChosenSent(TypedDict):
    """What `ChosenForm` loads."""

    ids: list[UUID]
    key: NotRequired[str]


# -- what the pages need -------------------------------------------------------------------------------------------


def exact(wanted: str) -> UUID | None:
    """The run with this id, or of the request with this id, if there is exactly one."""
    owner = auth.caller().user_id
    try:
        return invocations.get_within(UUID(wanted.strip()), owner, 0).id
    except (ValueError, errors.NotFound):
        found = invocations.listing(owner, Window(2), payloads=False, matching=Matching(request_id=wanted.strip()))
        return found.items[0].id if len(found.items) == 1 else None


def matching(query: RunsAsked) -> Context:
    """The runs that match."""
    status = query.get("status", "")
    start, end = days(query)
    found: Page[Invocation] = invocations.listing(
        auth.caller().user_id,
        query["window"],
        statuses=OPEN if status == "open" else [status] if status else (),
        tool=query.get("tool"),
        start=start,
        end=end,
        payloads=False,
        matching=Matching(error=query.get("error"), request_id=query.get("find")),
    )
    return {"runs": found, "pages": lists.pages(found), "groups": None, **known(query)}


def groups(query: RunsAsked) -> Context:
    """Failed runs by tool and error."""
    start, end = days(query)
    found = invocations.failures(auth.caller().user_id, query["window"], start=start, end=end)
    return {"runs": None, "pages": lists.pages(found), "groups": found, **known(query)}


def known(query: RunsAsked) -> Context:
    """What the filter is, to be shown and said in words."""
    said = [words for name, words in _WORDS.items() if name in query for words in [words.format(query[name])]]  # type: ignore[literal-required]
    return {
        "query": query,
        "statuses": ("open", *STATUSES),
        "codes": ERROR_CODES,
        "said": said,
        "part": url("runs", **{name: it for name, it in request.args.items() if name != "part"}, part="runs_rows"),
    }


_WORDS: Final = {
    "status": "with the status {}",
    "tool": "of the tool {}",
    "error": "with the error {}",
    "since": "since {}",
    "until": "until {}",
    "find": "of the request {}",
}


def days(query: RunsAsked) -> tuple[datetime | None, datetime | None]:
    """The range that is asked for. Raises `errors.Invalid`."""
    try:
        start = _midnight(query["since"]) if "since" in query else None
        end = _midnight(query["until"], 1) if "until" in query else None
    except ValueError:
        raise errors.Invalid("A day is written as 2027-01-31.") from None
    if start is not None and end is not None and start >= end:
        raise errors.Invalid("The first day is after the last one.")
    return start, end


def _midnight(day: str, later: int = 0) -> datetime:
    if len(day) != 10:
        raise ValueError(day)
    begun = datetime.fromisoformat(day).replace(tzinfo=preferences.current().zone)
    try:
        return begun + timedelta(days=later)
    except OverflowError:
        return ranges.LAST


def nothing() -> Context:
    """The page of chosen runs without any."""
    return {"chosen": None, "canceled": None, "results": None}


def preview(ids: list[UUID], what: str) -> Context:
    """The chosen runs and what is to become of them."""
    prices = invocations.rerun_prices(auth.caller().user_id, ids)
    able = [each for each in prices if (_is_open(each) if what == "cancel" else _can_run(each))]
    most = sum(each.max_tokens or 0 for each in able) if what == "again" else 0
    return {
        **nothing(),
        "chosen": able,
        "others": len(ids) - len(able),
        "what": what,
        "most": most,
        "key": crypto.token(9),
    }


def _is_open(run: RerunPrice) -> bool:
    return run.status == "open"


def _can_run(run: RerunPrice) -> bool:
    return run.max_tokens is not None and not run.dropped


def again(original: UUID, key: str) -> tuple[UUID, UUID | None, str]:
    """The original, the new run (None: refused), and why it was refused."""
    try:
        return original, submissions.rerun(original, {}, f"{key}-{original}" if key else None).id, ""
    except PlatformError as refusal:
        return original, None, refusal.detail


# -- views ---------------------------------------------------------------------------------------------------------


@blp.get("/runs", endpoint="runs")
@auth.needs("invocations:read")
@page("runs.html", parts=("runs_rows",))
def index() -> Context | Response:
    """The runs that match, newest first; with `group`, those that failed, by tool and error."""
    query: RunsAsked = lists.query(RunFilter)
    if "find" in query and (run := exact(query["find"])):
        return go("run", invocation_id=run)
    return groups(query) if query.get("group") else matching(query)


@blp.post("/runs/cancel/ask")
@auth.needs("invocations:read")
@action("runs_chosen.html", again=nothing)
def ask_cancel() -> Context:
    """What canceling those that were ticked would free."""
    chosen: ChosenSent = forms.load(ChosenForm)
    return preview(chosen["ids"], "cancel")


@blp.post("/runs/cancel")
@auth.needs("invocations:write")
@action("runs_chosen.html", again=nothing)
def cancel_chosen() -> Context:
    """Cancel them."""
    chosen: ChosenSent = forms.load(ChosenForm)
    counts = invocations.cancel_several(auth.caller(), chosen["ids"])
    return {**nothing(), "canceled": counts}


@blp.post("/runs/again/ask")
@auth.needs("invocations:read")
@action("runs_chosen.html", again=nothing)
def ask_again() -> Context:
    """What running those that were ticked again would hold."""
    chosen: ChosenSent = forms.load(ChosenForm)
    return preview(chosen["ids"], "again")


@blp.post("/runs/again", endpoint="run_again_chosen")
@auth.needs("invocations:write")
@limits.submits
@action("runs_chosen.html", again=nothing)
def run_again() -> Context:
    """Submit each once more; those that are refused say why, and do not keep the others."""
    chosen: ChosenSent = forms.load(ChosenForm)
    submissions.require_allowed()
    return {**nothing(), "results": [again(each, chosen.get("key", "")) for each in chosen["ids"]]}
