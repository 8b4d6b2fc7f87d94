"""
Takes what is in the database for what the toolkit knows, or made: a table for the earlier one of its name, which was
dropped and created again, and snapshots in a repository that are not in the toolkit's own table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cratedb_retention.clock import Clock
from cratedb_retention.engine.archive import Archived, Found
from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import NotFound
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import Selector, Table, TableName, Value
from cratedb_retention.model.patterns import find_tables
from cratedb_retention.model.words import show_partition
from cratedb_retention.store.archive import SnapshotRecord, SnapshotStage
from cratedb_retention.store.audit import Entry
from cratedb_retention.store.store import Store


def find_table(engine: Engine, name: TableName) -> Table | None:
    """The table that has a name now, however that is spelt."""
    catalog = engine.read_named([name])
    there = catalog.taken(name)
    return catalog.tables.get(there) if there else None


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What is known of an earlier table of the same name: so many rollups, snapshots and holds."""

    rollups: int
    snapshots: int
    holds: int


def find_earlier(engine: Engine, store: Store, name: TableName) -> Earlier | None:
    """What is known of another table that had a name before the one that has it now; None: nothing."""
    table = find_table(engine, name)
    if table is None:
        return None
    rollups = [known.identity for known in store.rollups.all().values() if known.rollup.source == name]
    snapshots = [record.identity for record in store.snapshots.all() if record.archived.table == name]
    holds = [hold.identity for hold in store.holds.active() if (hold.table_schema, hold.table_name) == name]
    own = table.identity or engine.identify(table.name)
    counts = [sum(each not in ("", own) for each in identities) for identities in (rollups, snapshots, holds)]
    return Earlier(rollups=counts[0], snapshots=counts[1], holds=counts[2]) if any(counts) else None


def accept_tables(engine: Engine, store: Store, schema: str, pattern: str) -> list[TableName]:
    """
    Take the tables that have some names now for those that rollups, snapshots, holds and freezes of these names are of.

    :param schema: Name or pattern, likewise ``pattern``.
    :raises NotFound: if there is no such table, or nothing is known of an earlier one.
    """
    known = {known.rollup.source for known in store.rollups.all().values()}
    known |= {record.archived.table for record in store.snapshots.all()}
    known |= {name for (name, _), identity in store.freezes.all().items() if identity}
    known |= {TableName(hold.table_schema, hold.table_name) for hold in store.holds.active() if hold.identity}
    named = sorted(find_tables(schema, pattern, known, store.folds_case))
    found = [(name, table) for name in named if (table := find_table(engine, name)) is not None]
    if not found:
        raise NotFound(f"table {schema}.{pattern}", "does not exist, or has neither rollups, snapshots nor holds")
    for name, table in found:
        note_identity(engine, store, name, table)
        store.journal.write(
            Entry(event=Event.TABLE_ACCEPTED, outcome=Outcome.DONE, table_schema=name.schema, table_name=name.name)
        )
    return [name for name, _ in found]


def note_identity(engine: Engine, store: Store, name: TableName, table: Table) -> None:
    """Note which table is meant by a name."""
    store.identify(name, table.identity or engine.identify(table.name))


@dataclass(frozen=True)
class Adoptable:
    """A snapshot in a repository, and whether the toolkit's own table has it already."""

    record: SnapshotRecord
    known: bool


def find_adoptable(engine: Engine, store: Store, clock: Clock, repository: str) -> list[Adoptable]:
    """
    The snapshots of a repository, by table and time.

    :raises NotFound: if there is no such repository.
    """
    known = {record.key: record for record in store.snapshots.all()}
    found = engine.archive.find(repository, store.schema)
    there = _present(engine, [each.archived for each in found])
    keys = [(each.archived.repository, each.archived.name) for each in found]
    every = [
        Adoptable(known.get(key) or _record(each, clock, there), key in known)
        for each, key in zip(found, keys, strict=True)
    ]
    return sorted(every, key=lambda item: (item.record.archived.table, item.record.start or 0, item.record.key))


def adopt(
    engine: Engine,
    store: Store,
    clock: Clock,
    repository: str,
    fits: Callable[[SnapshotRecord], bool],
    dry_run: bool = False,
) -> list[Adoptable]:
    """Note the snapshots of a repository that fit in the toolkit's own table, which keeps what it has."""
    found = [item for item in find_adoptable(engine, store, clock, repository) if fits(item.record)]
    for record in (item.record for item in found if not item.known and not dry_run):
        store.snapshots.add(record)
        archived = record.archived
        partition = show_partition(archived.columns, archived.values)
        store.journal.write(
            Entry(
                event=Event.ADOPTED,
                outcome=Outcome.DONE,
                table_schema=archived.table.schema,
                table_name=archived.table.name,
                message=f"{partition} from {archived.repository}.{archived.name}",
                rows=archived.rows,
                partitions=1,
            )
        )
    return found


def selector_of(archived: Archived, table: TableName) -> Selector:
    """The table that an archived partition belongs to. DuckDB has to be told what divides one that does not say so."""
    column = archived.columns[0].name if len(archived.columns) == 1 else None
    return Selector(schema=table.schema, name=table.name, partition_column=column)


def _present(engine: Engine, archived: Iterable[Archived]) -> set[tuple[TableName, tuple[Value, ...]]]:
    wanted: dict[TableName, Selector] = {}
    for each in archived:
        wanted.setdefault(each.table, selector_of(each, each.table))
    tables = engine.read_catalog(list(wanted.values())).tables if wanted else {}
    return {(name, partition.values) for name, table in tables.items() for partition in table.partitions}


def _record(found: Found, clock: Clock, there: set[tuple[TableName, tuple[Value, ...]]]) -> SnapshotRecord:
    """What is in its table may have been brought back, or not be dropped yet: rows will tell when it is archived."""
    archived = found.archived
    present = (archived.table, archived.values) in there
    stage = SnapshotStage.RESTORED if present else SnapshotStage.ARCHIVED
    return SnapshotRecord(
        archived=archived,
        start=found.start,
        end=found.end,
        stage=SnapshotStage.SUPERSEDED if found.superseded else stage,
        size=found.size,
        policy_id=None,
        tags=(),
        changed_at=clock.now(),
    )
