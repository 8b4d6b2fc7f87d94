"""
What is kept where and for how long, what is due, and when policies run next: by policy and table, and table by table.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.execution.rollups import planned_cascades
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.effect import amount
from cratedb_retention.model.measurements import Measurements, PartitionBounds
from cratedb_retention.model.plan import Hold, Kept, Task
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.rollup import Ledger
from cratedb_retention.planning.due import next_times
from cratedb_retention.planning.targets import Target, find_targets
from cratedb_retention.store.audit import RunOfPolicy
from cratedb_retention.store.policies import Damaged, StoredPolicy
from cratedb_retention.store.runs import Leases
from cratedb_retention.store.store import Store

# What comes first.
STATES = ("failing", "problem", "held", "due", "kept", "disabled")
Span = tuple[int | None, int | None]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One policy on one table. What is None is not known."""

    table: TableName | None  # None: the policy is about no table now, or about values of one of which nothing is due
    policy: Policy
    retention_period: Duration  # How long data is kept: the policy's, or that of its level
    rows: int | None  # Of the table, as are its bytes
    size: int | None
    due_partitions: int  # What the next run takes
    due_rows: int | None
    next_due: int | None  # When more is due (ms, UTC)
    held: tuple[Hold, ...]  # Why something due is held

    @property
    def title(self) -> str:
        """The table, or what the policy means, in words."""
        return self.policy.target if self.table is None else str(self.table)

    @property
    def state(self) -> str:
        if not self.policy.enabled:
            return "disabled"
        if any(hold.problem for hold in self.held):
            return "problem"
        if self.due_partitions or self.due_rows:
            return "due"
        return "held" if self.held else "kept"


def overview(prepared: Prepared) -> list[Line]:
    """One line for each policy and table; a policy without a table has one too."""
    found: dict[str, dict[TableName | None, list[Task | Hold | Kept]]] = defaultdict(lambda: defaultdict(list))
    verdicts: list[Task | Hold | Kept] = [*prepared.plan.tasks, *prepared.plan.kept, *prepared.plan.holds]
    for each in verdicts:
        found[each.policy_id or ""][each.table].append(each)
    tables, default = prepared.catalog.tables, prepared.catalog.capabilities.default_schema
    levels: dict[TableName | None, Duration] = {
        table: level.retention_period
        for cascade in planned_cascades(prepared)
        for level in cascade.levels
        for table in (level.rollup.table, level.rollup.sketch)
    }
    lines = []
    for policy_id, policy in prepared.policies.items():
        name = TableName(policy.table_schema or default, policy.table_name)
        said = found.get(policy_id) or {name if name in tables and not policy.where else None: []}
        for table, own in said.items() if prepared.selection.fits(policy) else ():
            facts, due = tables.get(table) if table else None, amount([v for v in own if isinstance(v, Task)])
            line = Line(
                table=table,
                policy=policy,
                retention_period=levels.get(table, policy.retention_period),
                rows=facts.rows if facts else None,
                size=facts.size if facts else None,
                due_partitions=due.partitions,
                due_rows=due.rows,
                next_due=next((v.next_due for v in own if isinstance(v, Kept)), None),
                held=tuple(v for v in own if isinstance(v, Hold)),
            )
            lines.append(line)
    return sorted(lines, key=lambda x: (STATES.index(x.state), x.title, x.policy.strategy, x.policy.id or ""))


@dataclass(frozen=True, kw_only=True)
class TableLine:
    """A table, with all policies that are about it."""

    title: str  # The table, or what a policy means, in words
    lines: tuple[Line, ...]  # One for each policy
    state: str  # The worst of them: `failing` if one's last run failed, else as that of the line
    why: tuple[str, ...] = ()  # Why it fails, is a problem or is held; empty otherwise
    oldest: int | None = None  # No row is older than this instant (ms, UTC), if that is known
    newest: int | None = None  # All rows are older than this one (ms, UTC), likewise
    # When the first of its policies runs by its schedule (aware; in the past: it is due); None: none has a schedule.
    next_run: dt.datetime | None = None

    @property
    def table(self) -> TableName | None:
        """The table; None: policies mean it, and there is none."""
        return self.lines[0].table

    @property
    def rows(self) -> int | None:
        return self.lines[0].rows

    @property
    def size(self) -> int | None:
        return self.lines[0].size


def find_bounds(prepared: Prepared) -> list[PartitionBounds]:
    """What must be asked of the rows, since the partitions of these tables do not tell which time they cover."""
    return list(dict.fromkeys(probe for probe in (_probe(target) for target in _targets(prepared)) if probe))


def table_lines(
    prepared: Prepared,
    lines: Iterable[Line],
    measured: Measurements,
    runs: Iterable[RunOfPolicy],
    times: Mapping[str, dt.datetime],
) -> list[TableLine]:
    """
    Tables, those that need somebody first.

    :param measured: The answers to :func:`find_bounds`.
    :param runs: What runs did, oldest first: the last one of each policy counts.
    """
    last = {run.policy_id: run for run in runs}
    spans: dict[TableName | None, Span] = {target.table.name: _span(target, measured) for target in _targets(prepared)}
    spans |= {name: _span_of_level(prepared.ledger, name) for name in prepared.ledger.rollups}
    grouped: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        grouped[line.title].append(line)
    found = [_table_line(tuple(of), last, times, spans) for of in grouped.values()]
    return sorted(found, key=lambda line: (STATES.index(line.state), line.title))


def _targets(prepared: Prepared) -> list[Target]:
    chosen = [policy for policy in prepared.policies.values() if prepared.selection.fits(policy)]
    return find_targets(chosen, prepared.catalog)[0]


def _probe(target: Target) -> PartitionBounds | None:
    if target.grids or target.time_column is None or not target.table.rows or target.table.missing_shards:
        return None
    return PartitionBounds(target.table.name, (), target.time_column)


def _span(target: Target, measured: Measurements) -> Span:
    probe = _probe(target)
    if probe is not None:
        oldest, newest = measured.bounds.get(probe, {}).get((), (None, None))
        return oldest, None if newest is None else newest + 1
    # From the first and the last value of each partition column with time, of which one may lie within another.
    starts, ends = [], []
    for position, grid in target.grids:
        values = [value for value in (p.values[position] for p in target.table.partitions) if isinstance(value, int)]
        if not values:
            return None, None
        starts.append(min(values))
        ends.append(grid.end(max(values)))
    known = [end for end in ends if end is not None]
    return (max(starts), min(known)) if starts and known else (None, None)


def _span_of_level(ledger: Ledger, table: TableName) -> Span:
    """The windows that have rows, as far as they are computed."""
    rows = [row for row in ledger.of(table).values() if row.groups and not row.expired]
    return min((row.start for row in rows), default=None), max((row.until for row in rows), default=None)


def _table_line(
    lines: tuple[Line, ...],
    last: Mapping[str, RunOfPolicy],
    times: Mapping[str, dt.datetime],
    spans: Mapping[TableName | None, Span],
) -> TableLine:
    failures = [
        run.error or "its last run failed"
        for line in lines
        if line.policy.enabled and (run := last.get(line.policy.id or "")) is not None and run.failed
    ]
    state = "failing" if failures else min((line.state for line in lines), key=STATES.index)
    held = [hold.reason for line in lines if line.state != "disabled" for hold in line.held]
    runs = [time for time in (times.get(line.policy.id or "") for line in lines) if time is not None]
    oldest, newest = spans.get(lines[0].table, (None, None))
    why = tuple(dict.fromkeys([*failures, *held]))
    following = min(runs, default=None)
    title = lines[0].title
    return TableLine(title=title, lines=lines, state=state, why=why, oldest=oldest, newest=newest, next_run=following)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Policies as they are at an instant."""

    policies: Sequence[StoredPolicy]
    damaged: Sequence[Damaged]  # Rows of the policy table that are no valid policies
    times: Mapping[str, dt.datetime]  # When each that is enabled and has a schedule runs next; in the past: it is due
    now: dt.datetime  # Aware


def next_runs(store: Store, policies: Iterable[str | None], leases: Leases | None = None) -> dict[str, dt.datetime]:
    """
    When policies run next, whoever asks: by the clock that decides it, the database's, and their delay included. What
    is due has a time that is past; those that are disabled or have no schedule are missing.
    """
    identifiers = set(policies)
    scheduled = [item for item in store.policies.scheduled() if item.policy_id in identifiers]
    if not scheduled:
        return {}
    known = leases or store.leases.read()
    return next_times(scheduled, known.slots, known.now)
