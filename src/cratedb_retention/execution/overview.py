"""
What is kept where and for how long, and what is due: one line for each policy and table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.model.plan import Hold
from cratedb_retention.model.policy import Policy


@dataclass(frozen=True)
class Line:
    """
    One policy on one table.

    :param rows: Rows of the table, if known.
    :param size: Bytes of the table, if known.
    :param due_partitions: Partitions that the next run takes.
    :param due_rows: Rows that the next run takes, if known.
    :param held: Why something due is held.
    :param next_due: When more is due (ms, UTC), if known.
    """

    table: str
    policy: Policy
    rows: int | None
    size: int | None
    due_partitions: int
    due_rows: int | None
    next_due: int | None
    held: tuple[Hold, ...]

    @property
    def state(self) -> str:
        """The state in a word."""
        if not self.policy.enabled:
            return "disabled"
        if any(hold.problem for hold in self.held):
            return "problem"
        if self.due_partitions or self.due_rows:
            return "due"
        return "held" if self.held else "kept"


def overview(prepared: Prepared) -> list[Line]:
    """One line for each policy and table; a policy without a table has one too."""
    lines = []
    for policy in prepared.policies.values():
        if prepared.selection.fits(policy):
            lines += [_line(prepared, policy, table) for table in _tables(prepared, policy)]
    order = {"problem": 0, "held": 1, "due": 2, "kept": 3, "disabled": 4}
    return sorted(lines, key=lambda line: (order[line.state], line.table, line.policy.strategy, line.policy.id or ""))


def _tables(prepared: Prepared, policy: Policy) -> list[str]:
    plan = prepared.plan
    found = {str(task.table) for task in plan.tasks if task.policy_id == policy.id}
    found |= {str(kept.table) for kept in plan.kept if kept.policy_id == policy.id}
    found |= {hold.table for hold in plan.holds if hold.policy_id == policy.id}
    return sorted(found) or [policy.target]


def _line(prepared: Prepared, policy: Policy, table: str) -> Line:
    plan = prepared.plan
    tasks = [task for task in plan.tasks if task.policy_id == policy.id and str(task.table) == table]
    kept = next((k for k in plan.kept if k.policy_id == policy.id and str(k.table) == table), None)
    facts = next((t for name, t in prepared.catalog.tables.items() if str(name) == table), None)
    rows = [task.rows for task in tasks]
    return Line(
        table=table,
        policy=policy,
        rows=facts.rows if facts else None,
        size=facts.size if facts else None,
        due_partitions=sum(task.partitions for task in tasks),
        due_rows=None if None in rows else sum(row or 0 for row in rows),
        next_due=kept.next_due if kept else None,
        held=tuple(hold for hold in plan.holds if hold.policy_id == policy.id and hold.table == table),
    )


def last_run(journal: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The latest finished run among rows of the journal, newest first."""
    return next((row for row in journal if row["event"] == "run-finished"), None)
