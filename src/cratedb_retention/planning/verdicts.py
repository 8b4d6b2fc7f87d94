"""
Verdicts on what is due: a task or a hold, and why; within the limits of the policy, and each table by itself.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from cratedb_retention.errors import RetentionError
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.effect import amount, total
from cratedb_retention.model.plan import Hold, Piece, Step, Task
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.time import from_ms, to_ms
from cratedb_retention.planning.targets import Target, Undecided

logger = logging.getLogger(__name__)
T = TypeVar("T")


def next_due(piece: Piece, policy: Policy) -> int | None:
    """When a piece expires (ms, UTC); None if never, or if nothing tells."""
    if piece.end is None:
        return None
    try:
        due = policy.due(from_ms(piece.end))
    except OverflowError:
        return None
    return None if due is None else to_ms(due)


def why_due(pieces: Sequence[Piece], policy: Policy) -> Reason:
    """Why pieces, sorted by end, are due."""
    first, last = pieces[0], pieces[-1]
    due = next_due(last, policy)
    if not last.exact and last.end is not None:
        return Why.NEWEST_ROW(newest=last.end - 1, due=due)
    if first.end == last.end:
        return Why.ENDS(end=last.end, due=due)
    return Why.END(first=first.end, last=last.end, due=due)


def task_on(target: Target, pieces: Sequence[Piece], steps: Iterable[Step]) -> Task:
    """A task of a target on some of its pieces, sorted by end."""
    return Task(
        policy_id=target.policy.id,
        table=target.table.name,
        steps=tuple(steps),
        why=why_due(pieces, target.policy),
        rows=total(piece.partition.rows for piece in pieces),
        size=total(piece.partition.size for piece in pieces),
        partitions=len(pieces),
    )


def blocked(target: Target, why: Reason, pieces: Sequence[Piece] = (), problem: bool = True) -> Hold:
    """What a target may not do now with some of its pieces, or with all rows."""
    about, policy_id = tuple(pieces), target.policy.id
    return Hold(policy_id=policy_id, table=target.table.name, why=why, count=len(about), problem=problem, pieces=about)


def keep_within(target: Target, verdicts: Sequence[Task | Hold]) -> Iterator[Task | Hold]:
    """Pass verdicts on, or one hold in place of all tasks if these go beyond a limit (``expected_max``)."""
    tasks = [verdict for verdict in verdicts if isinstance(verdict, Task)]
    excess = _excess(target, tasks)
    if excess is None:
        yield from verdicts
        return
    yield from (verdict for verdict in verdicts if isinstance(verdict, Hold))
    yield blocked(target, excess, [piece for task in tasks for piece in task.steps[-1].about])


def _excess(target: Target, tasks: Sequence[Task]) -> Reason | None:
    limits = target.policy.expected_max
    if limits is None or not tasks:
        return None
    of = amount(tasks)
    # What is unknown can't be shown to be within a limit.
    partitions, rows, unknown = of.partitions, of.known_rows, of.rows is None
    known = target.table.rows
    percent = 100 * rows / known if known else 100.0
    if limits.partitions is not None and partitions > limits.partitions:
        return Why.TOO_MANY_PARTITIONS(due=partitions, most=limits.partitions)
    if limits.rows is not None and (rows > limits.rows or unknown):
        return Why.UNKNOWN_ROWS(most=limits.rows) if unknown else Why.TOO_MANY_ROWS(due=rows, most=limits.rows)
    if limits.percent is not None and (percent > limits.percent or unknown):
        most = limits.percent
        return Why.UNKNOWN_SHARE(most=most) if unknown else Why.TOO_MUCH(due=percent, most=most)
    return None


@contextlib.contextmanager
def isolated(policy_id: str | None, table: TableName, problems: list[Hold]) -> Iterator[None]:
    """Decide about one target: what goes wrong is in the log, and becomes a problem of that target alone."""
    try:
        yield
        return
    except Undecided as error:
        why = error.why
    except RetentionError as error:
        why = Why.FAILED(error=error)
    except Exception as error:
        logger.exception("planning policy %s on table %s failed", policy_id, table)
        why = Why.NOT_PLANNED(error=error)
    problems.append(Hold(policy_id=policy_id, table=table, why=why, problem=True))


def batches(items: Iterable[tuple[T, int]], most: int, most_rows: int) -> Iterator[tuple[list[T], int]]:
    """Put items, each with its rows, together as one step can do them; one that has too many rows is alone."""
    batch: list[T] = []
    rows_of = 0
    for item, rows in items:
        if batch and (len(batch) == most or rows_of + rows > most_rows):
            yield batch, rows_of
            batch, rows_of = [], 0
        batch.append(item)
        rows_of += rows
    if batch:
        yield batch, rows_of
