"""
What is kept where and for how long, and what is due: one line for each policy and table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from cratedb_retention.execution.cascades import planned_cascades
from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.model.catalog import Catalog, TableName
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.plan import Hold, Task
from cratedb_retention.model.policy import Policy


@dataclass(frozen=True, kw_only=True)
class Line:
    """
    One policy on one table.

    :param table: None: the policy is about no table at present.
    :param rows: Rows of the table, if known.
    :param size: Bytes of the table, if known.
    :param due_partitions: Partitions that the next run takes.
    :param due_rows: Rows that the next run takes, if known.
    :param held: Why something due is held.
    :param next_due: When more is due (ms, UTC), if known.
    :param retention_period: How long data is kept: the policy's, or that of its level.
    """

    table: TableName | None
    policy: Policy
    retention_period: Duration
    rows: int | None
    size: int | None
    due_partitions: int
    due_rows: int | None
    next_due: int | None
    held: tuple[Hold, ...]

    @property
    def title(self) -> str:
        """The table, or what the policy means, in words."""
        return self.policy.target if self.table is None else str(self.table)

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


_ORDER = {"problem": 0, "held": 1, "due": 2, "kept": 3, "disabled": 4}


def overview(prepared: Prepared) -> list[Line]:
    """One line for each policy and table; a policy without a table has one too."""
    found: dict[str, dict[TableName | None, _Found]] = defaultdict(lambda: defaultdict(_Found))
    plan = prepared.plan
    for task in plan.tasks:
        found[task.policy_id or ""][task.table].tasks.append(task)
    for kept in plan.kept:
        found[kept.policy_id][kept.table].next_due = kept.next_due
    for hold in plan.holds:
        found[hold.policy_id or ""][hold.table].holds.append(hold)
    levels = _level_periods(prepared)
    lines = [
        _line(policy, table, of_table, levels, prepared.catalog)
        for policy_id, policy in prepared.policies.items()
        if prepared.selection.fits(policy)
        for table, of_table in (found.get(policy_id) or {_named(policy, prepared.catalog): _Found()}).items()
    ]
    return sorted(lines, key=lambda line: (_ORDER[line.state], line.title, line.policy.strategy, line.policy.id or ""))


def _named(policy: Policy, catalog: Catalog) -> TableName | None:
    """The table that a policy names as a whole; None: there is none, or it means some values, or several."""
    name = TableName(policy.table_schema or catalog.capabilities.default_schema, policy.table_name)
    return name if name in catalog.tables and not policy.where else None


@dataclass
class _Found:
    """What a plan says about one policy on one table."""

    tasks: list[Task] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    next_due: int | None = None


def _level_periods(prepared: Prepared) -> dict[TableName, Duration]:
    """How long each level is kept, by its table."""
    return {
        table: level.retention_period
        for cascade in planned_cascades(prepared)
        for level in cascade.levels
        for table in (level.rollup.table, level.rollup.sketch)
    }


def _line(
    policy: Policy, table: TableName | None, found: _Found, levels: Mapping[TableName, Duration], catalog: Catalog
) -> Line:
    facts = None if table is None else catalog.tables.get(table)
    period = policy.retention_period if table is None else levels.get(table, policy.retention_period)
    rows = [task.rows for task in found.tasks]
    return Line(
        table=table,
        policy=policy,
        retention_period=period,
        rows=facts.rows if facts else None,
        size=facts.size if facts else None,
        due_partitions=sum(task.partitions for task in found.tasks),
        due_rows=None if None in rows else sum(row or 0 for row in rows),
        next_due=found.next_due,
        held=tuple(found.holds),
    )
