"""
What is kept where, table by table: how much of which time, by which policies, when they run next, and how it is.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cratedb_retention.execution.overview import Line
from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.model.catalog import Table, TableName
from cratedb_retention.model.ledger import Ledger
from cratedb_retention.model.measurements import Measurements, PartitionBounds
from cratedb_retention.planning.targets import Target, find_targets
from cratedb_retention.store.statistics import RunOfPolicy

# What comes first.
STATES = ("failing", "problem", "held", "due", "kept", "disabled")
Span = tuple[int | None, int | None]


@dataclass(frozen=True, kw_only=True)
class TableLine:
    """
    A table, with all policies that are about it.

    :param title: The table, or what a policy means, in words.
    :param lines: One for each policy.
    :param state: The worst of them: ``failing`` if one's last run failed, else as :attr:`Line.state`.
    :param why: Why it fails, is a problem or is held; empty otherwise.
    :param oldest: No row is older than this instant (ms, UTC), if that is known.
    :param newest: All rows are older than this one (ms, UTC), likewise.
    :param next_run: When the first of its policies runs by its schedule (aware; in the past: it is due); None: none
        has a schedule.
    """

    title: str
    lines: tuple[Line, ...]
    state: str
    why: tuple[str, ...] = ()
    oldest: int | None = None
    newest: int | None = None
    next_run: dt.datetime | None = None

    @property
    def table(self) -> TableName | None:
        """The table; None: policies mean it, and there is none."""
        return self.lines[0].table

    @property
    def rows(self) -> int | None:
        """Rows of the table, if known."""
        return self.lines[0].rows

    @property
    def size(self) -> int | None:
        """Bytes of the table, if known."""
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

    :param lines: What :func:`cratedb_retention.execution.overview.overview` tells.
    :param measured: The answers to :func:`find_bounds`.
    :param runs: What runs did, oldest first: the last one of each policy counts.
    :param times: What :func:`cratedb_retention.execution.listing.next_runs` tells.
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
    return _span_of_partitions(target.table, target)


def _span_of_partitions(table: Table, target: Target) -> Span:
    """From the first and the last value of each partition column with time, of which one may lie within another."""
    starts, ends = [], []
    for position, grid in target.grids:
        values = [value for value in (p.values[position] for p in table.partitions) if isinstance(value, int)]
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
    return TableLine(
        title=lines[0].title,
        lines=lines,
        state=state,
        why=why,
        oldest=oldest,
        newest=newest,
        next_run=min(runs, default=None),
    )
