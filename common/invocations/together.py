# ruff: noqa: S608  (the statements are put together from constants)
"""complete_together: several invocations that a worker has run are completed by one statement, each under its token.

What a single completion writes is written for each of them, and as many rows may be claimed. Left to single
completions (`completing`) are rows with an API key that has a `max_concurrency`, whose slot may go to one of its own as
well; rows that have another owner; and all of them if the statement fails: one that cannot be stored harms no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from common import budgets
from common.invocations import claiming, completing, completion_sql, fragments, writing
from common.invocations.claiming import ClaimedRow, ClaimOptions
from common.invocations.completing import CompletedRow
from common.invocations.model import Completion, Task
from common.kit import clock, db, failpoints, jsonb, log
from common.kit.query import Query

logger = log.get(__name__)

#: A result that cannot be stored, whatever the reason.
NOT_STORED: Final = Completion(
    "failed", error_code="worker_lost", error_detail="The result of the call could not be stored."
)

_DELETED = ", ".join(f"q.{name.strip()}" for name in completion_sql.DELETED.split(","))
_GIVEN = ", ".join(f"{name} {type_}" for name, type_ in {**completion_sql.GIVEN, "token": "uuid"}.items())
_BY_TOKENS = f"""
  delete from queue q using c where q.id = c.id and q.token = c.token and q.capped_key is null returning {_DELETED}"""
#: Each free slot of an account goes to another one of its waiting rows. They become ready, and are not claimed by this
#: statement, which cannot see them so.
_WAITING = fragments.waiting(
    period="p.period_id", columns="q.id, q.priority, q.due_at", due="now()", limit="p.slots for update skip locked"
)
_SUCCESSORS = f"""
fs as (
  select d.id, d.period_id, d.slot, d.start_tag, c.width,
         row_number() over (partition by d.period_id order by d.start_tag) as at
    from d join c on c.id = d.id where d.slot is not null),
h as (
  select w.id, p.period_id, w.at from (select period_id, count(*) as slots from fs group by 1) p
   cross join lateral (
     select x.id, row_number() over (order by x.priority desc, x.due_at) as at from ({_WAITING}) x) w),
hu as (
  update queue q set slot = fs.slot, moves = q.moves + 1, {fragments.ADMITTED},
         start_tag = greatest((select last_value from vt) + 1, fs.start_tag + coalesce(nullif(fs.width, 0), fs.slot))
    from h join fs on fs.period_id = h.period_id and fs.at = h.at where q.id = h.id
  returning q.id, q.slot, q.moves, fs.id as ended)"""

#: One row for each that was completed or claimed; there may be more of either.
COMPLETE_TOGETHER: Final = Query.pair(
    f"""
with c as materialized (
  select * from json_to_recordset(cast(:given as json)) as c({_GIVEN}) limit {fragments.MOST_AT_ONCE}),
d as materialized ({_BY_TOKENS}), {completion_sql.COMPLETION}, {_SUCCESSORS},
{fragments.ready("(select min(start_tag) from d where cardinality(cast(:next_tokens as uuid[])) > 0)")},
t as (update queue q set {fragments.CLAIM} from n where q.id = n.id returning {fragments.TASK}),
st as ({fragments.STARTED}),
sd as ({fragments.STARTED_DELIVERIES})
select {completing.COMPLETED_COLUMNS}, {fragments.CLAIMED_COLUMNS}, (select count(*) from sd) as deliveries
  from (select *, row_number() over () as at from f) f
  full join (select *, row_number() over (order by start_tag) as at from t) t on t.at = f.at
  left join hu on hu.ended = f.id left join invocations ti on ti.id = t.id
 order by t.at
""",
    CompletedRow,
    ClaimedRow,
)


def complete_together(ends: Sequence[tuple[Task, Completion]], options: ClaimOptions) -> list[Task]:
    """Record how calls ended, each as `complete` does, and claim the next tasks if the worker wants any."""
    if len(ends) == 1:
        return completing.complete_and_claim(*ends[0], options)
    tokens = claiming.new_tokens(options) if options.take_next else []
    given = [_given(task, completion) for task, completion in ends]
    parameters = {"given": jsonb.dumps(given), **claiming.parameters(options, tokens)}
    try:
        rows = db.execute(COMPLETE_TOGETHER, parameters)
    except db.Unreachable:
        return _each_alone(ends, tokens)
    except DBAPIError:
        logger.warning("results stored one by one: the statement for all of them failed", count=len(ends))
        rows = []
    return _after_commit(ends, rows, options)


def _after_commit(
    ends: Sequence[tuple[Task, Completion]], rows: Sequence[tuple[CompletedRow, ClaimedRow]], options: ClaimOptions
) -> list[Task]:
    completed = {row.id: row for row, _ in rows if row.id is not None}
    if completed:
        failpoints.at("worker.after_commit")
        completing.after_commits(list(completed.values()))
        failpoints.at("worker.after_settle")
    claimed = writing.claimed_tasks([claimed for _, claimed in rows])
    for task, completion in ends:
        if task.id not in completed:
            _complete_alone(task, completion)
    is_more_ready = len(completed) < len(ends) or any(row.successor for row in completed.values())
    if options.take_next and not claimed and is_more_ready:
        return claiming.claim_several(options)
    return claimed


def _given(task: Task, completion: Completion) -> dict[str, object]:
    """What the statement needs of one completion, by column of `c`."""
    parameters = completing.completion_parameters(task.id, completion)
    parameters |= {"token": task.token, "width": budgets.width(task.period_id)}
    exact = {name: str(parameters[name]) for name in ("units", "shown_units") if parameters[name] is not None}
    return {name: parameters[name] for name in (*completion_sql.GIVEN, "token")} | exact


def _each_alone(ends: Sequence[tuple[Task, Completion]], tokens: Sequence[UUID]) -> list[Task]:
    """After a lost answer, or a refusal: each is written, or was; and what the statement has claimed is kept."""
    give_up = clock.monotonic() + writing.PERSIST_SECONDS
    for task, completion in ends:
        parameters = {**completing.completion_parameters(task.id, completion), "token": task.token}
        try:
            writing.write_alone(completing.ENDED, task, parameters, give_up)
        except DBAPIError:
            _complete_alone(task, completion)
    return writing.claimed_after_loss(tokens, give_up)


def _complete_alone(task: Task, completion: Completion) -> None:
    alone = ClaimOptions(task.token, take_next=False)
    try:
        completing.complete(task, completion, alone)
    except DBAPIError:
        logger.exception("result not stored", invocation_id=str(task.id))
        completing.complete(task, NOT_STORED, alone)
