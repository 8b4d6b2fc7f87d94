"""The state of policies and tables: one line for each policy and table, or for each table."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cratedb_retention.execution.plan.preparing import Prepared
from cratedb_retention.execution.rollups.levels import planned_cascades
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.overview import CHANGES, State
from cratedb_retention.model.plan.effect import amount
from cratedb_retention.model.plan.measurements import Measurements, PartitionBounds
from cratedb_retention.model.plan.plan import Blocked, Task, UpToDate
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups.rollup import Rollup
from cratedb_retention.model.time import TimeRange
from cratedb_retention.planning.rollups.cascades import CascadeLevel
from cratedb_retention.planning.targets import Target, find_targets
from cratedb_retention.store.policies import Damaged, StoredPolicy
from cratedb_retention.store.runs import RunOfPolicy

# In the order of display.
STATES = ("failing", "needs-attention", "blocked", "due", "up-to-date", "disabled")
Span = tuple[int | None, int | None]
Bar = tuple[State, TimeRange]  # Data of one state; a time range may be open.
Measure = Callable[[list[PartitionBounds]], Measurements]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One policy on one table. None: unknown."""

    table: TableName | None  # None: the policy matches no table, or only some values of one where nothing is due
    policy: Policy
    retention_period: Duration  # The policy's, or that of its level
    rows: int | None  # Of the table, like `size`
    size: int | None
    due_partitions: int  # Partitions that the next run processes
    due_rows: int | None
    next_due: int | None  # When more is due (ms, UTC)
    blocked: tuple[Blocked, ...]  # Due actions that must not happen now
    limit: int | None = None  # Rows of the table before this instant (ms, UTC) are expired; None: none are
    bars: tuple[Bar, ...] = ()  # The data that is due or blocked
    level: Rollup | None = None  # If the table is a level of a cascade
    failure: RunOfPolicy | None = None  # The policy's last run if it failed, once that is known; likewise:
    next_run: dt.datetime | None = None  # aware; in the past: it is due; None: it has no schedule

    @property
    def title(self) -> str:
        """The table, or a description of the policy's data."""
        return self.policy.target if self.table is None else str(self.table)

    @property
    def state(self) -> str:
        if not self.policy.enabled:
            return "disabled"
        if any(each.needs_attention for each in self.blocked):
            return "needs-attention"
        if self.due_partitions or self.due_rows:
            return "due"
        return "blocked" if self.blocked else "up-to-date"


def overview(prepared: Prepared) -> list[Line]:
    """One line for each policy and table, and for each policy without a table."""
    found: dict[str, dict[TableName | None, list[Task | Blocked | UpToDate]]] = defaultdict(lambda: defaultdict(list))
    plan = prepared.plan
    verdicts: list[Task | Blocked | UpToDate] = [*plan.tasks, *plan.up_to_date, *plan.blocked]
    for each in verdicts:
        found[each.policy_id or ""][each.table].append(each)
    tables, default = prepared.facts.catalog.tables, prepared.facts.catalog.capabilities.default_schema
    levels: dict[TableName | None, CascadeLevel] = {
        table: level
        for cascade in planned_cascades(prepared)
        for level in cascade.levels
        for table in (level.rollup.table, level.rollup.sketch)
    }
    lines = []
    for policy_id, policy in prepared.policies.items():
        name = TableName(policy.table_schema or default, policy.table_name)
        said = found.get(policy_id) or {name if name in tables and not policy.where else None: []}
        for table, own in said.items() if prepared.selection.fits(policy) else ():
            facts, tasks = tables.get(table) if table else None, [v for v in own if isinstance(v, Task)]
            due = amount(tasks)
            level = levels.get(table)
            line = Line(
                table=table,
                policy=policy,
                retention_period=level.retention_period if level else policy.retention_period,
                rows=facts.rows if facts else None,
                size=facts.size if facts else None,
                due_partitions=due.partitions,
                due_rows=due.rows,
                next_due=next((v.next_due for v in own if isinstance(v, UpToDate)), None),
                # Without the partitions, of which there may be many.
                blocked=tuple(replace(v, pieces=(), windows=()) for v in own if isinstance(v, Blocked)),
                limit=policy.limit(prepared.facts.cutoff) if policy.enabled and level is None else None,
                bars=tuple(_bars(tasks, (v for v in own if isinstance(v, Blocked)))),
                level=level.rollup if level else None,
            )
            lines.append(line)
    return sorted(lines, key=lambda x: (STATES.index(x.state), x.title, x.policy.strategy, x.policy.id or ""))


def _bars(tasks: Iterable[Task], blocked: Iterable[Blocked]) -> Iterator[Bar]:
    """What the next run changes, and what is blocked: for each state, the time range of its data."""
    found: dict[State, list[tuple[int | None, int | None]]] = defaultdict(list)
    for task in tasks:
        if task.kind in CHANGES:
            found[CHANGES[task.kind]] += [stretch for step in task.steps for stretch in step.stretches]
    for each in blocked:
        state = State.NEEDS_ATTENTION if each.needs_attention else State.BLOCKED
        found[state] += [*((piece.start, piece.end) for piece in each.pieces), *each.windows]
    for state, stretches in found.items():
        starts = [start for start, _ in stretches if start is not None]
        ends = [end for _, end in stretches if end is not None]
        if stretches:  # An unknown or open end of one of them is that of all.
            start = min(starts) if len(starts) == len(stretches) else None
            yield state, TimeRange.of(start, max(ends) if len(ends) == len(stretches) else None)


def state_of(lines: Iterable[Line]) -> str:
    """The worst state of policies: ``failing`` if one's last run failed, else as that of the line."""
    return min(("failing" if line.failure else line.state for line in lines), key=STATES.index)


def reasons_of(lines: Sequence[Line]) -> tuple[str, ...]:
    """Why enabled policies fail or are blocked."""
    enabled = [line for line in lines if line.policy.enabled]
    failures = [line.failure.error or "its last run failed" for line in enabled if line.failure]
    return tuple(dict.fromkeys([*failures, *(each.reason for line in enabled for each in line.blocked)]))


@dataclass(frozen=True, kw_only=True)
class TableLine:
    """A table with all policies on it."""

    title: str  # The table, or a description of a policy's data
    lines: tuple[Line, ...]  # One for each policy
    state: str  # The worst of them: `failing` if one's last run failed, else as that of the line
    why: tuple[str, ...] = ()  # Why it fails or is blocked; empty otherwise
    oldest: int | None = None  # No row is older than this instant (ms, UTC); None: unknown
    newest: int | None = None  # All rows are older than this instant (ms, UTC); None: unknown
    # The next run of any of its policies (aware; in the past: it is due); None: none has a schedule.
    next_run: dt.datetime | None = None

    @property
    def first(self) -> Line:
        """Any line: all have the same table, rows and size."""
        return self.lines[0]


def table_lines(
    prepared: Prepared,
    measure: Measure,
    runs: Iterable[RunOfPolicy],
    times: Mapping[str, dt.datetime],
    levels: Mapping[TableName, Span],
) -> list[TableLine]:
    """
    Tables, those that need attention first.

    :param measure: Reads rows of tables whose partitions do not determine their time range.
    :param runs: The last run of each policy.
    :param levels: The time range of the rows of each level.
    """
    chosen = [policy for policy in prepared.policies.values() if prepared.selection.fits(policy)]
    targets = find_targets(chosen, prepared.facts.catalog)[0]
    measured = measure(list(dict.fromkeys(probe for probe in map(_probe, targets) if probe)))
    failed = {run.policy_id: run for run in runs}
    failed = {policy_id: run for policy_id, run in failed.items() if run.failed}
    spans: dict[TableName | None, Span] = {target.table.name: _span(target, measured) for target in targets}
    spans |= {name: levels.get(name, (None, None)) for name in prepared.facts.ledger.rollups}
    grouped: dict[str, list[Line]] = defaultdict(list)
    for line in overview(prepared):
        key, enabled = line.policy.id or "", line.policy.enabled
        known = replace(line, failure=failed.get(key) if enabled else None, next_run=times.get(key))
        grouped[line.title].append(known)
    found = []
    for title, own in grouped.items():
        oldest, newest = spans.get(own[0].table, (None, None))
        line_of_table = TableLine(
            title=title,
            lines=tuple(own),
            state=state_of(own),
            why=reasons_of(own),
            oldest=oldest,
            newest=newest,
            next_run=min((line.next_run for line in own if line.next_run is not None), default=None),
        )
        found.append(line_of_table)
    return sorted(found, key=lambda line: (STATES.index(line.state), line.title))


def _probe(target: Target) -> PartitionBounds | None:
    if target.grids or target.time_column is None or not target.table.rows or target.table.missing_shards:
        return None
    return PartitionBounds(target.table.name, (), target.time_column)


def _span(target: Target, measured: Measurements) -> Span:
    probe = _probe(target)
    if probe is not None:
        oldest, newest = measured.bounds.get(probe, {}).get((), (None, None))
        return oldest, None if newest is None else newest + 1
    # From the least and greatest value of each partition column with time, whose ranges may overlap.
    starts, ends = [], []
    for position, grid in target.grids:
        values = [value for value in (p.values[position] for p in target.table.partitions) if isinstance(value, int)]
        if not values:
            return None, None
        starts.append(min(values))
        ends.append(grid.end(max(values)))
    known = [end for end in ends if end is not None]
    return (max(starts), min(known)) if starts and known else (None, None)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Policies as they are at an instant."""

    policies: Sequence[StoredPolicy]
    damaged: Sequence[Damaged]  # Rows of the policy table that are not valid policies
    times: Mapping[str, dt.datetime]  # The next run of each enabled policy with a schedule; in the past: it is due
    now: dt.datetime  # Aware
