"""Workers take, end, lose and give back; owners cancel; time runs out."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    rule,
)

from common import invocations
from common.errors import AlreadyFinished, Conflict, NotFound
from common.invocations import ClaimOptions, Filters, Task, sweeping
from common.invocations.model import Shown
from tests import factories
from tests.budgets import world
from tests.budgets.model.ground import Ground, numbers, only_with, posts
from tests.budgets.world import Ended, Open


class Working(Ground):
    """Workers take, end, lose and give back; owners cancel; time runs out."""

    def _took(self, task: Task | None, worker: ClaimOptions) -> None:
        if task is None:
            return
        row = self.open[task.id]
        assert row.token is None, "taken twice"
        row.token, row.worker, row.attempts = task.token, worker.worker, row.attempts + 1
        assert task.attempt == row.attempts
        self.tasks[task.token] = task

    def _task(self, number: int) -> Task:
        task = list(self.tasks.values())[number % len(self.tasks)]
        del self.tasks[task.token]
        self.spent.append(task)
        return task

    def _worker(self, number: int, *, take_next: bool = True) -> ClaimOptions:
        return replace(self.workers[number % 2], take_next=take_next)

    def _ends(self, task_id: UUID, status: str, charged: int) -> None:
        row = self.open.pop(task_id)
        self.ended[task_id] = Ended(status, charged, row.attempts)

    def _parks(self, task_id: UUID) -> None:
        row = self.open[task_id]
        row.token, row.worker, row.sent = None, None, False

    @rule(number=numbers)
    def claim(self, number: int) -> None:
        worker = self._worker(number)
        self._took(invocations.claim(worker), worker)

    @rule(number=numbers, cost=st.integers(0, 60), good=st.booleans(), take_next=st.booleans(), how=posts)
    @only_with("tasks")
    def end(self, number: int, cost: int, good: bool, take_next: bool, how: str) -> None:
        """A bad end of a stream says as well what was shown; that is charged if it was canceled, and only then."""
        task, worker = self._task(number), self._worker(number, take_next=take_next)
        row = self.open[task.id]
        shown = Shown({"half": "an answer"}, cost, 1, "metered") if task.stream else None
        if good:
            self._ends(task.id, "succeeded", min(cost, row.held))
        elif row.canceled:
            self._ends(task.id, "canceled", 0 if shown is None else min(cost, row.held))
        else:
            self._ends(task.id, "failed", 0)
        end = replace(factories.GOOD, cost=cost) if good else replace(factories.BAD, shown=shown)
        with self.post.sending(how):
            self._took(invocations.complete(task, end, worker), worker)

    @rule(number=numbers, most=st.integers(2, 4), version=numbers)
    def claim_several(self, number: int, most: int, version: int) -> None:
        worker = self._worker(number)
        quick = (self.tools[version % len(self.tools)].current.id,)
        tasks = invocations.claim_several(replace(worker, most=most, quick=quick))
        assert len(tasks) < 2 or {(task.tool_version_id, task.attempt) for task in tasks} == {(quick[0], 1)}
        for task in tasks:
            self._took(task, worker)

    @rule(
        number=numbers, costs=st.lists(st.integers(0, 60), min_size=2, max_size=4), take_next=st.booleans(), how=posts
    )
    @only_with("tasks")
    def end_together(self, number: int, costs: list[int], take_next: bool, how: str) -> None:
        """Whoever holds them, and with one that is not theirs any more among them."""
        worker, ends = self._worker(number, take_next=take_next), [(task, factories.GOOD) for task in self.spent[:1]]
        for cost in costs[: len(self.tasks)]:
            task = self._task(number)
            self._ends(task.id, "succeeded", min(cost, self.open[task.id].held))
            ends.append((task, replace(factories.GOOD, cost=cost)))
        with self.post.sending(how):
            for following in invocations.complete_together(ends, replace(worker, most=2)):
                self._took(following, worker)

    @rule(number=numbers, more=st.integers(1, 60), take_next=st.booleans(), how=posts)
    @only_with("tasks")
    def end_above_the_cap(self, number: int, more: int, take_next: bool, how: str) -> None:
        """The tool did the work, and it cost more than was allowed: the hold is charged, canceled or not."""
        task, worker = self._task(number), self._worker(number, take_next=take_next)
        held = self.open[task.id].held
        self._ends(task.id, "failed", held)
        end = replace(factories.TOO_DEAR, cost=held + more)
        with self.post.sending(how):
            self._took(invocations.complete(task, end, worker), worker)

    @rule(number=numbers)
    @only_with("spent")
    def end_again(self, number: int) -> None:
        """A worker that lost its row, or a repeated write: nothing changes, and nothing is taken."""
        task = self.spent[number % len(self.spent)]
        assert invocations.complete(task, factories.GOOD, self._worker(number)) is None
        assert invocations.retry_later(task, factories.BAD, 0.0, self._worker(number)) is None

    @rule(number=numbers, delay=st.sampled_from([0.0, 0.0, 30.0]), take_next=st.booleans(), how=posts)
    @only_with("tasks")
    def retry_later(self, number: int, delay: float, take_next: bool, how: str) -> None:
        task, worker = self._task(number), self._worker(number, take_next=take_next)
        if self.open[task.id].canceled:
            self._ends(task.id, "canceled", 0)
        else:
            self._parks(task.id)
        with self.post.sending(how):
            self._took(invocations.retry_later(task, factories.BAD, delay, worker), worker)

    @rule(number=numbers)
    @only_with("tasks")
    def give_back(self, number: int) -> None:
        task = self._task(number)
        if self.open[task.id].canceled:
            self._ends(task.id, "canceled", 0)
        else:
            self._parks(task.id)
            self.open[task.id].attempts -= 1
        invocations.give_back(task)

    @rule(number=numbers)
    @only_with("tasks")
    def send(self, number: int) -> None:
        task = list(self.tasks.values())[number % len(self.tasks)]
        row = self.open[task.id]
        may = not row.canceled and not row.sent
        assert invocations.mark_dispatched(task) is may
        row.sent = row.sent or may

    @rule(number=numbers, how=posts)
    @only_with("open")
    def cancel(self, number: int, how: str) -> None:
        wanted = list(self.open)[number % len(self.open)]
        row = self.open[wanted]
        with self.post.sending(how):
            ended = invocations.cancel(self.customers[row.account].caller, wanted)
        assert ended is (row.token is None)
        if ended:
            self._ends(wanted, "canceled", 0)
        else:
            row.canceled = True

    @rule(number=numbers, how=posts)
    @only_with("open")
    def cancel_many(self, number: int, how: str) -> None:
        """All that an account has open, by its number."""
        account = list(self.open.values())[number % len(self.open)].account % 2
        mine = {each: row for each, row in self.open.items() if row.account == account}
        caller = self.customers[account].caller
        with pytest.raises(Conflict):
            invocations.cancel_matching(caller, Filters(caller.user_id), len(mine) + 1)
        with self.post.sending(how):
            counts = invocations.cancel_matching(caller, Filters(caller.user_id), len(mine))
        queued = [each for each, row in mine.items() if row.token is None]
        assert (counts.canceled, counts.requested) == (len(queued), len(mine) - len(queued))
        for each, row in mine.items():
            if row.token is None:
                self._ends(each, "canceled", 0)
            else:
                row.canceled = True

    @rule(number=numbers)
    @only_with("ended")
    def cancel_what_has_ended(self, number: int) -> None:
        wanted = list(self.ended)[number % len(self.ended)]
        owner = self.owners[wanted]
        with pytest.raises(AlreadyFinished):
            invocations.cancel(self.customers[owner].caller, wanted)
        with pytest.raises(NotFound):
            invocations.cancel(self.customers[(owner + 1) % 2].caller, wanted)

    @rule(number=numbers, how=posts)
    @only_with("open")
    def run_out_of_time(self, number: int, how: str) -> None:
        queued = [each for each, row in self.open.items() if row.token is None]
        if not queued:
            return
        late = queued[number % len(queued)]
        world.shift("expires_at", [late], -90_000)
        with self.post.sending(how):
            sweeping.expire()
        self._ends(late, "failed" if self.open[late].attempts else "expired", 0)

    @rule(number=numbers, how=posts)
    def lose_a_worker(self, number: int, how: str) -> None:
        lost = self.workers[number % 2]
        self.workers[number % 2] = factories.worker()
        invocations.leave(lost.worker)
        with self.post.sending(how):
            sweeping.reap_dead_processes()
        for task_id, row in list(self.open.items()):
            if row.worker == lost.worker:
                self._lost(task_id, row)

    def _lost(self, task_id: UUID, row: Open) -> None:
        assert row.token is not None
        self.spent.append(self.tasks.pop(row.token))
        if row.canceled:
            self._ends(task_id, "canceled", 0)
        elif row.sent or row.attempts >= row.max_attempts or row.crash_count + 1 >= 3:
            self._ends(task_id, "failed", 0)
        else:
            self._parks(task_id)
            row.crash_count += 1
