"""
Brings archived partitions back: into their table, where a hold protects them from the next run, or beside it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from cratedb_retention.clock import Actor, Clock
from cratedb_retention.engine.archive import Archived
from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import Conflict, NotFound, RetentionError
from cratedb_retention.model.catalog import Column, Kind, TableName, Value
from cratedb_retention.model.holds import HoldKind, LegalHold
from cratedb_retention.model.identifiers import begins
from cratedb_retention.model.instant import from_ms, show, to_ms
from cratedb_retention.model.patterns import matcher
from cratedb_retention.model.tags import TagFilter
from cratedb_retention.model.words import show_partition
from cratedb_retention.store.journal import Entry, Event, Outcome
from cratedb_retention.store.snapshots import SnapshotRecord, SnapshotStage
from cratedb_retention.store.store import Store


@dataclass(frozen=True)
class RestoreRequest:
    """
    Which snapshots are wanted; each attribute that is set must fit.

    :param name: A snapshot's name, or six characters of its beginning.
    :param table_schema: Name or pattern.
    :param table_name: Name or pattern.
    :param start: Only what reaches beyond this aware instant.
    :param end: Only what begins before this aware instant.
    :param into: Where restored partitions go; None: into their own table.
    :param repository: The name of their repository.
    :param tags: Only snapshots of policies that had these tags.
    :param chosen: Only these, by repository and whole name; None: any.
    """

    name: str | None = None
    table_schema: str | None = None
    table_name: str | None = None
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    into: TableName | None = None
    repository: str | None = None
    tags: TagFilter = field(default_factory=TagFilter)
    chosen: frozenset[tuple[str, str]] | None = None

    def going(self, into: TableName | None) -> RestoreRequest:
        """The same, into a table."""
        return replace(self, into=into)

    def fits(self, record: SnapshotRecord, folds_case: bool = False) -> bool:
        """
        Tell whether a snapshot is wanted. One of unknown time fits any time.

        :param folds_case: Whether names of tables that differ in case only are one name.
        """
        table = record.archived.table
        return (
            (self.name is None or begins(record.archived.name, self.name))
            and (self.table_schema is None or matcher(self.table_schema, folds_case)(table.schema))
            and (self.table_name is None or matcher(self.table_name, folds_case)(table.name))
            and (self.start is None or record.end is None or record.end > to_ms(self.start))
            and (self.end is None or record.start is None or record.start < to_ms(self.end))
            and (self.repository is None or record.archived.repository == self.repository)
            and (self.chosen is None or (record.archived.repository, record.archived.name) in self.chosen)
            and self.tags.fits(record.tags)
        )


@dataclass(frozen=True)
class Restored:
    """What became of one snapshot: its rows are there, or the error says why not."""

    record: SnapshotRecord
    into: TableName
    rows: int | None = None
    hold_id: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Verified:
    """What reading a snapshot back found: in words, or an error."""

    record: SnapshotRecord
    found: str | None = None
    error: str | None = None


def find_snapshots(store: Store, request: RestoreRequest) -> list[SnapshotRecord]:
    """The snapshots that fit, by table and time."""
    return [record for record in store.snapshots.all() if request.fits(record, store.folds_case)]


def verify_snapshots(
    engine: Engine, store: Store, request: RestoreRequest, told: Callable[[Verified], None] | None = None
) -> list[Verified]:
    """
    Read each snapshot that fits; one that is damaged does not stop the others.

    :param told: Is told of each as soon as it was read.
    :raises NotFound: if none fits, where not just all are meant.
    """
    found = []
    records = find_snapshots(store, request)
    if not records and request != RestoreRequest():
        raise none_fits()
    engine.archive.tidy(store.schema)
    for record in records:
        found.append(_verify_one(engine, store, record))
        if told is not None:
            told(found[-1])
    return found


def _verify_one(engine: Engine, store: Store, record: SnapshotRecord) -> Verified:
    try:
        verified = Verified(record, found=engine.archive.verify(record.archived, store.schema))
    except RetentionError as error:
        verified = Verified(record, error=str(error))
    _note(store, Event.VERIFIED, record, record.archived.table, record.archived.rows, verified.error)
    return verified


def snapshot_words(record: SnapshotRecord) -> str:
    """How the journal names a snapshot: ``month=2024-01-01 from repository.name``."""
    archived = record.archived
    return f"{show_partition(archived.columns, archived.values)} from {archived.repository}.{archived.name}"


def restore(
    engine: Engine,
    store: Store,
    clock: Clock,
    actor: Actor,
    request: RestoreRequest,
    told: Callable[[Restored], None] | None = None,
) -> list[Restored]:
    """
    Bring back each partition that fits.

    :param told: Is told of each as soon as it is back, or is not.
    :raises NotFound: if none fits.
    """
    found = []
    for record in find_restorable(store, request):
        found.append(_restore_one(engine, store, clock, actor, record, request.into))
        if told is not None:
            told(found[-1])
    return found


def find_restorable(store: Store, request: RestoreRequest) -> list[SnapshotRecord]:
    """
    What a restore would bring back: of each partition that fits the latest snapshot.

    :raises NotFound: if none fits.
    """
    records = _choose_latest(find_snapshots(store, request))
    if not records:
        raise none_fits()
    return records


def none_fits() -> NotFound:
    """What to say where snapshots are asked for that there are not."""
    return NotFound("snapshots", "none fits", "`cratedb-retention list-snapshots` shows what there is")


def _choose_latest(records: Sequence[SnapshotRecord]) -> list[SnapshotRecord]:
    latest: dict[tuple[TableName, object], SnapshotRecord] = {}
    for record in sorted(records, key=lambda r: r.changed_at):
        latest[record.archived.table, record.archived.values] = record
    return [record for record in records if latest[record.archived.table, record.archived.values] is record]


def _restore_one(
    engine: Engine, store: Store, clock: Clock, actor: Actor, record: SnapshotRecord, into: TableName | None
) -> Restored:
    archived = record.archived
    target = into or archived.table
    hold = None if into else _hold_for(record, clock, actor)
    was_held = hold is not None and any(existing.id == hold.id for existing in store.holds.active())
    if hold is not None:
        # The hold comes first: from the moment that the rows are there, a run may be looking at them.
        store.holds.place(hold)
    try:
        rows = _bring_back(engine, store, archived, target)
    except RetentionError as error:
        if hold is not None and not was_held:
            store.holds.release(hold.id)
        _note(store, Event.RESTORED, record, target, None, str(error))
        return Restored(record, target, error=str(error))
    if into is None:
        store.snapshots.mark(archived.repository, archived.name, SnapshotStage.RESTORED)
    _note(store, Event.RESTORED, record, target, rows, None)
    return Restored(record, target, rows, hold.id if hold else None)


def _bring_back(engine: Engine, store: Store, archived: Archived, target: TableName) -> int | None:
    """
    Restore, and note before that it comes back as frozen as it was archived: if this is killed before the thaw, the
    next run does it.
    """
    noted = engine.capabilities.freezes and store.freezes.note(target, archived.columns, archived.values)
    try:
        rows = engine.archive.restore(archived, target)
    except Conflict:  # It is there already, and who froze it is another matter.
        if noted:
            store.freezes.remove(target, [archived.values])
        raise
    if engine.capabilities.freezes:
        store.freezes.remove(target, [archived.values])
    return rows


def _hold_for(record: SnapshotRecord, clock: Clock, actor: Actor) -> LegalHold:
    """The hold on a restored partition; always the same for the same snapshot, so that repeating adds none."""
    archived = record.archived
    now = to_ms(clock.now())
    identity = f"{archived.repository}/{archived.name}/{record.changed_at.isoformat()}"
    return LegalHold(
        id=hashlib.sha256(identity.encode()).hexdigest()[:32],
        table_schema=archived.table.schema,
        table_name=archived.table.name,
        where={c.name: _readable(c, value) for c, value in zip(archived.columns, archived.values, strict=True)},
        reason=f"restored from {archived.name} on {show(now)}",
        kind=HoldKind.RESTORED,
        placed_by=actor.name,
        placed_at=now,
    )


def _readable(column: Column, value: Value) -> Value:
    """A partition value as a person would write it into a hold: instants as ISO 8601."""
    if column.kind is Kind.TIME and isinstance(value, int):
        return from_ms(value).isoformat()
    return value


def _note(
    store: Store, event: Event, record: SnapshotRecord, table: TableName, rows: int | None, error: str | None
) -> None:
    store.journal.write(
        Entry(
            event,
            Outcome.FAILED if error else Outcome.DONE,
            table_schema=table.schema,
            table_name=table.name,
            policy_id=record.policy_id,
            tags=record.tags,
            message=snapshot_words(record),
            error=error,
            rows=rows,
            partitions=1,
        )
    )
