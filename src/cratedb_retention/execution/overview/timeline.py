"""
The timeline of a table: its data over time, what was rolled up, moved and archived, and what the next run does.

Pure: made from a plan and its facts. The caller passes the policies, snapshots and holds that a user may see; data that
cannot be distinguished from that of other users is not shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from cratedb_retention.execution.plan.preparing import Prepared, cascade_tables
from cratedb_retention.execution.rollups.levels import planned_cascades
from cratedb_retention.model.archive import SnapshotRecord, SnapshotStage
from cratedb_retention.model.catalog import Capabilities, Catalog, TableName
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.overview import CHANGES, Cutoff, Lane, Span, State, Timeline, make_lane
from cratedb_retention.model.plan.effect import group_tasks
from cratedb_retention.model.plan.plan import DeleteSnapshot, Plan, Task
from cratedb_retention.model.plan.reasons import Why
from cratedb_retention.model.policies.lifecycle import find_lifecycles
from cratedb_retention.model.policies.patterns import find_tables, is_pattern
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups.ledger import LedgerRow
from cratedb_retention.model.rollups.rollup import RollUp, Rollup
from cratedb_retention.model.step import Piece
from cratedb_retention.model.time import EVER, TimeRange, find_zone, from_ms, show, to_ms
from cratedb_retention.model.words import moment, plural, short, show_partition, write_pairs
from cratedb_retention.planning.archive import Ends
from cratedb_retention.planning.facts import PartitionKey
from cratedb_retention.planning.holds import holds_by_table
from cratedb_retention.planning.plan.strategies import is_there, next_due
from cratedb_retention.planning.rollups.cascades import Cascade, CascadeLevel, level_targets
from cratedb_retention.planning.targets import Target, find_targets


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a user may see."""

    policies: Sequence[Policy]  # on any table
    records: Sequence[SnapshotRecord] = ()  # snapshots of this table
    holds: Sequence[LegalHold] = ()
    whole: bool = True  # whether the user may see the whole table, rather than only what the policies select


def concerning(policies: Iterable[Policy], table: TableName, own: Capabilities) -> frozenset[str]:
    """The identifiers of the policies of a table's timeline: those on the table and on its cascade."""
    policies = list(policies)
    names = cascade_tables(policies, table, own)
    return frozenset(p.id or "" for p in policies if find_tables(p.table_schema, p.table_name, names, own))


def sources_of(prepared: Prepared, table: TableName) -> list[TableName]:
    """The sources of a table that is a rollup, by the chosen policies."""
    return [cascade.source for cascade in planned_cascades(prepared) if table in _tables_of(cascade.levels)]


def _tables_of(levels: Iterable[CascadeLevel]) -> set[TableName]:
    return {table for level in levels for table in (level.rollup.table, level.rollup.sketch)}


_MOST_TENANTS = 12
Verdict = tuple[State, tuple[str, ...]]
_UP_TO_DATE: Verdict = (State.UP_TO_DATE, ())


class _Look:
    def __init__(self, prepared: Prepared, name: TableName, seen: Seen) -> None:
        self.prepared, self.name, self.seen = prepared, name, seen
        self.catalog: Catalog = prepared.facts.catalog
        self.plan: Plan = prepared.plan
        self.table, self.index = self.catalog.tables.get(name), prepared.facts.pieces
        ids = {policy.id for policy in seen.policies}
        mine = (c for c in planned_cascades(prepared) if name in {c.source, *_tables_of(c.levels)})
        self.cascade: Cascade | None = next((c for c in mine if c.policy.id in ids), None)
        # The coarser levels.
        self.levels: Sequence[CascadeLevel] = self.cascade.levels if self.cascade else ()
        own = [level.rollup.table for level in self.levels]
        self.levels = self.levels[own.index(name) + 1 if name in own else 0 :]
        self.of_levels = list(level_targets(self.cascade)) if self.cascade else []
        # Verdicts of the plan on each partition, and on windows by level and start, with their end.
        self.said: dict[PartitionKey, Verdict] = {}
        self.windows: dict[TableName, dict[int, tuple[int, Verdict]]] = {}
        self.ending: dict[tuple[str, str], str] = {}  # Why archives are deleted, by repository and name.
        self._hear()

    def timeline(self) -> Timeline:
        own, moved = (self._own_lanes(), self._moved_lane()) if self.table else ([], [])
        lanes = [*own, *map(self._level_lane, self.levels), *moved]
        tables, source = {self.name, *_tables_of(self.levels)}, self.cascade.source if self.cascade else self.name

        def changing(task: Task) -> bool:
            return not tables.isdisjoint((task.table, *(step.changes for step in task.steps if step.changes)))

        holds = holds_by_table(self.seen.holds, self.catalog).get(self.name, ())
        return Timeline(
            table=self.name,
            now=self.plan.cutoff,
            lanes=(*lanes, *self._archived_lane()),
            cutoffs=(*self._cutoffs(), *self._level_cutoffs()),
            changes=tuple(group_tasks(filter(changing, self.plan.tasks))),
            blocked=tuple(each for each in self.plan.blocked if each.table in tables),
            holds=tuple({found.hold.id: found.hold for found in holds}.values()),  # One may have several filters.
            lifecycles=tuple(find_lifecycles(self.seen.policies, self.catalog.capabilities, self.name)),
            notes=tuple(self._notes()),
            source=source if source != self.name else None,
        )

    @cached_property
    def targets(self) -> list[Target]:
        """The policies on the table, enabled ones first. For a user who sees the whole table, filters do not matter."""
        if self.table is None:
            return []
        alone = replace(self.catalog, tables={self.name: self.table})
        targets = find_targets(sorted(self.seen.policies, key=lambda policy: not policy.enabled), alone)[0]
        if self.seen.whole and all(target.by_rows or target.where for target in targets):
            bare = [target.policy.model_copy(update={"where": {}, "enabled": False}) for target in targets]
            targets += [target for target in find_targets(bare, alone)[0] if not target.by_rows][:1]
        return [*targets, *(target for target in self.of_levels if target.table.name == self.name)]

    @cached_property
    def pieces(self) -> list[Piece]:
        """All partitions that any policy selects, each with its interval by the first such policy."""
        found: dict[tuple[object, ...], Piece] = {}
        for pieces in (self.index.of(target) for target in self.targets if not target.by_rows):
            for piece in (*pieces.known, *pieces.unknown):
                found.setdefault(piece.partition.values, piece)
        return list(found.values())

    def _hear(self) -> None:
        def note(table: TableName, piece: Piece, state: State, why: str) -> None:
            key = (table, piece.partition.values)
            before, reasons = self.said.get(key, (state, ()))
            self.said[key] = min(before, state, key=list(State).index), (*reasons, why)

        for task in self.plan.tasks:
            why = _why(task.reason, task.policy_id)
            for ended in (step for step in task.steps if isinstance(step, DeleteSnapshot)):
                self.ending.update(((archived.repository, archived.name), why) for archived in ended.archives)
            step = next((step for step in reversed(task.steps) if step.does), task.steps[-1])
            if isinstance(step, RollUp):
                found = {w.start: (w.until, (State.ROLL, (why,))) for w in step.windows}
                self.windows.setdefault(step.rollup.table, {}).update(found)
            elif step.does is not None and step.does in CHANGES:
                for piece in step.about:
                    note(task.table, piece, CHANGES[step.does], why)
        for each in self.plan.blocked:
            state = State.NEEDS_ATTENTION if each.needs_attention else State.BLOCKED
            why = _why(each.reason, each.policy_id)
            if each.level is not None:
                blocked = {start: (end, (state, (why,))) for start, end in each.windows}
                self.windows.setdefault(each.level, {}).update(blocked)
            for piece in each.pieces if each.table in self.catalog.tables else ():
                note(each.table, piece, state, why)

    def _own_lanes(self) -> list[Lane]:
        """The data in the table; where policies share it by partitions, a lane for each of a few of their values."""
        due, items, tenants = self._due(), list[Span](), dict[str, list[Span]]()
        for piece in self.pieces:
            state, reasons = self.said.get((self.name, piece.partition.values), _UP_TO_DATE)
            wanted = due.get(piece.partition.values) if state is State.UP_TO_DATE else None
            items.append(self._partition(piece, state, reasons, wanted))
            tenants.setdefault(self._tenant(piece), []).append(items[-1])
        if not 1 < len(tenants) <= _MOST_TENANTS:
            return [make_lane("Data in the table", items, self._about())]
        found = sorted(tenants.items())
        return [make_lane(f"Data of {name}", own, f"{plural(len(own), 'partition')}.") for name, own in found]

    def _tenant(self, piece: Piece) -> str:
        """The values of a partition by which policies share the table: ``tenant=acme``."""
        shared = {column for target in self.targets for column in target.policy.where}
        known = zip(self.table.partition_columns if self.table else (), piece.partition.values, strict=False)
        pairs = [(column, value) for column, value in known if column.name in shared]
        return show_partition([column for column, _ in pairs], [value for _, value in pairs])

    def _about(self) -> str:
        table, whole = self.table, self.seen.whole
        if self.pieces or table is None:
            return f"{plural(len(self.pieces), 'partition')}."
        rows = f" It has {plural(table.rows, 'row')}." if whole and table.rows is not None else ""
        if table.partitioned_by and not whole:
            return "No partition can be identified as yours."
        if table.partitioned_by and not table.partitions:
            return f"No partitions.{rows}"
        return f"The table has no partitions by time, so expired data is deleted row by row.{rows}"

    def _partition(self, piece: Piece, state: State, reasons: tuple[str, ...], due: int | None = None) -> Span:
        of, time = piece.partition, piece.time or EVER
        name = show_partition(self.table.partition_columns if self.table else (), of.values)
        return Span(time=time, state=state, first=name, rows=of.rows, size=of.size, reasons=reasons, due=due)

    def _due(self) -> dict[tuple[object, ...], int]:
        """When each partition that stays is next due for any policy."""
        found: dict[tuple[object, ...], int] = {}
        for target in self.targets:
            wants = target.policy.enabled and not target.by_rows and not target.policy.retention_period.forever
            for piece in self.index.of(target).known if wants else ():
                values = piece.partition.values
                due = None if (self.name, values) in self.said else next_due(piece, target.policy)
                if due is not None and due > self.plan.cutoff:  # Moved partitions were due before.
                    found[values] = min(due, found.get(values, due))
        return found

    def _level_lane(self, level: CascadeLevel) -> Lane:
        name = level.rollup.table
        rows, planned = self.prepared.facts.ledger.of(name), self.windows.get(name, {})
        pieces = [p for target in self.of_levels if target.table.name == name for p in self.index.of(target).known]
        # The start of its rows, and the end of those that the next run drops.
        since = min((piece.start for piece in pieces if piece.start is not None), default=None)
        going = (p.end or 0 for p in pieces if self.said.get((name, p.partition.values), _UP_TO_DATE)[0] is State.DROP)
        dropped = max(going, default=None)
        instants = (instant for start, (end, _) in planned.items() for instant in (start, end))
        # The windows of a range are looked at only if they differ.
        known = {row.start: row for row in rows.divided(since, dropped, *instants)}
        starts = sorted({*known, *planned})
        about = partial(_window, level.rollup, since, dropped)
        found = (about(start, known.get(start), planned.get(start)) for start in starts)
        note = "Not computed yet."
        if rows:
            sealed = max((row.end for row in rows.stored if row.sealed), default=None)
            sealed_to = f"sealed up to {moment(sealed)}." if sealed is not None else "no window is sealed."
            note = f"Computed up to {moment(rows.until)}, {sealed_to}"
        return make_lane(f"Rollup {level.rollup.interval}", filter(None, found), note)

    def _moved_lane(self) -> list[Lane]:
        moving = [target.policy for target in self.targets if target.policy.strategy.traits.moves]
        wanted = {(p.reallocation_attribute_name or "", p.reallocation_attribute_value or "") for p in moving}
        items = []
        for piece in self.pieces:
            for name, value in [pair for pair in piece.partition.requires if pair in wanted][:1]:
                nodes = {node for node, attributes in self.catalog.nodes.items() if attributes.get(name) == value}
                state = State.MOVED if is_there(piece, name, value, nodes) else State.MOVING
                items.append(self._partition(piece, state, (f"nodes with {name}={value}",)))
        return (
            [make_lane("Moved to other nodes", items, "" if items else "No partition was moved yet.")] if wanted else []
        )

    def _archived_lane(self) -> list[Lane]:
        columns, partitions = (self.table.partitioned_by, self.table.partitions) if self.table else ((), ())
        there = {(columns, partition.values) for partition in partitions}
        items, ends = [], Ends(self.prepared.facts.policies, self.catalog.capabilities)
        for record in self.seen.records:
            archived, state, due = record.archived, State.ARCHIVED, ends.due(record)
            where: tuple[str, ...] = (f"in repository {archived.repository}",)
            if record.recoverable_until is not None and record.stage is not SnapshotStage.RESTORED:
                where = (*where, str(Why.RECOVERABLE_ENDS(until=to_ms(record.recoverable_until))))
            if record.key in self.ending:
                state, due, where = State.END, None, (where[0], self.ending[record.key])
            elif record.stage is SnapshotStage.RESTORED:
                state = State.RESTORED
            elif (tuple(column.name for column in archived.columns), tuple(archived.values)) in there:
                state = State.COPY
            time, name = TimeRange.of(archived.start, archived.end), show_partition(archived.columns, archived.values)
            rows, size = archived.rows, archived.size
            items.append(Span(time=time, state=state, first=name, rows=rows, size=size, reasons=where, due=due))
        return [make_lane("Archived", items, f"{plural(len(items), 'snapshot')}.")] if items else []

    def _cutoffs(self) -> Iterator[Cutoff]:
        """The policies on the table. A pattern never matches a rollup."""
        for policy in self.seen.policies:
            pattern = is_pattern(policy.table_name) or is_pattern(policy.table_schema or "")
            fits = find_tables(policy.table_schema, policy.table_name, [self.name], self.catalog.capabilities)
            if fits and not (pattern and self.name in self.catalog.rollups):
                does = policy.strategy.traits.does.format(policy)
                kept = "keep forever" if policy.keeps_all else f"{does} {policy.when}"
                parts = (kept, policy.recovery, write_pairs(policy.where))
                yield self._cutoff(policy, self.name, ", ".join(filter(None, parts)))
                if policy.strategy.traits.archives and not policy.archive_period.forever:
                    ends = policy.model_copy(update={"retention_period": policy.archive_period})
                    yield self._cutoff(ends, self.name, f"delete archives after {policy.archive_period}")

    def _level_cutoffs(self) -> Iterator[Cutoff]:
        """The expiry limits of levels: of the table itself, if it is one, and of coarser levels."""
        shown = {self.name, *(level.rollup.table for level in self.levels)}
        for level in self.cascade.levels if self.cascade else ():
            if self.cascade and level.rollup.table in shown:
                period, interval = level.retention_period, level.rollup.interval
                words = f"keep {interval} forever" if period.forever else f"drop {interval} after {period}"
                policy = self.cascade.policy.model_copy(update={"retention_period": period})
                yield self._cutoff(policy, level.rollup.table, words)

    def _cutoff(self, policy: Policy, table: TableName, words: str) -> Cutoff:
        limit = policy.limit(from_ms(self.plan.cutoff))
        return Cutoff(policy_id=policy.id or "", table=table, words=words, limit=limit, enabled=policy.enabled)

    def _notes(self) -> Iterator[str]:
        if self.table is None:
            yield "The table does not exist now."
        if not self.seen.whole:
            yield "Other users share this table; only data of your policies is shown."
        for target in self.targets if self.pieces else ():
            if target.by_rows and target.policy.enabled:
                yield f"Policy {short(target.policy.id)} deletes row by row, which is not shown here."


def timeline(prepared: Prepared, name: TableName, seen: Seen) -> Timeline:
    """The timeline of a table; ``prepared``: the plan of its policies (:func:`concerning`) that the user may see."""
    return _Look(prepared, name, seen).timeline()


def _why(reason: str, policy_id: str | None) -> str:
    return f"{reason} (policy {short(policy_id)})" if policy_id else reason


def _window(
    rollup: Rollup,
    since: int | None,
    dropped: int | None,
    start: int,
    row: LedgerRow | None,
    planned: tuple[int, Verdict] | None,
) -> Span | None:
    """A window of a level, or a range of windows; None if no row of it is left."""
    begin = start
    if planned is not None:
        end, (state, reasons) = planned
        end = until = max(end, row.until if row else end)
    else:
        begin, reasons = max(start, since or start), ()
        if row is None or row.until <= begin:
            return None
        end, until, state = row.end, row.until, State.SEALED if row.sealed else State.COMPUTED
        if dropped is not None and until <= dropped:
            state = State.DROP
    time, rows = TimeRange(begin, until), row.groups if row else None
    if row is None or row.windows == 1 or rollup.window is None:
        return Span(time=time, state=state, first=_name(start, end), rows=rows, reasons=reasons)
    length, zone = rollup.window, find_zone(rollup.window_zone)
    first, last = _name(start, length.end(start, zone)), _name(length.floor(end - 1, zone), end)
    return Span(time=time, state=state, count=row.windows, first=first, last=last, rows=rows, reasons=reasons)


def _name(start: int, end: int) -> str:
    return f"window {show(start)} to {show(end)}"
