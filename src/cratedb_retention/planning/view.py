"""
The view over the raw rows and all levels of a cascade: each stretch of time from the finest table that holds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.ledger import Ledger
from cratedb_retention.model.plan import Task
from cratedb_retention.model.rollup import view_name
from cratedb_retention.model.rollup_steps import AlterRollup, CreateRollup, ReplaceView, SealWindows, ViewPart
from cratedb_retention.planning.cascades import Cascade
from cratedb_retention.planning.downsample import LevelState


def plan_view(cascade: Cascade, states: Sequence[LevelState], ledger: Ledger, tasks: Iterable[Task]) -> Iterator[Task]:
    """Create the view, or renew it where this run changes what it consists of."""
    steps = [step for task in tasks for step in task.steps if task.policy_id == cascade.policy.id]
    parts = view_parts(cascade, states, ledger, [step for step in steps if isinstance(step, SealWindows)])
    finest = cascade.levels[0].rollup
    known = ledger.rollups.get(finest.table)
    tables = {level.rollup.table for level in cascade.levels}
    altered = any(isinstance(step, CreateRollup | AlterRollup) and step.rollup.table in tables for step in steps)
    if altered or known is None or known.view != parts:
        view = ReplaceView(
            view_name(cascade.source), cascade.source, finest.time, finest.dimensions, finest.metrics, parts
        )
        yield Task(cascade.policy.id, cascade.source, (view,), "it shows each stretch of time from the finest level")


def view_parts(
    cascade: Cascade, states: Sequence[LevelState], ledger: Ledger, seals: Sequence[SealWindows]
) -> tuple[ViewPart, ...]:
    """Which table the view shows for which stretch of time, oldest first."""
    parts: list[ViewPart] = []
    end: int | None = None
    tables: list[tuple[TableName, str]] = [(cascade.source, "")]
    tables += [(level.rollup.table, str(level.rollup.interval)) for level in cascade.levels]
    for table, interval in tables:
        start = _gone_until(table, states, ledger, seals)
        if end is not None and start is not None and start >= end:
            continue
        parts.append(ViewPart(table, interval, start, end))
        if start is None:
            break
        end = start
    return tuple(reversed(parts))


def _gone_until(
    table: TableName, states: Sequence[LevelState], ledger: Ledger, seals: Sequence[SealWindows]
) -> int | None:
    """Before which instant a table lacks what it had, when this run is over."""
    ends = [window.end for seal in seals if seal.rollup.beneath == table for window in seal.windows]
    state = next((state for state in states if state.level.rollup.beneath == table), None)
    ends += [row.end for row in state.rows.values() if row.sealed] if state else []
    return max(ends, default=None)
