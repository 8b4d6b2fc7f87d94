"""
Which table is meant by a name. One that was dropped and created again is another one, and what the toolkit knows is
not about that, unless the user says so.
"""

from __future__ import annotations

from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import NotFound
from cratedb_retention.model.catalog import Table, TableName
from cratedb_retention.store.journal import Entry, Event, Outcome
from cratedb_retention.store.store import Store


def find_table(engine: Engine, name: TableName) -> Table | None:
    """The table that has a name now, however that is spelt."""
    catalog = engine.read_named([name])
    there = catalog.taken(name)
    return catalog.tables.get(there) if there else None


def accept_table(engine: Engine, store: Store, name: TableName) -> TableName:
    """
    Take the table that has a name now for the one that rollups, snapshots and holds of that name are of.

    :raises NotFound: if there is no such table, or nothing is known of an earlier one.
    """
    table = find_table(engine, name)
    if table is None:
        raise NotFound(f"table {name}", "does not exist")
    if not note_identity(engine, store, table):
        raise NotFound(f"table {table.name}", "has neither rollups, snapshots nor holds")
    entry = Entry(Event.TABLE_ACCEPTED, Outcome.DONE, table_schema=table.name.schema, table_name=table.name.name)
    store.journal.write(entry)
    return table.name


def note_identity(engine: Engine, store: Store, table: Table) -> int:
    """Note which table is meant by its name; of how many rollups, snapshots and holds."""
    identity = table.identity or engine.identify(table.name)
    return sum(each.identify(table.name, identity) for each in (store.rollups, store.snapshots, store.holds))
