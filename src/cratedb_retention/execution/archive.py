"""
Restores archived partitions: into their table, where a hold protects them from the next run, or into another one.
Brings back what recoverable policies deleted. Verifies snapshots, deletes them, and adopts those of a repository that
are not in the toolkit's own table.

Rows that arrive after their partition was archived are in another snapshot; all of its snapshots together make up the
partition.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cratedb_retention.clock import Actor, Clock
from cratedb_retention.engine.archive import Arrived
from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import Conflict, ConnectionLost, InvalidInput, NotFound, RetentionError
from cratedb_retention.execution.accepting import find_table, note
from cratedb_retention.model.address import is_address
from cratedb_retention.model.archive import Archived, SnapshotPlace, SnapshotRecord, SnapshotStage
from cratedb_retention.model.audit import Event
from cratedb_retention.model.catalog import Catalog, Kind, Partition, Selector, Table, TableName, Value
from cratedb_retention.model.holds import HoldKind, LegalHold
from cratedb_retention.model.plan.plan import ArchivingStep, DropArchived, ThawPartitions
from cratedb_retention.model.plan.reasons import Reason, Why, failure
from cratedb_retention.model.policies.patterns import matcher
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.policies.tags import TagFilter
from cratedb_retention.model.step import Piece
from cratedb_retention.model.time import from_ms, show, to_ms
from cratedb_retention.model.words import begins, plural
from cratedb_retention.planning.archive import Ends, find_earlier, hold_on, in_order
from cratedb_retention.planning.policies import Finding
from cratedb_retention.store.archive import SnapshotFilter
from cratedb_retention.store.rows import same
from cratedb_retention.store.store import Store

# Stages of a snapshot whose partition was, or is, in its table.
_STAYED = (SnapshotStage.CREATED, SnapshotStage.RESTORED)
# Those that can be undone: the partition was dropped, or a run or an undo that was killed may have left it half.
_UNDOABLE = (SnapshotStage.DROPPING, SnapshotStage.ARCHIVED, SnapshotStage.RESTORING)
_NAMED = 3  # Snapshots that a finding names.


@dataclass(frozen=True, kw_only=True)
class RestoreRequest:
    """Selects snapshots; each attribute that is set must match."""

    name: str | None = None  # A snapshot's name, or its first six characters.
    table_schema: str | None = None  # Name or pattern, as is `table_name`.
    table_name: str | None = None
    start: dt.datetime | None = None  # Only data after this aware instant.
    end: dt.datetime | None = None  # Only data before this aware instant.
    into: TableName | None = None  # The table to restore into; None: their own.
    repository: str | None = None  # The name of the repository.
    tags: TagFilter = field(default_factory=TagFilter)  # Only snapshots of policies that had these tags.
    chosen: frozenset[tuple[str, str]] | None = None  # Only these, by repository and whole name.
    run_id: str | None = None  # Only what this run dropped or archived, or one whose first six characters these are.
    policy_id: str | None = None  # Only snapshots of this policy, likewise.
    # Only what recoverable policies deleted and was not brought back; rows that arrived since stay beside it.
    undo: bool = False
    from_repository: str | None = None  # Read this repository instead of the toolkit's own table.
    after: SnapshotPlace | None = None  # Of the list of all snapshots, only those behind this place.

    def fits(self, record: SnapshotRecord, folds_case: bool = False) -> bool:
        """Whether a snapshot matches. One whose time is unknown matches any time."""
        archived = record.archived
        return (
            (self.name is None or begins(archived.name, self.name))
            and (self.table_schema is None or matcher(self.table_schema, folds_case)(archived.table.schema))
            and (self.table_name is None or matcher(self.table_name, folds_case)(archived.table.name))
            and (self.repository is None or archived.repository == self.repository)
            and (self.chosen is None or record.key in self.chosen)
            and (self.run_id is None or begins(record.run_id or "", self.run_id))
            and (self.policy_id is None or begins(record.policy_id or "", self.policy_id))
            and (not self.undo or (record.recoverable_until is not None and record.stage in _UNDOABLE))
            and (self.start is None or archived.end is None or archived.end > to_ms(self.start))
            and (self.end is None or archived.start is None or archived.start < to_ms(self.end))
            and self.tags.fits(record.tags)
        )

    @classmethod
    def of_undo(
        cls,
        run_id: str | None = None,
        policy_id: str | None = None,
        table_schema: str | None = None,
        table_name: str | None = None,
    ) -> RestoreRequest:
        """What to bring back: all that a run, a policy or both deleted, or of a table; InvalidInput without any."""
        if run_id is None and policy_id is None and table_name is None:
            raise InvalidInput("undo", "nothing is selected", "give a run, --policy or --table-name")
        return cls(run_id=run_id, policy_id=policy_id, table_schema=table_schema, table_name=table_name, undo=True)

    def choose(self, records: Sequence[SnapshotRecord], folds_case: bool) -> list[SnapshotRecord]:
        """All snapshots of the matching partitions, even if their own times differ."""
        wanted = {record.partition for record in records if self.fits(record, folds_case)}
        any_time = replace(self, start=None, end=None)
        return [each for each in records if each.partition in wanted and any_time.fits(each, folds_case)]


@dataclass(frozen=True, kw_only=True)
class Restored:
    """The result for one snapshot: its rows, or the error."""

    record: SnapshotRecord
    into: TableName
    rows: int | None = None
    hold_id: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Verified:
    """The result of reading a snapshot back: a description, or the error."""

    record: SnapshotRecord
    found: str | None = None
    error: str | None = None


def find_snapshots(store: Store, request: RestoreRequest) -> Iterator[SnapshotRecord]:
    """The snapshots that match, by table and time; they are read page by page."""
    return (record for record in _narrow(store, request) if request.fits(record, store.folds_case))


def _narrow(store: Store, request: RestoreRequest) -> Iterator[SnapshotRecord]:
    """What the database finds by a request: all that match, and few others."""
    wanted = SnapshotFilter(
        **same(request, ("table_schema", "table_name", "name", "repository", "tags", "after")),
        policy=request.policy_id,
        run=request.run_id,
        names={name for _, name in request.chosen or ()},
        start=None if request.start is None else to_ms(request.start),
        end=None if request.end is None else to_ms(request.end),
        folds_case=store.folds_case,
    )
    return store.snapshots.stream(wanted)


def verify_snapshots(
    engine: Engine, store: Store, request: RestoreRequest, told: Callable[[Verified], None] | None = None
) -> list[Verified]:
    """Verify each snapshot that matches, even after damaged ones. NotFound: none matches the request."""
    found = []
    records = list(find_snapshots(store, request))
    named = (request.name, request.table_schema, request.table_name, request.start, request.end, request.repository)
    if not records and any(value is not None for value in named):
        raise none_fits()
    engine.archive.tidy(store.schema)
    tidy_copies(engine, store)
    for record in records:
        why = None
        try:
            verified = Verified(record, found=engine.archive.verify(record.archived, store.schema))
        except RetentionError as error:
            verified, why = Verified(record, error=str(error)), failure(error)
        store.snapshots.verified(record, verified.error)
        _note(store, Event.VERIFIED, record, record.archived.table, record.archived.rows, why)
        found.append(verified)
        if told is not None:
            told(verified)
    return found


@dataclass(frozen=True, kw_only=True)
class Deletable:
    """What deleting would do with a snapshot."""

    record: SnapshotRecord
    why_not: Reason | None = None  # Why it would stay; None: it would be deleted.

    @property
    def refusal(self) -> str | None:
        return str(self.why_not) if self.why_not else None


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """The result of deleting a snapshot."""

    record: SnapshotRecord
    why_not: Reason | None = None  # Why it still exists; None: it is gone.

    @property
    def error(self) -> str | None:
        return str(self.why_not) if self.why_not else None


_IN_USE = {SnapshotStage.DROPPING: Why.BEING_DROPPED(), SnapshotStage.RESTORING: Why.BEING_RESTORED()}


def preview_delete(engine: Engine, store: Store, request: RestoreRequest) -> list[Deletable]:
    """All snapshots of each matching partition, in the order of deletion, and why some stay; NotFound: none matches."""
    known = list(_narrow(store, replace(request, start=None, end=None)))
    records = request.choose(known, store.folds_case)
    if not records:
        raise none_fits()
    holds, own = store.holds.active(), engine.capabilities
    staying = {r.key: why for r in records if (why := _IN_USE.get(r.stage) or hold_on(r.archived, holds, own))}
    tables = sorted({record.archived.table for record in records})
    earlier = (record for table in tables for record in store.snapshots.of(table, SnapshotStage.SUPERSEDED))
    for key, other in find_earlier([r for r in records if r.key not in staying], earlier).items():
        staying[key] = staying.get(other.key) or Why.EARLIER_STAYS(earlier=other.archived.name)
    return [Deletable(record=record, why_not=staying.get(record.key)) for record in in_order(records)]


def delete_snapshots(
    engine: Engine, store: Store, request: RestoreRequest, told: Callable[[Deleted], None] | None = None
) -> list[Deleted]:
    """
    Delete snapshots for good, except those that :func:`preview_delete` refuses; each result is reported at once. After
    a failure, the other snapshots of its partition stay.
    """
    found, failed = list[Deleted](), set[object]()
    for item in preview_delete(engine, store, request):
        record, error = item.record, item.why_not
        if error is None and record.partition in failed:
            error = Why.SKIPPED(cause="an earlier snapshot of its partition was not deleted")
        if error is None:  # A hold may have been placed in the meantime.
            error = hold_on(record.archived, store.holds.active(), engine.capabilities)
        if error is None:
            error = _delete(engine, store, record)
            _note(store, Event.SNAPSHOT_DELETED, record, record.archived.table, record.archived.rows, error)
        failed.update([record.partition] if error else [])
        found.append(Deleted(record=record, why_not=error))
        if told is not None:
            told(found[-1])
    return found


def _delete(engine: Engine, store: Store, record: SnapshotRecord) -> Reason | None:
    """Delete a snapshot and its record; returns why that failed. If this is killed, it can be repeated."""
    snapshots, key = store.snapshots, record.key
    try:
        if not snapshots.claim(*key, SnapshotStage.DELETING, {record.stage}):
            raise Conflict(f"snapshot {record.archived.name}", "was changed in the meantime", "check it again")
        try:
            engine.archive.delete(record.archived)
        except RetentionError as error:
            if not isinstance(error, ConnectionLost):  # Without a response, it is unknown whether it still exists.
                snapshots.mark(*key, record.stage)
            raise
        snapshots.remove(*key)
    except RetentionError as error:
        return failure(error)
    return None


def is_own(engine: Engine, record: SnapshotRecord, into: TableName | None) -> bool:
    """Whether a snapshot would be restored into its own table, even if that is named explicitly."""
    table = record.archived.table
    if into is None or into == table:
        return True
    return engine.capabilities.folds_case and str(into).casefold() == str(table).casefold()


def find_restorable(engine: Engine, store: Store, clock: Clock, request: RestoreRequest) -> list[SnapshotRecord]:
    """All snapshots of each matching partition, except superseded ones; NotFound: none matches."""
    if request.from_repository is None:
        known = list(_narrow(store, replace(request, start=None, end=None)))
    else:
        known = [each.record for each in find_adoptable(engine, store, clock, request.from_repository)]
    records = [record for group in by_partition(request.choose(known, store.folds_case)) for record in current(group)]
    if not records:
        raise nothing_to_undo() if request.undo else none_fits()
    return records


def find_ends(engine: Engine, store: Store) -> Ends:
    """When archives end by the policies as they are now."""
    return Ends((stored.policy for stored in store.policies.all()[0]), engine.capabilities)


def nothing_to_undo() -> NotFound:
    why = "no recoverable policy deleted it, it was brought back already, or its archive has ended"
    return NotFound("undo", f"nothing can be brought back: {why}", "`cratedb-retention list-snapshots` lists archives")


def none_fits() -> NotFound:
    return NotFound("snapshots", "none matches", "`cratedb-retention list-snapshots` lists all")


def by_partition(records: Iterable[SnapshotRecord]) -> list[list[SnapshotRecord]]:
    """Snapshots grouped by partition, oldest first; groups in the order of their first snapshot."""
    groups: dict[tuple[TableName, tuple[Value, ...]], list[SnapshotRecord]] = {}
    for record in records:
        groups.setdefault(record.partition, []).append(record)
    return [sorted(group, key=lambda record: record.changed_at) for group in groups.values()]


def current(group: Sequence[SnapshotRecord]) -> list[SnapshotRecord]:
    """
    The snapshots of a partition that contain different rows; if all are superseded, the latest.

    Earlier versions did not record that a partition was archived again after it was restored, or not dropped.
    """
    dropped = [r.changed_at for r in group if r.stage in (SnapshotStage.DROPPING, SnapshotStage.ARCHIVED)]
    current = [
        record
        for record in group
        if record.stage is not SnapshotStage.SUPERSEDED
        # The partition was, or is, in its table.
        and not (record.stage in _STAYED and dropped and record.changed_at < max(dropped))
    ]
    return current or list(group[-1:])


def refusal(group: Sequence[SnapshotRecord], own: bool, present: Table | None) -> str | None:
    """Why a partition must not be restored, such as into another table of the same name; or None."""
    if own and any(record.stage is SnapshotStage.SUPERSEDED for record in group):
        return (
            "a later snapshot contains its rows as well; restore that one, or this one into another table with --into"
        )
    made_of, table = {record.identity for record in group if record.identity}, group[0].archived.table
    if len(made_of) > 1:
        return f"another snapshot of this partition is of another table named {table}; choose one by its name"
    if own and present is not None and made_of - {present.identity}:
        return (
            f"it is from an earlier table named {table}, which was dropped; restore it into another table with --into, "
            "or run `cratedb-retention accept-table`"
        )
    return None


@dataclass(kw_only=True)
class Restoring:
    """Restores partitions. A table that does not exist is created with the columns of all snapshots."""

    engine: Engine
    store: Store
    clock: Clock
    actor: Actor
    request: RestoreRequest
    every: Sequence[Archived] = ()
    present: Mapping[TableName, Table | None] = field(default_factory=dict)
    holds: dict[TableName, LegalHold] = field(default_factory=dict)
    in_force: frozenset[str] = frozenset()

    def run(self, told: Callable[[Restored], None] | None = None) -> list[Restored]:
        """Restore each matching partition; each result is reported at once. NotFound: none matches."""
        groups = by_partition(find_restorable(self.engine, self.store, self.clock, self.request))
        self.every = [record.archived for group in groups for record in group]
        self.present = {name: find_table(self.engine, name) for name in {archived.table for archived in self.every}}
        if self.request.from_repository is not None:
            adopted = {record.key for group in groups for record in group}
            adopt(self.engine, self.store, self.clock, self.request.from_repository, lambda r: r.key in adopted)
        self._place_holds(groups)
        found: list[Restored] = []
        # The first one creates a missing table, and the latest partitions have all of its columns.
        if self.request.into is not None:
            groups.sort(
                key=lambda g: (g[0].archived.table, -g[-1].changed_at.timestamp(), -(g[-1].archived.start or 0))
            )
        for group in groups:
            for restored in self._restore(group):
                found.append(restored)
                if told is not None:
                    told(restored)
        self._finish(found)
        order = {(archived.repository, archived.name): place for place, archived in enumerate(self.every)}
        return sorted(found, key=lambda item: order[item.record.key])

    def _is_own(self, group: Sequence[SnapshotRecord]) -> bool:
        return is_own(self.engine, group[0], self.request.into)

    def _place_holds(self, groups: Sequence[Sequence[SnapshotRecord]]) -> None:
        """Place one hold for each table before its rows are restored, since a run may see them at once."""
        coming: dict[TableName, list[Sequence[SnapshotRecord]]] = {}
        for group in groups:
            table = group[0].archived.table
            if self._is_own(group) and not refusal(group, True, self.present[table]):
                coming.setdefault(table, []).append(group)
        self.in_force = frozenset(hold.id for hold in self.store.holds.active())
        now = to_ms(self.clock.now())
        for table, restored in coming.items():
            present, keys = self.present[table], sorted(record.key for group in restored for record in group)
            several = f"{plural(len(keys), 'snapshot')}, the first of them " if len(keys) > 1 else ""
            hold = LegalHold(
                id=hashlib.sha256(json.dumps(keys).encode()).hexdigest()[:32],  # The same when repeated.
                table_schema=table.schema,
                table_name=table.name,
                reason=f"restored from {several}{restored[0][0].archived.name} on {show(now)}",
                kind=HoldKind.RESTORED,
                placed_by=self.actor.name,
                placed_at=now,
                identity=self.engine.identify(present) if present else "",
            )
            self.holds[table] = _covering(hold, [group[0].archived for group in restored])
            self.store.holds.place(self.holds[table])

    def _restore(self, group: Sequence[SnapshotRecord]) -> list[Restored]:
        table, own, found = group[0].archived.table, self._is_own(group), list[Restored]()
        target = table if own or self.request.into is None else self.request.into
        hold_id = self.holds[table].id if own and table in self.holds else None
        try:
            if why_not := refusal(group, own, self.present[table]):
                raise Conflict(f"snapshot {group[0].archived.name}", why_not)
            arrived = self._bring_back(group, target, own)
        except RetentionError as error:
            for record in group:
                self._note(record, target, None, failure(error))
            return [Restored(record=record, into=target, error=str(error)) for record in group]
        for record, rows in zip(group, arrived.rows, strict=True):
            self._note(record, target, rows, None)
            found.append(Restored(record=record, into=target, rows=rows, hold_id=hold_id))
        return found

    def _note(self, record: SnapshotRecord, table: TableName, rows: int | None, why: Reason | None) -> None:
        """Record it in the audit log; if it is undone, as a part of the run that deleted it."""
        run = {"run_id": record.run_id} if self.request.undo else {}
        _note(self.store, Event.RESTORED, record, table, rows, why, **run)

    def _bring_back(self, group: Sequence[SnapshotRecord], target: TableName, own: bool) -> Arrived:
        """Restore, and record it before, so that the next restore or run knows of an interrupted one."""
        snapshots, freezes, archived = self.store.snapshots, self.store.freezes, [record.archived for record in group]
        before, values, noted = {record.key: record.stage for record in group} if own else {}, archived[0].values, False
        for key in before:
            snapshots.mark(*key, SnapshotStage.RESTORING)
        try:
            # A partition is restored as frozen as it was archived. If this is killed, the next run unfreezes it.
            noted = self.engine.capabilities.freezes and freezes.note(target, archived[0].columns, values)
            if self.request.undo:
                if self.engine.capabilities.freezes and not noted:  # A run or an undo was killed while it was frozen.
                    self.engine.perform(_thaw(archived[0]), lambda progress: None)
                arrived = self.engine.archive.merge(archived, target, self.store.schema, self.every)
            else:
                arrived = self.engine.archive.restore(archived, target, self.store.schema, self.every)
            if self.engine.capabilities.freezes:
                freezes.remove(target, [values])
        except RetentionError as error:
            if noted and isinstance(error, Conflict):  # It exists already, so it was not frozen here.
                freezes.remove(target, [values])
            # Without a response, it is unknown whether the partition was restored.
            for key, stage in before.items() if not isinstance(error, ConnectionLost) else ():
                snapshots.mark(*key, stage)
            raise
        for key in before:
            snapshots.mark(*key, SnapshotStage.RESTORED, arrived.token)
        return arrived

    def _finish(self, found: Sequence[Restored]) -> None:
        """Reduce holds to restored partitions, and record the identities of tables that were created."""
        holds, back = self.store.holds, [item for item in found if not item.error]
        for table, hold in self.holds.items():
            came = [item.record.archived for item in back if item.record.archived.table == table]
            covering = _covering(hold, came)
            # An earlier restore of the same partitions may have placed it.
            if hold.id not in self.in_force and covering != hold:
                holds.narrow(covering) if came else holds.release(hold.id)
        for name in {item.into for item in back if item.into in self.present and self.present[item.into] is None}:
            created, placed = find_table(self.engine, name), self.holds.get(name)
            if created is not None:
                self.store.identify(name, self.engine.identify(created))
                for hold in holds.active() if placed else ():
                    if placed and hold.id == placed.id:
                        holds.narrow(replace(hold, identity=self.engine.identify(created)))


def _thaw(archived: Archived) -> ThawPartitions:
    piece = Piece(partition=Partition(values=archived.values), start=None, end=None)
    return ThawPartitions(table=archived.table, columns=archived.columns, pieces=(piece,))


def _covering(hold: LegalHold, partitions: Iterable[Archived]) -> LegalHold:
    """The hold, limited to these partitions."""
    found: list[dict[str, Value]] = []
    for each in partitions:
        values = {
            # As users write values of holds: instants as ISO 8601.
            c.name: from_ms(value).isoformat() if c.kind is Kind.TIME and isinstance(value, int) else value
            for c, value in zip(each.columns, each.values, strict=True)
        }
        found += [] if values in found else [values]
    one = len(found) == 1
    return replace(hold, where=found[0] if one else {}, partitions=() if one else tuple(found))


def _note(
    store: Store,
    event: Event,
    record: SnapshotRecord,
    table: TableName,
    rows: int | None,
    why: Reason | None,
    **more: str | None,
) -> None:
    mine = {"policy_id": record.policy_id, "tags": record.tags}
    note(store, event, table, why, message=record.words, rows=rows, partitions=1, **mine, **more)


def supersede(engine: Engine, store: Store, step: DropArchived) -> None:
    """
    Before a partition is dropped, mark earlier snapshots whose rows are in the new one, so that a restore returns each
    row once. Snapshots that cannot be read stay unchanged. Conflict: only a part of a snapshot was restored.
    """
    mine = (step.repository, step.name)
    # Snapshots that were restored together: the new one contains all of them, or none.
    together: dict[object, list[SnapshotRecord]] = {}
    for record in store.snapshots.of(step.table, *_STAYED, SnapshotStage.DROPPING, SnapshotStage.RESTORING):
        if record.archived.values == step.values and record.key != mine:
            # Of several that are files, a part may have been restored.
            alone = _token_of(record) is None and is_address(record.archived.repository)
            together.setdefault(record.key if alone else _token_of(record), []).append(record)
    for group in together.values():
        with _ignoring_damage():
            token = _token_of(group[0])
            goes_on = any(
                engine.archive.continues(each.archived, step, token, each.stage is SnapshotStage.DROPPING, store.schema)
                for each in group
            )
            for record in group:
                stage = SnapshotStage.SUPERSEDED if goes_on else SnapshotStage.ARCHIVED
                store.snapshots.mark(*record.key, stage)


def require_whole_restores(engine: Engine, store: Store, step: ArchivingStep) -> None:
    """Before a partition is archived: Conflict if an interrupted restore from files left a part of their rows in it."""
    for record in store.snapshots.of(step.table, SnapshotStage.RESTORING) if is_address(step.repository) else ():
        if record.archived.values == step.values and is_address(record.archived.repository):
            with _ignoring_damage():
                engine.archive.continues(record.archived, step, None, False, store.schema)


def _token_of(record: SnapshotRecord) -> str | None:
    """The token of a snapshot's partition; None: an interrupted restore may have been complete, or not."""
    return None if record.stage is SnapshotStage.RESTORING else record.token


@contextlib.contextmanager
def _ignoring_damage() -> Iterator[None]:
    """Continue if a snapshot cannot be read, but not if it is unknown which of its rows are in a table."""
    try:
        yield
    except Conflict:
        raise
    except RetentionError:
        pass


def tidy_copies(engine: Engine, store: Store, ours: Collection[str] = ()) -> None:
    """Drop copies of snapshots that killed runs left behind; ``ours``: policies whose leases this run holds."""

    def in_use() -> set[str]:
        leases = store.leases.read()
        busy = {policy for policy, lease in leases.by_policy.items() if not lease.is_free(leases.now)}
        others = busy.difference(ours)
        found = store.snapshots.stream(SnapshotFilter(policies=others)) if others else ()
        return {record.archived.name for record in found if record.policy_id in others}

    engine.archive.tidy(store.schema, in_use)


def settle(store: Store, catalog: Catalog) -> None:
    """Record that partitions, which a killed run was dropping, no longer exist."""
    for record in store.snapshots.of(None, SnapshotStage.DROPPING):
        table = catalog.tables.get(record.archived.table)
        if table is not None and all(p.values != record.archived.values for p in table.partitions):
            store.snapshots.mark(*record.key, SnapshotStage.ARCHIVED)


def find_strays(engine: Engine, store: Store, policies: Iterable[Policy]) -> list[Finding]:
    """
    What differs between the repositories of policies and the toolkit's own table: snapshots that only one of them
    knows, what interrupted runs and commands left behind, and a directory or bucket that does not exist.
    """
    users: dict[str, list[Policy]] = {}
    for policy in policies:
        if policy.target_repository_name:
            users.setdefault(policy.target_repository_name, []).append(policy)
    found = []
    for repository, of in sorted(users.items()):
        ids = tuple(policy.id or "" for policy in of)
        named = TableName(of[0].table_schema or engine.capabilities.default_schema, of[0].table_name)
        found += [Finding(table or named, ids, why) for table, why in _strays(engine, store, repository)]
    return found


def _strays(engine: Engine, store: Store, repository: str) -> Iterator[tuple[TableName | None, Reason]]:
    records = store.snapshots.stream(SnapshotFilter(repository=repository))
    known = {record.archived.name: record.archived.table for record in records}
    try:
        contents = engine.archive.contents(repository)
    except NotFound as error:
        if known:
            yield None, Why.REPOSITORY_GONE(repository=repository, count=len(known))
        elif is_address(repository):  # A directory that is not an address is created by the first run.
            yield None, Why.NO_PLACE(repository=repository, mistake=f"{error.reason}; {error.remedy}")
        return
    gone = known.keys() - contents.snapshots
    for table in sorted({known[name] for name in gone}):
        names = [name for name in gone if known[name] == table]
        yield table, Why.SNAPSHOTS_GONE(repository=repository, count=len(names), names=_some(names))
    if unknown := contents.snapshots - known.keys():
        yield None, Why.SNAPSHOTS_UNKNOWN(repository=repository, count=len(unknown), names=_some(unknown))
    if contents.leftovers:
        left = contents.leftovers
        yield None, Why.LEFTOVERS(repository=repository, count=len(left), names=_some(left))


def _some(names: Collection[str]) -> tuple[str, ...]:
    return (*sorted(names)[:_NAMED], *(["..."] if len(names) > _NAMED else []))


@dataclass(frozen=True)
class Adoptable:
    """A snapshot in a repository, and whether it is in the toolkit's own table already."""

    record: SnapshotRecord
    known: bool


def find_adoptable(engine: Engine, store: Store, clock: Clock, repository: str) -> list[Adoptable]:
    """The snapshots of a repository, by table and time; NotFound: the repository does not exist."""
    known = {record.key: record for record in store.snapshots.stream(SnapshotFilter(repository=repository))}
    found = engine.archive.find(repository, store.schema)
    tables = read_tables(engine, ((each, each.table) for each, _ in found))
    there = {(name, partition.values) for name, table in tables.items() for partition in table.partitions}
    every = []
    for each, superseded in found:
        # A partition in its table may have been restored, or not dropped yet; archiving compares the rows.
        present = (each.table, each.values) in there
        stage = SnapshotStage.RESTORED if present else SnapshotStage.ARCHIVED
        stage = SnapshotStage.SUPERSEDED if superseded else stage
        record = SnapshotRecord(archived=each, stage=stage, changed_at=clock.now())
        every.append(Adoptable(known.get(record.key, record), record.key in known))
    return sorted(every, key=lambda one: (one.record.archived.table, one.record.archived.start or 0, one.record.key))


def adopt(
    engine: Engine,
    store: Store,
    clock: Clock,
    repository: str,
    fits: Callable[[SnapshotRecord], bool],
    dry_run: bool = False,
) -> list[Adoptable]:
    """Record matching snapshots of a repository in the toolkit's own table, without changing known ones."""
    found = [item for item in find_adoptable(engine, store, clock, repository) if fits(item.record)]
    for record in (item.record for item in found if not item.known and not dry_run):
        store.snapshots.add(record)
        archived = record.archived
        note(store, Event.ADOPTED, archived.table, message=record.words, rows=archived.rows, partitions=1)
    return found


def read_tables(engine: Engine, archived: Iterable[tuple[Archived, TableName]]) -> Mapping[TableName, Table]:
    """The tables to restore into. On DuckDB, the archive names the partition column if the table does not."""
    wanted: dict[TableName, Selector] = {}
    for each, table in archived:
        column = each.columns[0].name if len(each.columns) == 1 else None
        wanted.setdefault(table, Selector(schema=table.schema, name=table.name, partition_column=column))
    return engine.read_catalog(list(wanted.values())).tables if wanted else {}
