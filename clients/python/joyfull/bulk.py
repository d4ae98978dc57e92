"""Many submits: in batches, in bounded memory, at the rate of the plan."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from joyfull import models, wire
from joyfull.context import Context
from joyfull.errors import JoyfullError, ended
from joyfull.exchange import Operation, Response, emit, sleep
from joyfull.paging import document
from joyfull.problems import ApiError, error_of
from joyfull.resource import request_of
from joyfull.retrying import call
from joyfull.waiting import ENDS, read_invocation, wait_for_end
from joyfull.wire import Json

if TYPE_CHECKING:
    from joyfull.job import AnyJob
    from joyfull.models.bodies import BatchItem

BATCH = 100
_LATER = {429, 503}


@dataclass(frozen=True, slots=True)
class Refused:
    """An order that was not accepted."""

    order: Mapping[str, Json]
    error: ApiError


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one input of `map`. `index` is its place among the inputs."""

    index: int
    input: Json
    invocation: models.Invocation | None = None
    error: JoyfullError | None = None

    @property
    def output(self) -> Json:
        """The output; raises what there is instead."""
        if self.error is not None:
            raise self.error
        return self.invocation.output if self.invocation else None


def submit_many(context: Context, orders: Iterable[BatchItem], in_flight: int) -> Operation[AnyJob | Refused | None]:
    """Emits a job, or what refused it, for each order, in their order."""
    unfinished: deque[models.Invocation] = deque()
    last: AnyJob | Refused | None = None
    for batch in _batches(orders, min(BATCH, in_flight)):
        while len(unfinished) + len(batch) > in_flight:
            yield from wait_for_end(context, unfinished.popleft(), None)
        for order, answer in zip(batch, (yield from _submit(context, batch)), strict=True):
            last = Refused(order, answer) if isinstance(answer, ApiError) else context.job(answer, False)
            if not isinstance(answer, ApiError) and answer.status not in ENDS:
                unfinished.append(answer)
            yield from emit(last)
    return last


def _batches(orders: Iterable[BatchItem], size: int) -> Iterator[list[BatchItem]]:
    rest = iter(orders)
    while batch := list(islice(rest, size)):
        yield batch


Answer: TypeAlias = "models.Invocation | ApiError"


def _submit(context: Context, orders: list[BatchItem]) -> Operation[list[Answer]]:
    """The answer to each; those that are refused for now are sent again with their keys, while the deadline allows."""
    items: list[dict[str, Json]] = [{"idempotency_key": context.new_key(), **order} for order in orders]
    answers: dict[int, Answer] = {}
    waiting = list(range(len(items)))
    until = context.now() + context.timeout * (context.retries + 1)
    while waiting:
        request = request_of(context, "invocations_batch", body={"items": [items[each] for each in waiting]})
        response = yield from call(context, request, until=until)
        for place, raw in zip(waiting, document(response)["data"], strict=True):
            answers[place] = _answer(response, raw)
        waiting = [each for each in waiting if _later(answers[each])]
        delay = _delay(response)
        if waiting and context.now() + delay > until:
            break
        if waiting:
            yield from sleep(delay)
    return [answers[each] for each in range(len(items))]


def _answer(response: Response, raw: Mapping[str, Json]) -> Answer:
    if "invocation" in raw:
        return models.Invocation.of(raw["invocation"])
    refusal = Response(raw["status"], response.headers, wire.encode(raw["problem"]))
    return error_of(refusal, "POST /api/v1/invocations/batch")


def _later(answer: Answer) -> bool:
    return isinstance(answer, ApiError) and answer.status in _LATER


def _delay(response: Response) -> float:
    """Seconds until submits are granted again, by `RateLimit: "submits";r=0;t=12` (IETF draft)."""
    for limit in response.headers.get("ratelimit", "").split(","):
        found = dict(each.partition("=")[::2] for each in limit.split(";"))
        if "submits" in limit and found.get("r") == "0" and found.get("t", "").isdigit():
            return max(1.0, float(found["t"]))
    return 1.0


def run_many(
    context: Context, tool: str, inputs: Iterable[object], *, ordered: bool, timeout: float | None, in_flight: int
) -> Operation[Result]:
    """Emits a result for each input; at most `in_flight` are submitted and not handed out."""
    running: deque[Result] = deque()
    numbered = enumerate(inputs)
    last = Result(0, None)
    while True:
        batch = list(islice(numbered, min(BATCH, in_flight - len(running))))
        if batch:
            running.extend((yield from _submit_inputs(context, tool, batch)))
        if not running:
            return last
        if not ordered:
            yield from _bring_forward(context, running, timeout)
        last = yield from _finished(context, running.popleft(), timeout)
        yield from emit(last)


def _submit_inputs(context: Context, tool: str, batch: list[tuple[int, object]]) -> Operation[list[Result]]:
    answers = yield from _submit(context, [{"tool": tool, "input": each} for _, each in batch])
    return [
        Result(index, each, error=answer) if isinstance(answer, ApiError) else Result(index, each, answer)
        for (index, each), answer in zip(batch, answers, strict=True)
    ]


def _finished(context: Context, result: Result, timeout: float | None) -> Operation[Result]:
    """With its end; with what went wrong in place of it."""
    if result.invocation is None:
        return result
    try:
        invocation = yield from wait_for_end(context, result.invocation, timeout)
    except JoyfullError as error:
        return Result(result.index, result.input, result.invocation, error)
    failed = None if invocation.status == "succeeded" else ended(context.job(invocation, False))
    return Result(result.index, result.input, invocation, failed)


def _bring_forward(context: Context, running: deque[Result], timeout: float | None) -> Operation[None]:
    """Look at one after the other, a second each, until one has ended; that one comes first."""
    until = float("inf") if timeout is None else context.now() + timeout
    while context.now() < until:
        first = running[0]
        if first.invocation is None or first.invocation.status in ENDS:
            return
        found = yield from read_invocation(context, first.invocation.id, 1, until)
        running[0] = Result(first.index, first.input, found)
        if found.status in ENDS:
            return
        running.rotate(-1)
