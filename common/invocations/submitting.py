"""submit: every check in the contract's order, the hold, the row, and only then the queue message."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from common import budgets, subscriptions, tools
from common.errors import (
    BudgetExhausted,
    DependencyUnavailable,
    PlatformError,
)
from common.identity import authorization
from common.identity.authorization import Caller
from common.invocations import (
    affording,
    keyed,
    ordering,
    overload,
    placing,
    replaying,
    signed_quotes,
    storage,
    storing,
    waiting,
)
from common.invocations.choosing import ChosenTool, choose, let_failing_tools_rest
from common.invocations.model import Invocation, Order, RequestedTool, Submitted
from common.kit import clock, failpoints, jsonb, log, tracing
from common.kit.clock import uuid7
from common.queueing import messages
from common.subscriptions import PeriodTerms

logger = log.get(__name__)


TRIES = 3
#: How long a request waits for another one that is just making an invocation under the same Idempotency-Key.
SAME_KEY_SECONDS = 5.0


def submit(caller: Caller, tool_ref: str, order: Order) -> Submitted:
    """Accept an invocation, or refuse it without a trace.

    When this returns, the row is committed, the hold is taken, and the invocation will reach an end.

    Raises:
        IdempotencyKeyReused, NotFound, QuoteInvalid, QuoteExpired, Conflict (another version), StreamingUnsupported,
        ToolInputRejected, Invalid, SubscriptionRequired, RateLimited, ToolUnavailable, StorageExhausted,
        BudgetExhausted: in this order of checks.
        DependencyUnavailable: PostgreSQL or the gate cannot be verified.
        NotConfirmed: what is remembered of the caller is not what is known of them. Nothing was done.
    """
    fingerprint = replaying.fingerprint(order.body)
    if caller.tools is not None:
        keyed.require_visible(caller, tools.remembered(tool_ref))
    if order.idempotency_key is not None:  # without one there is nothing to find, and one line to stand in
        with overload.permit_to_look():
            replay = replaying.find(caller, tool_ref, order, fingerprint)
        if replay:
            overload.leave()
            return replay
    accepted = _accept(caller, tool_ref, order, fingerprint)
    if not accepted.replayed:
        failpoints.at("web.after_commit")
        messages.notify(messages.RUN_INVOCATION, accepted.id)
        failpoints.at("web.after_publish")
    return accepted


def _accept(caller: Caller, tool_ref: str, order: Order, fingerprint: str) -> Submitted:
    """Check and make it with the tool as a quote pins it, or as this process knows it.

    In that case the commit, or else the refusal, tells whether that is how the tool is: then it stands, otherwise
    everything is done again with the tool as it is. An overload is one
    whatever the tool is.
    """
    if order.quote is not None:
        quoted = signed_quotes.redeem(caller, tool_ref, order, order.quote)
        return _make(caller, quoted, order, fingerprint=fingerprint, tool_ref=tool_ref)
    while True:
        tool, chosen = tools.remembered(tool_ref), None
        try:
            ordering.require_version(tool.current, order.version)
            pinned = order.version is not None
            chosen = choose(caller, tool, order.input, order.max_tokens, pinned=pinned, stream=order.stream)
            return _make(caller, chosen, order, fingerprint=fingerprint, tool_ref=tool_ref)
        except overload.SubmitsOverloaded:
            raise
        except PlatformError:
            if tools.is_current(tool) and (chosen is None or chosen.is_current()):
                raise


# -- idempotency -----------------------------------------------------------------------------------------------


def replay(caller: Caller, tool_ref: str, order: Order) -> Submitted | None:
    """What an earlier request with this key and body has made, for those who cannot submit it again."""
    return replaying.find(caller, tool_ref, order, replaying.fingerprint(order.body))


def _await_twin(caller: Caller, tool_ref: str, order: Order, fingerprint: str) -> Submitted | None:
    """Wait for the concurrent request with the same key; None if it failed or did not finish in time."""
    give_up, making = clock.monotonic() + SAME_KEY_SECONDS, True
    while making and clock.monotonic() < give_up:
        clock.sleep(0.02)
        making = budgets.being_made(caller.user_id, order.idempotency_key)
        if replay := replaying.find(caller, tool_ref, order, fingerprint):
            return replay
    return None


# -- hold and row ----------------------------------------------------------------------------------------------


def _make(caller: Caller, chosen: ChosenTool, order: Order, *, fingerprint: str, tool_ref: str) -> Submitted:
    key, tool, given_up = order.idempotency_key, chosen.tool, set[UUID]()
    for _ in range(TRIES):
        invocation_id = uuid7()  # the release of an earlier try's hold may come late, and takes what has its id
        terms = subscriptions.for_submit(caller.user_id)
        account = keyed.account_of(caller, terms)
        let_failing_tools_rest(account, tool.current)
        storage.refuse_if_full(caller.user_id, terms.max_payload_bytes, order.input)
        with overload.permit():
            hold, times = _hold(_waiting_if(account, order), terms, invocation_id, chosen, key), None
            if isinstance(hold, budgets.Hold):
                row = _row(caller, order, chosen, terms.period_id, hold)
                failpoints.at("web.before_commit")
                times = storing.store(row | {"id": invocation_id, "request_hash": fingerprint}, account, key)
        if isinstance(hold, budgets.SameKey):
            own = hold.invocation_id in given_up  # its release was lost, and the mark is still there
            if not own and (twin := _await_twin(caller, tool_ref, order, fingerprint)):
                return twin
            if own or budgets.being_made(caller.user_id, key):
                key = None  # nobody makes it any more: the table's own uniqueness decides from here
            continue
        if times:
            invocation = _queued(
                caller, chosen, order, times, lacks=waiting.lack(hold.slot is not None, hold.waits_for_key)
            )
            return Submitted(invocation_id, rate=hold.rate, invocation=invocation, period_id=terms.period_id)
        if replay := replaying.find(caller, tool_ref, order, fingerprint):
            return replay
        given_up.add(invocation_id)
        chosen.require_current()
        if caller.api_key_id is not None and account.counted:
            authorization.confirm_key(caller.api_key_id)
        _catch_up(account, hold)
    raise DependencyUnavailable("The budget was updated concurrently. No invocation was created; retry.", retry_after=1)


def _waiting_if(account: budgets.Account, order: Order) -> budgets.Account:
    """What is not to start before a time waits for it without a slot, as if the account had none."""
    if order.not_before is None:
        return account
    return replace(account, max_concurrency=0, keys=tuple(keyed.waiting(share) for share in account.keys))


def _hold(
    account: budgets.Account, terms: PeriodTerms, invocation_id: UUID, chosen: ChosenTool, key: str | None
) -> budgets.Hold | budgets.SameKey:
    try:
        return budgets.hold(account, invocation_id, chosen.amount, key=key)
    except BudgetExhausted as refusal:
        keyed.refused(account, refusal)
        raise affording.explained(refusal, account, terms, chosen.tool.current.price) from None


def _row(caller: Caller, order: Order, chosen: ChosenTool, period_id: UUID, hold: budgets.Hold) -> dict[str, object]:
    tool, requested, pin = chosen.tool.current, chosen.requested, chosen.pinned_by
    return {
        "event_id": uuid7(),
        "user_id": caller.user_id,
        **keyed.columns(caller, hold),
        "period_id": period_id,
        "epoch": hold.epoch,
        "server": hold.server,
        "slot": hold.slot,
        "tool_id": tool.tool_id,
        "tool_version_id": tool.id,
        "tool_version": tool.version,
        "requested_tool_id": None if requested is None else requested.id,
        "requested_version": None if requested is None else requested.current.version,
        "quote_id": None if pin is None else pin.quote_id,
        "pinned_until": None if pin is None else pin.until,
        "held": chosen.amount,
        "timeout_seconds": tool.timeout_seconds,
        "key": order.idempotency_key,
        "request_id": order.request_id,
        "traceparent": tracing.traceparent(),
        "expires_in": order.expires_in,
        "input": jsonb.dumps(order.input),
        "input_as_sent": jsonb.as_sent(order.input),
        "metadata": jsonb.dumps(order.metadata),
        "metadata_as_sent": jsonb.as_sent(order.metadata),
        "end_user": keyed.end_user_of(caller, order.end_user),
        "rerun_of": order.rerun_of,
        "not_before": order.not_before,
        "priority": order.priority,
        "stream": order.stream,
        "webhook_url": order.webhook_url,
        "webhook_events": None if order.webhook_events is None else list(order.webhook_events),
    }


def _queued(
    caller: Caller, chosen: ChosenTool, order: Order, times: storing.StoredRow, *, lacks: waiting.Lack
) -> Invocation:
    """What was just stored, without reading it again."""
    tool, requested = chosen.tool, chosen.requested
    return Invocation(
        id=times.id,
        user_id=caller.user_id,
        status="queued",
        tool_id=tool.id,
        tool_slug=tool.slug,
        tool_name=tool.name,
        tool_version=tool.current.version,
        input=jsonb.dumps(order.input),
        output=None,
        error_code=None,
        error_detail=None,
        metadata=order.metadata,
        attempts=0,
        held=chosen.amount,
        charged=None,
        request_id=order.request_id,
        created_at=times.created_at,
        started_at=None,
        finished_at=None,
        expires_at=times.expires_at,
        cancel_requested_at=None,
        price=tool.current.price,
        stream=order.stream,
        api_key_id=caller.api_key_id,
        end_user=keyed.end_user_of(caller, order.end_user),
        rerun_of=order.rerun_of,
        not_before=order.not_before,
        priority=order.priority,
        requested_tool=None if requested is None else RequestedTool(requested.id, requested.slug),
        waiting=waiting.of(tool.id, lacks, times.due_later, None, scheduled=order.not_before is not None),
    )


def _catch_up(account: budgets.Account, hold: budgets.Hold) -> None:
    """The row was refused: the epoch moved or PostgreSQL is another (rebuild the gate), or the period has ended."""
    subscriptions.forget_terms(account.user_id)
    placing.catch_up(account, hold.epoch, hold.server, only_open=True)
