"""Run invocations: claim a due one, call the tool with no transaction open, store the completion, claim the next.

One queue message or wake-up starts one call of `work`. It continues while invocations are due, within its job's limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial

from common import boot, invocations, tools
from common.errors import ToolUnavailable
from common.invocations import ClaimOptions, Completion, Task, counting
from common.invocations.streams import LogKey
from common.kit import crypto, db, failpoints, log, tracing
from common.kit.outbound import Aborted
from common.queueing import messages
from common.tools import Version, adapters, breakers
from common.tools.adapters import CallIds, ToolFailure, ToolRequest
from worker import outcomes, retries, task_events
from worker.heartbeat import WorkerProcess
from worker.job_limit import JobLimit
from worker.large_responses import LARGE
from worker.running import STORING, Batch, Running, bound, hand_back, store
from worker.stream_publisher import LiveStream

logger = log.get(__name__)


def work(me: WorkerProcess, job: JobLimit | None = None) -> None:
    """Run due invocations until there are none, the limit is reached, or the process is stopping."""
    limit = job or JobLimit()
    failpoints.at("worker.received")
    if me.stopping.is_set() or not me.known():
        return

    def claim_options() -> ClaimOptions:
        """Evaluated at the moment of each claim: much may have changed since the previous call began."""
        take_next = not me.stopping.is_set() and limit.seconds_left > 0
        paused = (*breakers.open_tools(), *me.crowded())
        return ClaimOptions(me.id, paused, take_next, invocations.MOST_AT_ONCE, me.quick.versions())

    tasks = invocations.claim_several(claim_options())
    while tasks:
        limit.turns += len(tasks)
        tasks = run(me, tasks[0], claim_options) if len(tasks) == 1 else run_batch(me, tasks, claim_options)
    if not claim_options().take_next:
        messages.notify(messages.RUN_INVOCATION)
    failpoints.at("worker.after_ack")


def run(me: WorkerProcess, task: Task, claim_options: Callable[[], ClaimOptions]) -> list[Task]:
    """Make one attempt of a claimed invocation and store the outcome. Returns the next tasks, if any.

    After a large response they are claimed when this thread has its slot again: until then nobody would work on them.
    """
    running, alone = me.enter(task), ClaimOptions(me.id, take_next=False)

    def options() -> ClaimOptions:
        return alone if running.is_large else claim_options()

    try:
        following = _attempt(me, running, lambda end: _end(running, end, options()), options)
    finally:
        me.leave(running)
    return _claim(claim_options()) if running.is_large else following


def run_batch(me: WorkerProcess, tasks: Sequence[Task], claim_options: Callable[[], ClaimOptions]) -> list[Task]:
    """As `run`, of several quick ones: the results of calls are stored together, everything else singly."""
    alone = ClaimOptions(me.id, take_next=False)
    with me.batches.begin([me.enter(task) for task in tasks], me.leave) as batch:
        while not me.stopping.is_set() and (running := batch.next()):
            _attempt(me, running, partial(_keep, batch, running, alone), lambda: alone)
            if not running.is_kept:
                me.leave(running)
            if batch.is_due:
                store(batch.take_done(), alone, me.leave)
        hand_back(batch.take_waiting(), me.leave)
        done, options = batch.take_done(), claim_options()
        return store(done, options, me.leave) if done else _claim(options)


def _keep(batch: Batch, running: Running, alone: ClaimOptions, end: Completion) -> list[Task]:
    """Large results are stored at once: the next large response waits until they are."""
    if running.is_large:
        return _end(running, end, alone)
    _called(running, end)
    batch.put(running, end)
    return []


def _attempt(
    me: WorkerProcess,
    running: Running,
    keep: Callable[[Completion], list[Task]],
    claim_options: Callable[[], ClaimOptions],
) -> list[Task]:
    task, room = running.task, ExitStack()
    counting.started(task)
    with bound(task), _traced(task):
        try:
            failpoints.at("worker.after_claim")
            return _outcome(me, running, room, keep, claim_options)
        except db.Unreachable:
            logger.warning("outcome not stored: database unavailable; the sweep will recover the invocation")
            return []
        except Exception:
            logger.exception("attempt failed with an internal error")
            return _end(running, outcomes.lost("The call could not be carried out."), claim_options())
        finally:
            room.close()


def _outcome(
    me: WorkerProcess,
    running: Running,
    room: ExitStack,
    keep: Callable[[Completion], list[Task]],
    claim_options: Callable[[], ClaimOptions],
) -> list[Task]:
    try:
        return keep(_call(me, running, room))
    except ToolUnavailable:
        invocations.give_back(running.task)
        return _claim(claim_options())
    except ToolFailure as failure:
        return _failed(running, failure, claim_options())
    except Aborted:
        # Canceled, or the claim was lost: the fencing token and the row's `cancel_at` decide which.
        return _end(running, outcomes.lost("The call was aborted."), claim_options())


def _claim(options: ClaimOptions) -> list[Task]:
    return invocations.claim_several(options) if options.take_next else []


def _traced(task: Task) -> AbstractContextManager[None]:
    ids = {"invocation_id": str(task.id), "request_id": task.request_id}
    return tracing.span("invocations.run", "consumer", task.traceparent, attempt=task.attempt, **ids)


def _end(running: Running, end: Completion, claim_options: ClaimOptions) -> list[Task]:
    """Store how a call ended. If it failed, its owner may have canceled it: then what was shown is kept and charged."""
    task, stream = running.task, running.stream
    if end.status != "succeeded" and stream is not None and stream.was_shown:
        price = tools.version(task.tool_version_id).price
        end = replace(end, shown=invocations.left_of(price, task.input, stream.shown))
    _called(running, end)
    if stream is not None:
        failpoints.at("stream.before_end")
    return invocations.complete_and_claim(task, end, claim_options)


def _called(running: Running, end: Completion) -> None:
    task = running.task
    running.go_on(STORING)
    counting.called(task, end)
    seconds = (end.duration_ms or 0) / 1000
    task_events.events.ended(task.id, end.outcome, good=end.status == "succeeded", seconds=seconds)
    tracing.note({"outcome": end.outcome}, failed=end.error_code)


def _call(me: WorkerProcess, running: Running, room: ExitStack) -> Completion:
    """Call the tool and evaluate its response. A large response enters `room`, to be left once it is stored.

    Raises:
        ToolFailure: the call failed, or its output was rejected.
        Aborted: the invocation was canceled or its claim lost.
        ToolUnavailable: the tool's circuit breaker is open.
    """
    task = running.task
    version = tools.version(task.tool_version_id)
    task_events.events.begun(task.id, version.slug, attempt=task.attempt)
    try:
        secret = version.secret()
    except crypto.Undecryptable as error:
        raise ToolFailure("credential_unavailable", "The tool's credential cannot be decrypted.", sent=False) from error
    if not version.idempotent and not invocations.mark_dispatched(task):
        raise Aborted
    span = tracing.span(f"call {version.slug}", "client", tool=version.slug, version=version.version)
    with breakers.calling(version.tool_id, version.timeout_seconds), span:
        failpoints.at("worker.before_send")
        ids = CallIds(task.id, task.request_id)
        with (
            me.limiter.waiting(version.tool_id),
            _shown(me, running, version) if task.stream else nullcontext() as sink,
        ):
            request = ToolRequest(version, task.input, ids, secret, running.call, version.price.cap(task.held), sink)
            reply = adapters.ask(boot.outbound(), request)
        running.is_large = reply.size > LARGE
        if running.is_large:
            me.quick.let_wait(running)
        room.enter_context(me.large_responses.turn(running, reply.size))
        failpoints.at("worker.response_read")
        result = reply.read()
    fault = tools.output_fault(version, result.output, task.user_id, partial(me.quick.checked_elsewhere, running))
    if not running.is_alone:
        me.quick.note(version)
    if fault:
        raise ToolFailure("output_rejected", fault, http_status=result.http_status, sent=True)
    return outcomes.answered(version, result, task.held)


@contextmanager
def _shown(me: WorkerProcess, running: Running, version: Version) -> Iterator[LiveStream]:
    """Around the call of a tool whose answer is shown while it is made."""
    task = running.task

    def fence() -> bool:
        return not version.idempotent or invocations.mark_dispatched(task)

    running.stream = me.publisher.open(LogKey(task.user_id, task.id), task.attempt, fence)
    try:
        yield running.stream
        failpoints.at("stream.done_unread")
    finally:
        me.publisher.close(running.stream)


def _failed(running: Running, failure: ToolFailure, claim_options: ClaimOptions) -> list[Task]:
    """Another attempt, or the end. Another answer would contradict what was shown of this one."""
    task = running.task
    version = tools.version(task.tool_version_id)
    end = outcomes.failed(failure)
    delay = retries.delay(task.attempt, failure, max_attempts=version.max_attempts, idempotent=version.idempotent)
    if delay is None or (running.stream is not None and running.stream.started):
        return _end(running, end, claim_options)
    _called(running, end)
    return invocations.retry_and_claim(task, end, delay, claim_options)
