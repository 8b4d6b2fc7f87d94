"""Accepts a table as the earlier one of its name, which was dropped and created again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import NotFound
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import Table, TableName
from cratedb_retention.model.plan.reasons import Reason
from cratedb_retention.model.policies.patterns import find_tables
from cratedb_retention.store.audit import Entry
from cratedb_retention.store.store import Store


def find_table(engine: Engine, name: TableName) -> Table | None:
    """The table that has a name now; upper or lower case matters only if it does in the database."""
    catalog = engine.read_named([name])
    there = catalog.taken(name)
    return catalog.tables.get(there) if there else None


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """Number of rollups, snapshots and holds that belong to an earlier table of the same name."""

    rollups: int
    snapshots: int
    holds: int


def find_earlier(engine: Engine, store: Store, name: TableName) -> Earlier | None:
    """What is recorded of an earlier table of the same name; None: nothing."""
    table = find_table(engine, name)
    if table is None:
        return None
    own = engine.identify(table)
    rollups = [known.identity for known in store.rollups.all().values() if known.rollup.source == name]
    holds = [hold.identity for hold in store.holds.active() if (hold.table_schema, hold.table_name) == name]
    counts = [sum(each not in ("", own) for each in identities) for identities in (rollups, holds)]
    snapshots = store.snapshots.count_foreign(name, own)
    return Earlier(rollups=counts[0], snapshots=snapshots, holds=counts[1]) if snapshots or any(counts) else None


def accept_tables(engine: Engine, store: Store, schema: str, pattern: str) -> list[TableName]:
    """
    Accept tables, by names or patterns, as those that rollups, snapshots, holds and freezes belong to. NotFound: no
    such table exists, or nothing is recorded of an earlier one.
    """
    known = {known.rollup.source for known in store.rollups.all().values()}
    known |= store.snapshots.tables()
    known |= {name for (name, _), identity in store.freezes.all().items() if identity}
    known |= {TableName(hold.table_schema, hold.table_name) for hold in store.holds.active() if hold.identity}
    named = sorted(find_tables(schema, pattern, known, engine.capabilities))
    found = [(name, table) for name in named if (table := find_table(engine, name)) is not None]
    if not found:
        raise NotFound(f"table {schema}.{pattern}", "does not exist, or has neither rollups, snapshots nor holds")
    for name, table in found:
        store.identify(name, engine.identify(table))
        note(store, Event.TABLE_ACCEPTED, name)
    return [name for name, _ in found]


def note(store: Store, event: Event, table: TableName, why: Reason | None = None, **about: Any) -> None:
    """Record in the audit log what was done to a table, or why it failed."""
    about |= {"outcome": Outcome.FAILED if why else Outcome.DONE, "why": why}
    store.journal.write(Entry(event=event, table_schema=table.schema, table_name=table.name, **about))
