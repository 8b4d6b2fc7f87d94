"""
A simulated database, in which some tables grow and the steps of plans have the effects that they have in a real one, on
partitions, rows, archives and the ledger. It decides nothing: that is up to the planner.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, assert_never

from cratedb_retention.model.archive import Archived, SnapshotRecord, SnapshotStage
from cratedb_retention.model.catalog import TableName, Value
from cratedb_retention.model.forecast import Event
from cratedb_retention.model.plan.measurements import (
    ExpiredRows,
    Measurements,
    PartitionBounds,
    Probe,
    TableBounds,
    Varied,
    Variety,
    WindowRows,
)
from cratedb_retention.model.plan.plan import (
    CompactPartitions,
    DeleteRows,
    DeleteSnapshot,
    DropArchived,
    DropPartitions,
    FreezePartitions,
    MovePartitions,
    PartitionsStep,
    Plan,
    SnapshotPartition,
    Step,
    Task,
    ThawPartitions,
    VerifySnapshot,
)
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups import rollup as rollups
from cratedb_retention.model.rollups.ledger import (
    MOST_SMALL,
    KnownRollup,
    Ledger,
    LedgerRow,
    Windows,
    choose_stretches,
    make_range,
)
from cratedb_retention.model.rollups.rollup import Rollup, Window
from cratedb_retention.model.step import Kind as StepKind
from cratedb_retention.model.step import Piece
from cratedb_retention.model.time import DAY_MS, TimeRange, TimeRanges, from_ms, to_ms
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.forecast.present import number_column, windows_of
from cratedb_retention.planning.forecast.tables import Account, GrowingTable
from cratedb_retention.planning.pieces import make_pieces
from cratedb_retention.planning.plan.planner import Planning
from cratedb_retention.planning.rollups.windows import sources_of_windows

# The first day, after another one, on which a run finds data expired that ends at an instant (ms, UTC); None: none.
FindDay = Callable[[int | None, int], int | None]
# Of a policy on a table, for its data or for its archives.
DaysOf = Callable[[Policy, TableName, bool], FindDay]
ArchiveKey = tuple[TableName, str]  # The archived table, and the repository.


def always(day: int) -> FindDay:
    """This day, for all data."""
    return lambda end, after: day


class Journal:
    """What happens on each day."""

    def __init__(self, days: int) -> None:
        self._days = days
        self._found: dict[tuple[StepKind, TableName, str], dict[int, Event]] = {}

    def add(self, event: Event) -> None:
        """Note an event, together with those of the same day, kind, table and policy."""
        events = self._found.setdefault((event.kind, event.table, event.policy_id), {})
        known = events.get(event.day)
        events[event.day] = event if known is None else known.with_(event)

    def __iter__(self) -> Iterator[Event]:
        by_key = [self._found[key] for key in sorted(self._found)]
        return (events[day] for day in range(self._days + 1) for events in by_key if day in events)


@dataclass(kw_only=True)
class World:
    """
    Tables that are decided about together.

    :param facts: What is known now.
    :param growing: The tables.
    :param policies: Those that concern the tables.
    :param records: The archives of the tables.
    :param archived: The accounts of archives.
    :param varied: How varied the rows of tables are that have no levels yet.
    :param make_level: Makes the table of a level that does not exist yet: with this name, on this day.
    """

    facts: Facts
    growing: Iterable[GrowingTable]
    policies: Sequence[Policy]
    records: Iterable[SnapshotRecord]
    archived: Mapping[ArchiveKey, Account]
    journal: Journal
    varied: Mapping[TableName, Varied]
    make_level: Callable[[Rollup, GrowingTable, TableName, int], GrowingTable]

    def __post_init__(self) -> None:
        self.tables = {table.name: table for table in self.growing}
        self.archives = {record.key: record for record in self.records}
        self._by_id = {policy.id: policy for policy in self.policies}
        self._archived_on: dict[tuple[str, str], int] = {}  # The days of archives that the forecast made.
        self.script: list[tuple[int, Task, Step]] = []  # The steps that changed partitions, archives or levels.
        facts = self.facts
        self._frozen = {key for key in facts.frozen if key[0] in self.tables}
        known = facts.ledger.rollups.items()
        self._rollups = {name: replace(one, rest=None) for name, one in known if one.rollup.source in self.tables}
        self._windows = {name: {row.start: row for row in windows_of(facts.ledger, name)} for name in self._rollups}
        # Sealed windows that the forecast joined to ranges, by their start.
        self._joined: defaultdict[TableName, dict[int, LedgerRow]] = defaultdict(dict)
        bounds = facts.measurements.bounds.items()
        self._bounds = {probe.table: found for probe, found in bounds if probe.table in self.tables}

    # The facts of a plan

    def plan(self, cutoff: dt.datetime, running: Collection[str | None] | None = None) -> Plan:
        """What a run of some policies would do, or of all, by the planner of real runs."""
        planning = Planning(**self._facts_at(cutoff))
        if probes := planning.probes():
            planning = replace(planning, measurements=self._measure(probes))
        return planning.plan(lambda policy: running is None or policy.id in running)

    def may_exceed(self, policy: Policy) -> bool:
        """Whether a table, or all together, may have more than the maximum size of a policy."""
        sizes = [sum(partition.size or 0 for partition in table.parts.values()) for table in self.tables.values()]
        largest = sum(sizes) if policy.shares_budget else max(sizes, default=0)
        return policy.max_size is not None and largest > policy.max_size.bytes

    def _facts_at(self, cutoff: dt.datetime) -> dict[str, Any]:
        base = self.facts
        catalog = replace(
            base.catalog,
            tables={name: table.snapshot for name, table in self.tables.items()},
            rollups=frozenset(name for known in self._rollups.values() for name in known.rollup.tables),
            views=None,
            others=frozenset(),
        )
        windows = {name: Windows(rows.values(), partial(self._members, name)) for name, rows in self._windows.items()}
        limits = [limit for policy in self.policies if (limit := policy.archive_limit(cutoff)) is not None]
        ends_some = limits or any(policy.recoverable is not None for policy in self.policies)
        limit, known = max(limits, default=None), self.archives.values() if ends_some else ()
        ended = [record for record in known if _may_have_ended(record, limit, cutoff)]
        return {
            "policies": self.policies,
            "catalog": catalog,
            "cutoff": cutoff,
            "holds": base.holds,
            "ledger": Ledger(self._rollups, windows),
            "frozen": frozenset(self._frozen),
            "archived": base.archived,
            "restored": base.restored,
            "archives": ended,
            "archived_rows": self._archived_rows() if ended else {},
            "own_schema": base.own_schema,
        }

    def _archived_rows(self) -> dict[tuple[str, TableName], int]:
        found: dict[tuple[str, TableName], int] = {}
        for record in self.archives.values():
            key = record.policy_id or "", record.archived.table
            found[key] = found.get(key, 0) + (record.archived.rows or 0)
        return found

    def _measure(self, probes: Sequence[Probe]) -> Measurements:
        """Answer what the planner asks of the rows."""
        bounds: dict[PartitionBounds, Mapping[tuple[Value, ...], tuple[int | None, int | None]]] = {}
        rows: dict[ExpiredRows, int] = {}
        ranges: dict[TableBounds, tuple[int | None, int | None]] = {}
        windows: dict[WindowRows, list[tuple[int, int, str]]] = {}
        varieties: dict[Variety, Varied] = {}
        for probe in probes:
            table = self.tables[probe.table]
            match probe:
                case PartitionBounds():
                    bounds[probe] = self._bounds_of(table)
                case ExpiredRows(before=before, where=where, spared=spared):
                    # Which rows match a filter is unknown, so none are deleted.
                    held = [TimeRange.of(each.start, each.end) for each in spared]
                    rows[probe] = 0 if where else round(sum(table.expired_days(before, None, held).values()))
                case TableBounds():
                    days = table.days or {}
                    ranges[probe] = (min(days), max(days) + DAY_MS - 1) if days else (None, None)
                case WindowRows(within=None):
                    windows[probe] = list(self._windows_of(table, probe))
                case WindowRows():
                    pass  # Without an answer, the open window is computed as a whole.
                case Variety():
                    varieties |= {probe: self.varied[table.name]} if table.name in self.varied else {}
                case _:
                    assert_never(probe)
        unread = self.facts.measurements.failed
        failed = {probe: unread[probe] for probe in probes if probe in unread}
        return Measurements(
            bounds=bounds, rows=rows, ranges=ranges, windows=windows, varieties=varieties, failed=failed
        )

    def _bounds_of(self, table: GrowingTable) -> dict[tuple[Value, ...], tuple[int | None, int | None]]:
        """The least and greatest time of each partition: as measured, unless it grew since."""
        known, found = self._bounds.get(table.name, {}), dict[tuple[Value, ...], tuple[int | None, int | None]]()
        for values in table.parts:
            time = table.time_of(values)
            grown = time is not None and (values not in known or time.end > table.instants[0])
            found[values] = (time.start, time.end - 1) if time and grown else known.get(values, (None, None))
        return found

    def _windows_of(self, table: GrowingTable, probe: WindowRows) -> Iterator[tuple[int, int, str]]:
        found: dict[int, float] = {}
        for day, rows in (table.days or {}).items():
            start = probe.interval.floor(day)
            found[start] = found.get(start, 0) + rows
        yield from ((start, round(rows), f"{round(rows)}:0") for start, rows in sorted(found.items()) if round(rows))

    # The effects of its steps

    def apply(self, task: Task, day: int, days_of: DaysOf | None = None) -> bool:
        """
        Execute a task of a plan. Returns whether anything was removed.

        :param days_of: If the plan is about all days, finds that of each partition.
        """
        policy, removed = self._by_id.get(task.policy_id), False
        for step in task.steps:
            find_day = always(day)
            if days_of is not None and policy is not None:
                find_day = days_of(policy, task.table, isinstance(step, DeleteSnapshot))
            removed |= self.perform(task, step, day, find_day)
            if isinstance(step, PartitionsStep | DeleteSnapshot | rollups.CreateRollup):
                self.script.append((day, task, step))
        return removed

    def perform(self, task: Task, step: Step, day: int, find_day: FindDay) -> bool:
        """Perform a step. Returns whether it removed anything."""
        match step:
            case DropPartitions(pieces=pieces):
                return any([each is not None for each in self._drop(task, step.table, pieces, find_day)])  # noqa: C419
            case DropArchived():
                return self._archive(task, step, find_day)
            case DeleteRows():
                return self._delete_rows(task, step, find_day)
            case DeleteSnapshot(archives=archives):
                return any([self._end_archive(task, archived, find_day) for archived in archives])  # noqa: C419
            case MovePartitions():
                self._move(task, step, day)
            case CompactPartitions():
                self._compact(task, step, day)
            case ThawPartitions():
                self._frozen.difference_update((step.table, values) for values in step.partitions)
                self._change(step.table, step.pieces, frozen=False, closed=False)
            case FreezePartitions() | SnapshotPartition() | VerifySnapshot():
                pass  # What they prepare is done in the same run.
            case rollups.LevelStep():
                self._change_level(task, step, day)
            case _:
                assert_never(step)
        return False

    def _change_level(self, task: Task, step: rollups.RollupStep, day: int) -> None:
        match step:
            case rollups.CreateRollup(rollup=rollup) | rollups.AlterRollup(rollup=rollup):
                self._create(task, rollup, day)
            case rollups.RebaseRollup(rollup=rollup, before=before):
                self._rebase(task, rollup, before)
            case rollups.RollUp():
                self._roll_up(task, step)
            case rollups.SealWindows(rollup=rollup, windows=windows):
                self._seal(rollup, windows)
            case rollups.ReplaceView():
                pass  # A view takes no space.
            case _:
                assert_never(step)

    def _drop(
        self, task: Task, name: TableName, pieces: Iterable[Piece], find_day: FindDay
    ) -> Iterator[tuple[int, float, int] | None]:
        """Remove partitions. Yields the rows, the bytes in one copy, and the day of each; None: no run removes it."""
        table, gone = self.tables[name], list[int]()
        kind, policy_id, sized = task.kind, task.policy_id or "", table.per_row is not None
        for piece in pieces:
            day, end = find_day(piece.end, 0), piece.end
            dropped = None if day is None else table.drop(piece, day)
            if dropped is None or day is None:
                yield None
                continue
            rows, size, of_all_copies = dropped
            if self._frozen:
                self._frozen.discard((name, piece.partition.values))
            whole = round(of_all_copies) if sized else None
            self.journal.add(Event(day, kind, name, policy_id, 1, rows, whole, end))
            if end is not None:
                gone.append(end)
            yield rows, size, day
        known = self._rollups.get(name)
        if gone and known is not None:
            self._rollups[name] = replace(known, gone=max(gone if known.gone is None else [*gone, known.gone]))

    def _archive(self, task: Task, step: DropArchived, find_day: FindDay) -> bool:
        piece = step.piece
        [dropped] = self._drop(task, step.table, [piece], find_day)
        if dropped is None:
            return False
        rows, size, day = dropped
        archived = Archived(
            repository=step.repository,
            name=step.name,
            table=step.table,
            columns=step.columns,
            values=step.values,
            rows=rows,
            start=piece.start,
            end=piece.end,
            size=round(size) if self.tables[step.table].per_row is not None else None,
        )
        key = step.repository, step.name
        known = self.archives.get(key)  # It may be the archive that the partition was restored from.
        if known is None:
            self.archived[step.table, step.repository].add(day, rows, size, 1)
        self._archived_on[key] = day
        if known is not None and known.recoverable_until is None:  # An archive of `snapshot` stays one.
            self.archives[key] = replace(known, stage=SnapshotStage.ARCHIVED)
            return True
        now, zone = self.facts.cutoff + dt.timedelta(days=day), self._by_id[task.policy_id].zone
        self.archives[key] = SnapshotRecord(
            archived=archived,
            stage=SnapshotStage.ARCHIVED,
            changed_at=from_ms(0),
            policy_id=task.policy_id,
            recoverable_until=None if step.recoverable is None else step.recoverable.after(now, zone),
        )
        return True

    def _end_archive(self, task: Task, archived: Archived, find_day: FindDay) -> bool:
        key = archived.repository, archived.name
        record = self.archives.get(key)
        if record is None:
            return False
        end = archived.end if record.recoverable_until is None else to_ms(record.recoverable_until)
        day = find_day(end, self._archived_on.get(key, 0))
        if day is None:
            return False
        del self.archives[key]
        rows, size = record.archived.rows or 0, record.archived.size  # Of tables that are alike, each has its own.
        account = self.archived[archived.table, archived.repository]
        account.add(day, -rows, -(size or 0), -1)
        if archived.start is not None:
            account.note_gone(day, archived.start)
        self._note(task, archived.table, day, partitions=1, rows=rows, size=size, end=archived.end)
        return True

    def _delete_rows(self, task: Task, step: DeleteRows, find_day: FindDay) -> bool:
        table = self.tables[step.table]
        held = [TimeRange.of(each.start, each.end) for each in step.spared]
        going: dict[int, list[int]] = {}
        for start in table.expired_days(step.before, step.since, held):
            if (day := find_day(start + DAY_MS, 0)) is not None:
                going.setdefault(day, []).append(start)
        for day, starts in going.items():
            rows, size = table.delete_days(day, starts)
            known = None if table.per_row is None else size
            self._note(task, step.table, day, partitions=0, rows=round(rows), size=known, end=max(starts) + DAY_MS)
        for rollup in (each.rollup for each in task.steps if isinstance(each, rollups.SealWindows)) if going else ():
            own = self._windows[rollup.table]
            for start, row in own.items():
                if row.sealed and row.start < step.before and row.end > (step.since or row.start):
                    own[start] = row._replace(expired=True)
        return bool(going)

    def _move(self, task: Task, step: MovePartitions, day: int) -> None:
        nodes = (name for name, known in self.facts.catalog.nodes.items() if known.get(step.attribute) == step.value)
        requires = ((step.attribute, step.value),)
        self._change(step.table, step.pieces, requires=requires, nodes=frozenset(nodes), settled=True)
        self._note_pieces(task, step.table, step.pieces, day)

    def _compact(self, task: Task, step: CompactPartitions, day: int) -> None:
        table = self.tables[step.table]
        changes: dict[str, Any] = {"closed": False}
        changes |= {"compressed": True} if step.compress else {}
        changes |= {"merged": True} if step.merge or step.compress else {}
        changes |= {"frozen": True} if step.read_only else {}
        changes |= {} if step.replicas is None else {"replicas": step.replicas}
        for piece in (piece for piece in step.pieces if piece.partition.values in table.parts):
            before = table.parts[piece.partition.values]
            self._frozen.discard((step.table, piece.partition.values))
            self._change(step.table, [piece], **changes)
            after = table.parts[piece.partition.values]
            copies = table.copies_of(after) - table.copies_of(before)
            table.account.add(day, 0, (before.size or 0) * copies, 0, (table.storage.shards or 0) * copies)
        self._note_pieces(task, step.table, step.pieces, day)

    def _note_pieces(self, task: Task, name: TableName, pieces: Sequence[Piece], day: int) -> None:
        table = self.tables[name]
        partitions = [table.parts[piece.partition.values] for piece in pieces if piece.partition.values in table.parts]
        rows = sum(partition.rows or 0 for partition in partitions)
        size = sum((partition.size or 0) * table.copies_of(partition) for partition in partitions)
        end = max((piece.end for piece in pieces if piece.end is not None), default=None)
        known = None if table.per_row is None else size
        self._note(task, name, day, partitions=len(partitions), rows=rows, size=known, end=end)

    def _note(
        self, task: Task, name: TableName, day: int, *, partitions: int, rows: int, size: float | None, end: int | None
    ) -> None:
        whole = None if size is None else round(size)
        self.journal.add(Event(day, task.kind, name, task.policy_id or "", partitions, rows, whole, end))

    def _change(self, name: TableName, pieces: Iterable[Piece], **changes: Any) -> None:
        parts = self.tables[name].parts
        for values in (piece.partition.values for piece in pieces if piece.partition.values in parts):
            parts[values] = parts[values]._replace(**changes)

    # Cascades

    def _register(self, task: Task, rollup: Rollup) -> None:
        known = self._rollups.get(rollup.table)
        identity = self.tables[rollup.source].table.identity
        new = KnownRollup(rollup=rollup, policy_id=task.policy_id, identity=identity)
        self._rollups[rollup.table] = replace(known, rollup=rollup) if known else new
        self._windows.setdefault(rollup.table, {})

    def _create(self, task: Task, rollup: Rollup, day: int) -> None:
        self._register(task, rollup)
        raw = self.tables[rollup.source]
        for name in rollup.tables:
            known = self.tables.get(name)
            if known is None:
                self.tables[name] = self.make_level(rollup, raw, name, day)
            else:
                columns = dict(known.table.columns)
                columns |= {new: number_column(new) for new in rollup.columns if new not in columns}
                known.table = replace(known.table, columns=columns)

    def _rebase(self, task: Task, rollup: Rollup, before: int) -> None:
        own = self._windows.setdefault(rollup.table, {})
        kept = {start: row._replace(sealed=True) for start, row in own.items() if start < before or row.sealed}
        self._windows[rollup.table] = kept
        self._register(task, rollup)

    def _roll_up(self, task: Task, step: rollups.RollUp) -> None:
        rollup = step.rollup
        self._register(task, rollup)
        own, found = self._windows[rollup.table], self._tokens(rollup, step.windows) if not step.tokens else {}
        counts = step.rows or (0,) * len(step.windows)
        tokens = step.tokens or tuple(found.get(window.start, "") for window in step.windows)
        for window, token, rows in zip(step.windows, tokens, counts, strict=True):
            before = own.get(window.start)
            until = window.until if window.whole or before is None else max(window.until, before.until)
            own[window.start] = LedgerRow(
                start=window.start,
                end=window.end,
                until=until,
                whole=window.whole,
                below=rollup.below,
                token=token,
                rows=max(rows, 1),
                groups=1,
                sealed=False,
            )

    def _tokens(self, rollup: Rollup, windows: Sequence[Window]) -> dict[int, str]:
        """The change tokens of the sources of windows, if the plan does not know them."""
        table = self.tables.get(rollup.below)
        if table is None:
            return {}
        if not table.grids:
            interval = rollup.window
            if interval is None:
                return {}
            probe = WindowRows(table=table.name, time_column=rollup.below_time, interval=interval, zone="UTC")
            return {start: token for start, _, token in self._windows_of(table, probe)}
        # Windows of a part of a step may be parts of the same window.
        whole = {window.start: Window.of(window.start, window.end) for window in windows}
        times = TimeRanges((window.start, window.end) for window in whole.values())
        near = [
            partition
            for values, partition in table.parts.items()
            if (time := table.time_of(values)) is not None and times.overlapping(time)
        ]
        pieces = make_pieces(replace(table.table, partitions=tuple(near)), table.grids, {})
        return {start: source.token for start, source in sources_of_windows(whole.values(), pieces).items()}

    def _seal(self, rollup: Rollup, windows: Sequence[Window]) -> None:
        own = self._windows[rollup.table]
        own.update({w.start: own[w.start]._replace(sealed=True) for w in windows if w.start in own})
        self._join(rollup.table)

    def _join(self, level: TableName) -> None:
        """Join sealed windows to ranges, as a run does in the store; but the last ones, of which plans ask."""
        own, joined = self._windows[level], self._joined[level]
        rows = sorted(row for row in own.values() if row.sealed and (row.windows == 1 or row.start in joined))
        for group in choose_stretches(rows[:-MOST_SMALL]) if len(rows) > 2 * MOST_SMALL else ():
            joined.update((row.start, row) for row in group if row.windows == 1)
            for row in group:
                del own[row.start]
            own[group[0].start] = make_range(group)

    def _members(self, level: TableName, row: LedgerRow) -> Iterable[LedgerRow]:
        """The windows of a range."""
        joined = self._joined[level]
        if row.start not in joined:
            return self.facts.ledger.of(level).members(row)
        return [joined[start] for start in sorted(joined) if row.start <= start < row.end]


def _may_have_ended(record: SnapshotRecord, limit: int | None, cutoff: dt.datetime) -> bool:
    end, until = record.archived.end, record.recoverable_until
    if record.stage is SnapshotStage.SUPERSEDED:
        return True
    if until is not None:
        return until <= cutoff
    return end is not None and limit is not None and end <= limit


def archive_due(record: SnapshotRecord, policy: Policy) -> int | None:
    """When an archive of a policy ends (ms, UTC); None: never."""
    end, until = record.archived.end, record.recoverable_until
    if until is not None:
        return to_ms(until)
    try:
        due = policy.archive_due(from_ms(end)) if end is not None else None
    except OverflowError:
        return None
    return None if due is None else to_ms(due)
