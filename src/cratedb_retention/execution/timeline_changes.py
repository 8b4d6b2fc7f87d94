"""
What the next run does to a table, summed up: one line for each policy and kind of change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from cratedb_retention.execution.timeline_lanes import state_of
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.effect import describe
from cratedb_retention.model.plan import (
    DeleteRows,
    DropArchived,
    DropPartitions,
    MovePartitions,
    Plan,
    Step,
    Task,
    ThawPartitions,
    pieces_of,
)
from cratedb_retention.model.rollup_steps import AlterRollup, CreateRollup, RebaseRollup, ReplaceView, RollUp
from cratedb_retention.model.timeline import Change, State
from cratedb_retention.model.words import plural

_Key = tuple[str | None, TableName, State | None]
_VERBS = {
    State.ARCHIVE: "archive, then drop",
    State.DROP: "drop",
    State.MOVE: "move",
    State.ROLL: "roll up",
}


def changes_of(plan: Plan, tables: Collection[TableName]) -> Iterator[Change]:
    """
    What a plan does to some tables, in its order.

    :param tables: The table, and its rollups.
    """
    found: dict[_Key | int, list[Task] | Change] = {}
    for task in plan.tasks:
        for step in task.steps:
            table = _table(step)
            if table is not None and table in tables:
                _add(found, task, step, table)
    for key, group in found.items():
        if isinstance(group, Change):
            yield group
        elif not isinstance(key, int):
            policy_id, table, state = key
            yield _sum(policy_id, table, state, group) if state else _sum_rows(policy_id, table, group)


def _add(found: dict[_Key | int, list[Task] | Change], task: Task, step: Step, table: TableName) -> None:
    """Put together what is alike; what is not stays as it is."""
    state = state_of(step)
    if state is None and not isinstance(step, DeleteRows):
        found[len(found)] = Change(policy_id=task.policy_id, table=table, words=describe(step), reason=task.reason)
        return
    group = found.setdefault((task.policy_id, table, state), [])
    if isinstance(group, list):
        group.append(task)


def _table(step: Step) -> TableName | None:
    """The table that a step changes; None if it only prepares another step."""
    match step:
        case DropPartitions() | DropArchived() | MovePartitions() | DeleteRows() | ThawPartitions():
            return step.table
        case CreateRollup() | AlterRollup() | RebaseRollup() | RollUp():
            return step.rollup.table
        case ReplaceView():
            return step.source
        case _:
            return None


def _sum_rows(policy_id: str | None, table: TableName, tasks: list[Task]) -> Change:
    """Rows go oldest first, so the last step says until when, and why."""
    steps = [step for task in tasks for step in task.steps if isinstance(step, DeleteRows)]
    counts = [step.rows for step in steps]
    rows = None if None in counts else sum(count or 0 for count in counts)
    step = replace(steps[-1], since=steps[0].since)
    return Change(policy_id=policy_id, table=table, words=describe(step), rows=rows, reason=tasks[-1].reason)


def _sum(policy_id: str | None, table: TableName, state: State, tasks: list[Task]) -> Change:
    steps = [step for task in tasks for step in task.steps if state_of(step) is state and _table(step) == table]
    stretches = [stretch for step in steps for stretch in _stretches(step)]
    noun = "window" if state is State.ROLL else "partition"
    rows, sizes = [task.rows for task in tasks], [task.size for task in tasks]
    return Change(
        policy_id=policy_id,
        table=table,
        words=f"{_VERBS[state]} {plural(len(stretches), noun)}",
        state=state,
        count=len(stretches),
        rows=None if None in rows else sum(row or 0 for row in rows),
        size=None if None in sizes else sum(size or 0 for size in sizes),
        start=min((start for start, _ in stretches if start is not None), default=None),
        end=max((end for _, end in stretches if end is not None), default=None),
        reason=tasks[0].reason + (f", and {plural(len(tasks) - 1, 'more reason')} like it" if len(tasks) > 1 else ""),
    )


def _stretches(step: Step) -> list[tuple[int | None, int | None]]:
    if isinstance(step, RollUp):
        return [(window.since, window.until) for window in step.windows]
    return [(piece.start, piece.end) for piece in pieces_of(step)]
