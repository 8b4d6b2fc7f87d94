"""
Drops the rollups of a table, with all that is known of them: to begin anew, or to be rid of them.
"""

from __future__ import annotations

from cratedb_retention.engine.base import Engine
from cratedb_retention.engine.ddl import drop_table, drop_view
from cratedb_retention.errors import NotFound
from cratedb_retention.execution.holdings import of_source
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.ledger import view_marks
from cratedb_retention.model.ownership import is_own_table, is_own_view
from cratedb_retention.model.rollup import view_name
from cratedb_retention.store.journal import Entry
from cratedb_retention.store.store import Store


def drop_rollups(engine: Engine, store: Store, source: TableName) -> list[TableName]:
    """
    Drop the view, the levels and their distributions; their policy, if it is still there, makes them anew. What has
    the name of one of these and is something else stays.

    :param source: The table with the raw rows, which need not exist any more.
    :return: The levels.
    :raises NotFound: if it has none.
    """
    known = store.rollups.all()
    mine = sorted((k.rollup for k in of_source(store, known.values(), source)), key=lambda rollup: rollup.table)
    if not mine:
        raise NotFound(f"table {source}", "has no rollups")
    source = mine[0].source
    view, tables = view_name(source), [name for rollup in mine for name in (rollup.table, rollup.sketch)]
    catalog = engine.read_named([view, *tables])
    found = (catalog.views or {}).get(view)
    time, levels = mine[0].time.name, [source, *(rollup.table for rollup in mine)]
    if found is not None and is_own_view(found, time, levels, view_marks(known.values(), source)):
        drop_view(engine.database, view)
    for rollup in mine:
        for name in (rollup.sketch, rollup.table):
            if name in catalog.tables and is_own_table(rollup, name, catalog.tables[name].columns):
                drop_table(engine.database, name)
        store.rollups.forget(rollup.table)
    store.journal.write(
        Entry(
            event=Event.ROLLUPS_DROPPED,
            outcome=Outcome.DONE,
            table_schema=source.schema,
            table_name=source.name,
            message=f"dropped {', '.join(rollup.table.name for rollup in mine)}",
        )
    )
    return [rollup.table for rollup in mine]
