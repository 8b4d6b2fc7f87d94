"""
The view over the raw rows and all levels of a cascade: each stretch of time from the finest table that holds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from cratedb_retention.model.catalog import Catalog, TableName
from cratedb_retention.model.ledger import Ledger
from cratedb_retention.model.plan import Hold, Task
from cratedb_retention.model.reasons import Why
from cratedb_retention.model.rollup import Rollup, is_own_view, view_name
from cratedb_retention.model.rollup_steps import AlterRollup, CreateRollup, ReplaceView, SealWindows, ViewPart
from cratedb_retention.planning.cascades import Cascade


def plan_view(cascade: Cascade, catalog: Catalog, ledger: Ledger, tasks: Iterable[Task]) -> Iterator[Task | Hold]:
    """Create the view, or renew it where this run changes what it consists of; never one that somebody else made."""
    name = view_name(cascade.source)
    there = catalog.taken(name)
    if there is not None and not _is_own(cascade, catalog, ledger, there):
        yield Hold(policy_id=cascade.policy.id, table=cascade.source, why=Why.VIEW_TAKEN(view=there), problem=True)
        return
    levels = {level.rollup.table for level in cascade.levels}
    steps = [step for task in tasks for step in task.steps]
    there_then = {level.rollup.table for level in cascade.levels if level.table is not None}
    there_then.update(step.rollup.table for step in steps if isinstance(step, CreateRollup))
    if levels - there_then:  # What is to be created waits.
        return
    seals = [step for step in steps if isinstance(step, SealWindows) and step.rollup.table in levels]
    parts = view_parts(cascade, ledger, seals, [found for step in steps if (found := step.expires)])
    finest = cascade.levels[0].rollup
    known = ledger.rollups.get(finest.table)
    altered = any(isinstance(step, CreateRollup | AlterRollup) and step.rollup.table in levels for step in steps)
    lost = there is None and catalog.views is not None
    if altered or lost or known is None or known.view != parts:
        marks = () if there is None else ledger.view_marks(cascade.source)
        view = ReplaceView(
            view=name,
            source=cascade.source,
            time=finest.time,
            dimensions=finest.dimensions,
            metrics=finest.metrics,
            parts=parts,
            marks=marks,
        )
        yield Task(
            policy_id=cascade.policy.id,
            table=cascade.source,
            steps=(view,),
            why=Why.VIEW_CHANGED(),
        )


def _is_own(cascade: Cascade, catalog: Catalog, ledger: Ledger, there: TableName) -> bool:
    view = (catalog.views or {}).get(there)
    tables = [cascade.source, *(level.rollup.table for level in cascade.levels)]
    marks = ledger.view_marks(cascade.source)
    return view is not None and is_own_view(view, cascade.levels[0].rollup.time.name, tables, marks)


def view_parts(
    cascade: Cascade, ledger: Ledger, seals: Sequence[SealWindows], expiring: Sequence[tuple[TableName, int]]
) -> tuple[ViewPart, ...]:
    """
    Which table the view shows for which stretch of time, oldest first.

    :param seals: Windows that are about to be sealed.
    :param expiring: Tables of which everything before an instant (ms, UTC) is about to expire.
    """
    parts: list[ViewPart] = []
    end: int | None = None
    tables: list[tuple[TableName, Rollup | None]] = [(cascade.source, None)]
    tables += [(level.rollup.table, level.rollup) for level in cascade.levels]
    for table, rollup in tables:
        about_to = [until for name, until in expiring if name == table and rollup is not None]
        if rollup is None:
            about_to = [window.end for seal in seals if seal.rollup.beneath == table for window in seal.windows]
        gone = ledger.held_from(cascade.source, table)
        start = max([*about_to, *([] if gone is None else [gone])], default=None)
        if end is not None and start is not None and start >= end:
            continue
        if end is not None and rollup is not None:
            end = rollup.interval.ceiling(end, rollup.tzinfo)
            parts = _from(end, parts)
        parts.append(ViewPart(table=table, interval=str(rollup.interval) if rollup else "", start=start, end=end))
        if start is None:
            break
        end = start
    return tuple(reversed(parts))


def _from(start: int, parts: Sequence[ViewPart]) -> list[ViewPart]:
    """
    What finer tables show, if it begins with a whole bucket of the coarser one before it. The bucket in the middle of
    which they begin is shown as a whole, so their rows in it would be there twice.

    :param parts: Finest first.
    """
    left = [part for part in parts if part.end is None or part.end > start]
    return [*left[:-1], replace(left[-1], start=start)]
