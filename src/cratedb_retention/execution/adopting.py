"""
Adopts snapshots that are in a repository, and not in the toolkit's own table: it was lost, or another one made them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cratedb_retention.clock import Clock
from cratedb_retention.engine.archive import Archived, Found
from cratedb_retention.engine.base import Engine
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import Selector, TableName, Value
from cratedb_retention.model.words import show_partition
from cratedb_retention.store.archive import SnapshotRecord, SnapshotStage
from cratedb_retention.store.audit import Entry
from cratedb_retention.store.store import Store


@dataclass(frozen=True)
class Adoptable:
    """
    A snapshot in a repository.

    :param known: Whether the toolkit's own table has it already.
    """

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
    all_of_them = []
    for each in found:
        key = (each.archived.repository, each.archived.name)
        record = known.get(key) or _record(each, clock, there)
        all_of_them.append(Adoptable(record, key in known))
    return sorted(all_of_them, key=lambda item: (item.record.archived.table, item.record.start or 0, item.record.key))


def adopt(
    engine: Engine,
    store: Store,
    clock: Clock,
    repository: str,
    fits: Callable[[SnapshotRecord], bool],
    dry_run: bool = False,
) -> list[Adoptable]:
    """
    Note snapshots of a repository in the toolkit's own table. Those that it has stay as they are.

    :param fits: Which of them.
    :param dry_run: Whether to only tell.
    :return: All that fit.
    """
    found = [item for item in find_adoptable(engine, store, clock, repository) if fits(item.record)]
    for item in found if not dry_run else ():
        if not item.known:
            store.snapshots.add(item.record)
            _note(store, item.record.archived)
    return found


def _present(engine: Engine, archived: Iterable[Archived]) -> set[tuple[TableName, tuple[Value, ...]]]:
    """The partitions that are in their tables. DuckDB has to be told what divides one that does not say so."""
    wanted: dict[TableName, Selector] = {}
    for each in archived:
        column = each.columns[0].name if len(each.columns) == 1 else None
        wanted.setdefault(each.table, Selector(schema=each.table.schema, name=each.table.name, partition_column=column))
    tables = engine.read_catalog(list(wanted.values())).tables if wanted else {}
    return {(name, partition.values) for name, table in tables.items() for partition in table.partitions}


def _record(found: Found, clock: Clock, there: set[tuple[TableName, tuple[Value, ...]]]) -> SnapshotRecord:
    """What is in its table may have been brought back, or not be dropped yet: rows will tell when it is archived."""
    archived = found.archived
    if found.superseded:
        stage = SnapshotStage.SUPERSEDED
    else:
        present = (archived.table, archived.values) in there
        stage = SnapshotStage.RESTORED if present else SnapshotStage.ARCHIVED
    return SnapshotRecord(
        archived=archived,
        start=found.start,
        end=found.end,
        stage=stage,
        size=found.size,
        policy_id=None,
        tags=(),
        changed_at=clock.now(),
    )


def _note(store: Store, archived: Archived) -> None:
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
