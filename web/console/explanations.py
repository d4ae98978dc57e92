"""A run explained in sentences: why it waits, what happened when, and what it was charged for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from math import inf

from common.invocations import CallRow, Invocation, Shown, Story
from common.webhooks import DeliveryRecord
from web.console.show import count, duration, meter, number, tokens, units, waiting, words


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened to a run; `code`: an error or outcome. `at` None: it has not happened yet.

    `delivery`: what was sent to an endpoint, which has a page.
    """

    at: datetime | None
    text: str
    detail: str = ""
    code: str = ""
    delivery: DeliveryRecord | None = None


def sentence(run: Invocation) -> str:
    """Its status with the reason."""
    if run.status == "queued":
        reason = waiting(run) or "It waits for a worker."
        return f"{reason} You can still cancel it at no cost."
    if run.status == "running":
        asked = " It was asked to stop." if run.cancel_requested_at else ""
        return f"{words_of_attempt(run.attempts)} is running.{asked}"
    if run.status == "succeeded":
        return f"It succeeded{took(run)}, after {count(run.attempts, 'attempt')}."
    if run.status == "failed":
        return f"It failed after {count(run.attempts, 'attempt')}: {run.error_detail or words(run.error_code or '')}"
    if run.status == "canceled":
        return _canceled(run)
    return "Its deadline passed before it started."


def _canceled(run: Invocation) -> str:
    if run.is_charged:
        return f"It was canceled{took(run)}, while its answer was written. What was shown by then is kept and charged."
    return "It was canceled. What was shown of its answer is kept." if run.output else "It was canceled."


def words_of_attempt(attempts: int) -> str:
    """Which attempt it is."""
    return "The first attempt" if attempts <= 1 else f"Attempt {attempts}"


def took(run: Invocation) -> str:
    """How long it ran, from its first start."""
    if run.started_at is None or run.finished_at is None:
        return ""
    return f" in {duration(run.finished_at - run.started_at)}"


def receipt(run: Invocation, shown: Shown | None = None) -> str:
    """What was charged, as a formula, or why nothing was. `shown`: what of its answer is shown while it is written."""
    if not run.ended:
        so_far = f" {cost_of_canceling(run, shown)}" if shown is not None else ""
        return f"{tokens(run.held)} are held until it ends. It can cost no more than that.{so_far}"
    charged = run.charged or 0
    if not run.is_charged:
        reason = run.error_code or run.status
        return f"Free: {words(run.status)}{'' if reason == run.status else f' ({reason})'}. {_given_back(run)}"
    counted = f" {meter(run.price.metered)}" if run.basis == "metered" and run.price.metered else ""
    formula = f"Charged {tokens(charged)}{_formula(run, charged)}. Price of version {run.tool_version}."
    return f"{formula}{counted} {_given_back(run)}"


def of_canceling(run: Invocation, shown: Shown | None) -> list[str]:
    """What canceling it does, and costs."""
    if run.status != "running":
        return ["It has not started and never will. It is free.", f"Its hold of {tokens(run.held)} is given back."]
    stop = "It is running: its worker is asked to stop. If the tool's answer is complete by then, the run succeeds."
    if not run.stream:
        return [f"{stop} Otherwise it is free.", f"Its hold of {tokens(run.held)} is given back."]
    return [stop, cost_of_canceling(run, shown), f"What is left of its hold of {tokens(run.held)} is given back."]


def cost_of_canceling(run: Invocation, shown: Shown | None) -> str:
    """What it would cost to cancel a streamed run now, and by what that is counted."""
    price = run.price
    if price.metered is None or price.per_unit is None:
        return "Canceled now, it is free, whatever was shown: its price does not count partial answers."
    if shown is None:
        return "Canceled before anything of the answer is shown, it is free; after that, what was shown is charged."
    return (
        f"Canceled now, it would cost about {tokens(shown.cost)} for what is shown so far. {meter(price.metered)} "
        "Where the tool has reported its usage meanwhile, that counts instead."
    )


def _formula(run: Invocation, charged: int) -> str:
    price = run.price
    if price.per_unit is None:
        return f" = {number(price.base_tokens)}, the price of a run" if charged == price.base_tokens else ""
    if run.units is None:
        return f" = {number(price.base_tokens)}" if charged == price.base_tokens else ""
    where = " by the meter" if run.basis == "metered" else f", reported at {price.per_unit['pointer'] or 'the top'}"
    unit = f"{units(run.units, price.per_unit['unit'])}{where}"
    full = f" = {number(price.base_tokens)} + {number(price.per_unit['tokens'])} × {number(run.units)} ({unit})"
    if charged < price.cost(run.units):
        return f"{full} = {number(price.cost(run.units))}, but no more than was held"
    exact = price.base_tokens + float(price.per_unit["tokens"]) * float(run.units)
    return full if exact == charged else f"{full}, rounded up"


def _given_back(run: Invocation) -> str:
    back = run.held - (run.charged or 0)
    return f"Held {number(run.held)}, given back {number(back)}."


def timeline(story: Story) -> list[Step]:
    """What happened, in order; what is still to come is last."""
    steps = [*_begin(story), *_end(story.invocation), *map(_delivery, story.deliveries.items)]
    return sorted(steps, key=lambda step: step.at.timestamp() if step.at else inf)


def _begin(story: Story) -> Iterator[Step]:
    run = story.invocation
    yield Step(run.created_at, "Submitted", f"{tokens(run.held)} held, deadline in {duration(_until(run))}")
    for call in story.calls:
        wait = call.started_at - run.created_at if call.n == 1 else None
        waited = f"after {duration(wait)}" if wait is not None else ""
        yield Step(call.started_at, f"Attempt {call.n} began", waited)
        if call.ended_at is not None:
            yield _ended(call)
    if run.cancel_requested_at is not None:
        yield Step(run.cancel_requested_at, "Cancel requested")
    if run.waiting is not None:
        yield Step(None, "Waiting", waiting(run))


def _until(run: Invocation) -> float:
    return (run.expires_at - run.created_at).total_seconds()


def _ended(call: CallRow) -> Step:
    status = f"HTTP {call.http_status}" if call.http_status else ""
    lasted = duration(call.ended_at - call.started_at) if call.ended_at else ""
    facts = ", ".join(each for each in (lasted, status) if each)
    sentences = [facts, call.detail or "", "A retry was scheduled." if call.retry_at else ""]
    told = ". ".join(each.removesuffix(".") for each in sentences if each)
    code = str(call.outcome) if call.outcome else ""
    return Step(call.ended_at, f"Attempt {call.n} ended", f"{told}." if len(told) > len(facts) else told, code)


def _end(run: Invocation) -> Iterator[Step]:
    if run.finished_at is not None:
        yield Step(run.finished_at, "Ended and settled", _given_back(run), run.status)


def _delivery(delivery: DeliveryRecord) -> Step:
    last = delivery.attempts[-1] if delivery.attempts else None
    answer = "not sent yet"
    if last is not None:
        answer = f"HTTP {last.http_status}" if last.http_status else last.error or "no answer yet"
    detail = f"{delivery.authority}, {count(len(delivery.attempts), 'attempt')}, {answer}"
    linked = delivery if delivery.endpoint_id else None
    return Step(delivery.created_at, f"Webhook {delivery.event_type}", detail, delivery.status, linked)
