"""
The limits of a policy (``expected_max``): a run that would go beyond them holds instead, and says by how much.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cratedb_retention.model.effect import amount
from cratedb_retention.model.plan import Hold, Task
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.planning.reasons import blocked
from cratedb_retention.planning.targets import Target


def keep_within(target: Target, verdicts: Sequence[Task | Hold]) -> Iterator[Task | Hold]:
    """Pass verdicts on, or one hold in place of all tasks if these go beyond a limit."""
    excess = _excess(target, [verdict for verdict in verdicts if isinstance(verdict, Task)])
    if excess is None:
        yield from verdicts
        return
    yield from (verdict for verdict in verdicts if isinstance(verdict, Hold))
    tasks = [verdict for verdict in verdicts if isinstance(verdict, Task)]
    yield blocked(target, excess, [piece for task in tasks for piece in task.steps[-1].about])


def _excess(target: Target, tasks: Sequence[Task]) -> Reason | None:
    limits = target.policy.expected_max
    if limits is None or not tasks:
        return None
    of = amount(tasks)
    # What is unknown can't be shown to be within a limit.
    partitions, rows, unknown = of.partitions, of.known_rows, of.rows is None
    total = target.table.rows
    percent = 100 * rows / total if total else 100.0
    if limits.partitions is not None and partitions > limits.partitions:
        return Why.TOO_MANY_PARTITIONS(due=partitions, most=limits.partitions)
    if limits.rows is not None and (rows > limits.rows or unknown):
        return Why.UNKNOWN_ROWS(most=limits.rows) if unknown else Why.TOO_MANY_ROWS(due=rows, most=limits.rows)
    if limits.percent is not None and (percent > limits.percent or unknown):
        most = limits.percent
        return Why.UNKNOWN_SHARE(most=most) if unknown else Why.TOO_MUCH(due=percent, most=most)
    return None
