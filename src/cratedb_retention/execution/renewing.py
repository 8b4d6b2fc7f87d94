"""
Goes on where rows were written between plan and freeze: by now nothing more can come, so the same rules decide once
more about what is there. Otherwise a partition to which old rows keep coming would be deferred by every run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import NotFound
from cratedb_retention.execution.preparing import Prepared, Selection, check_preconditions, prepare
from cratedb_retention.model.catalog import Value
from cratedb_retention.model.effect import total
from cratedb_retention.model.plan import DropPartitions, FreezePartitions, Hold, Piece, SnapshotPartition, Step, Task
from cratedb_retention.model.reasons import Why
from cratedb_retention.model.time import from_ms
from cratedb_retention.planning.limits import keep_within
from cratedb_retention.planning.targets import Target
from cratedb_retention.store.store import Store

# Writes that were under way when a partition was frozen may still end; where nothing freezes, more may come.
RENEWALS = 3


class Renewer:
    """
    Decides tasks once more, from what is there now.

    :param prepared: The plan and its foundation.
    """

    def __init__(self, engine: Engine, store: Store, prepared: Prepared) -> None:
        self._engine, self._store, self._prepared = engine, store, prepared
        self._tasks = list(prepared.plan.tasks)
        self._renewed: dict[int, int] = {}

    def renew(self, task: Task, step: Step, done: int) -> Task | None:
        """
        The same task about what is there now; None if it has to wait for the next run.

        :param task: The task as it is in the plan, or was renewed.
        :param step: Its step that found that the partition had changed.
        :param done: How many of its steps are done before that.
        :raises PartitionChanged: if its policy was changed, or a hold was placed.
        """
        position = next(i for i, each in enumerate(self._tasks) if each is task)
        if self._renewed.get(position, 0) == RENEWALS or not _may_change(task, step, done):
            return None
        check_preconditions(self._store, self._prepared, task)
        cutoff, chosen = from_ms(self._prepared.plan.cutoff), Selection(policy_id=task.policy_id)
        try:
            again = prepare(self._engine, self._store, cutoff, chosen, task.table)
        except NotFound:  # The policy, since a moment ago.
            return None
        found = _find(task, again.plan.tasks, done)
        if found is None or not self._is_within_limits(position, found):
            return None
        self._tasks[position] = found
        self._renewed[position] = self._renewed.get(position, 0) + 1
        return found

    def _is_within_limits(self, position: int, found: Task) -> bool:
        """Whether all that the plan does with this policy and table, with what came since, is as much as expected."""
        tasks = [found if i == position else task for i, task in enumerate(self._tasks)]
        own = [task for task in tasks if (task.policy_id, task.table) == (found.policy_id, found.table)]
        policy = self._prepared.policies[found.policy_id or ""]
        target = Target(policy=policy, table=self._prepared.catalog.tables[found.table])
        return not any(isinstance(verdict, Hold) for verdict in keep_within(target, own))


def _may_change(task: Task, step: Step, done: int) -> bool:
    """
    Whether a step may be about more rows than were planned: one that nothing was done before, and where nothing but the
    rows themselves was looked at. What is rolled up is rolled up again first (law 3).
    """
    before, after = task.steps[:done], task.steps[done + 1 :]
    if not all(isinstance(each, FreezePartitions) for each in before):
        return False
    return isinstance(step, SnapshotPartition) or (isinstance(step, DropPartitions) and bool(before) and not after)


def _find(task: Task, planned: Iterable[Task], done: int) -> Task | None:
    """What a new plan does with the partitions of a task, in the same steps; None if not all of that."""
    fresh = [each for each in planned if (each.policy_id, each.table) == (task.policy_id, task.table)]
    last = task.steps[-1]
    if isinstance(last, DropPartitions):
        known = {values: piece for each in fresh for values, piece in _by_values(each.steps[-1]).items()}
        if not _by_values(last).keys() <= known.keys():
            return None
        pieces = tuple(known[values] for values in _by_values(last))
        rows, size = total(p.partition.rows for p in pieces), total(p.partition.size for p in pieces)
        steps: tuple[Step, ...] = (replace(last, pieces=pieces),)
    else:
        same = next((each for each in fresh if _by_values(each.steps[-1]).keys() == _by_values(last).keys()), None)
        if same is None:
            return None
        rows, size = same.rows, same.size
        steps = tuple(step for step in same.steps if not isinstance(step, FreezePartitions))
    if list(map(type, steps)) != list(map(type, task.steps[done:])):
        return None
    why = task.why if task.why.why is Why.RENEWED else Why.RENEWED(first=task.why)
    return replace(task, steps=(*task.steps[:done], *steps), rows=rows, size=size, why=why)


def _by_values(step: Step) -> dict[tuple[Value, ...], Piece]:
    return {piece.partition.values: piece for piece in step.about}
