"""
The limits of a policy (``expected_max``): a run that would go beyond them holds instead, and says by how much.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cratedb_retention.model.plan import Hold, Task, pieces_of
from cratedb_retention.planning.targets import Target

_REMEDY = "; raise it if that is right"


def keep_within(target: Target, verdicts: Sequence[Task | Hold]) -> Iterator[Task | Hold]:
    """Pass verdicts on, or one hold in place of all tasks if these go beyond a limit."""
    excess = _excess(target, [verdict for verdict in verdicts if isinstance(verdict, Task)])
    if excess is None:
        yield from verdicts
        return
    yield from (verdict for verdict in verdicts if isinstance(verdict, Hold))
    tasks = [verdict for verdict in verdicts if isinstance(verdict, Task)]
    count = sum(task.partitions for task in tasks)
    pieces = tuple(piece for task in tasks for piece in pieces_of(task.steps[-1]))
    yield Hold(
        policy_id=target.policy.id,
        table=str(target.table.name),
        reason=excess,
        count=count,
        problem=True,
        pieces=pieces,
    )


def _excess(target: Target, tasks: Sequence[Task]) -> str | None:
    limits = target.policy.expected_max
    if limits is None or not tasks:
        return None
    partitions = sum(task.partitions for task in tasks)
    # What is unknown can't be shown to be within a limit.
    rows = sum(task.rows for task in tasks if task.rows is not None)
    unknown = any(task.rows is None for task in tasks)
    total = target.table.rows
    percent = 100 * rows / total if total else 100.0
    if limits.partitions is not None and partitions > limits.partitions:
        return f"{partitions:,} partitions are due, and expected_max.partitions is {limits.partitions:,}{_REMEDY}"
    if limits.rows is not None and (rows > limits.rows or unknown):
        count = "an unknown number of" if unknown else f"{rows:,}"
        return f"{count} rows are due, and expected_max.rows is {limits.rows:,}{_REMEDY}"
    if limits.percent is not None and (percent > limits.percent or unknown):
        share = "an unknown share" if unknown else f"{percent:.1f} %"
        return f"{share} of the table is due, and expected_max.percent is {limits.percent:g}{_REMEDY}"
    return None
