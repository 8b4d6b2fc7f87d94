"""
Which table is meant by a name. One that was dropped and created again is another one, and what the toolkit knows is
not about that, unless the user says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import NotFound
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import Table, TableName
from cratedb_retention.model.patterns import find_tables
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
    own = table.identity or engine.identify(table.name)
    rollups = [known.identity for known in store.rollups.all().values() if known.rollup.source == name]
    snapshots = [record.identity for record in store.snapshots.all() if record.archived.table == name]
    held = [hold for hold in store.holds.active() if TableName(hold.table_schema, hold.table_name) == name]
    counts = [
        sum(bool(identity) and identity != own for identity in identities)
        for identities in (rollups, snapshots, [hold.identity for hold in held])
    ]
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
