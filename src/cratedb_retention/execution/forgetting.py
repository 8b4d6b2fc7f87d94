"""
Drops the rollups of a table, with all that is known of them: to begin anew, or to be rid of them.
"""

from __future__ import annotations

from cratedb_retention.engine.base import Engine
from cratedb_retention.engine.ddl import drop_table, drop_view
from cratedb_retention.errors import NotFound
from cratedb_retention.execution.holdings import of_source
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.rollup import view_name
from cratedb_retention.store.journal import Entry, Event, Outcome
from cratedb_retention.store.store import Store


def drop_rollups(engine: Engine, store: Store, source: TableName) -> list[TableName]:
    """
    Drop the view, the levels and their distributions; their policy, if it is still there, makes them anew.

    :param source: The table with the raw rows, which need not exist any more.
    :return: The levels.
    :raises NotFound: if it has none.
    """
    mine = [known.rollup for known in of_source(store, store.rollups.all().values(), source)]
    if not mine:
        raise NotFound(f"table {source}", "has no rollups")
    source = mine[0].source
    drop_view(engine.database, view_name(source))
    for rollup in mine:
        for table in (rollup.sketch, rollup.table):
            drop_table(engine.database, table)
        store.rollups.forget(rollup.table)
    names = ", ".join(sorted(rollup.table.name for rollup in mine))
    store.journal.write(
        Entry(
            Event.ROLLUPS_DROPPED,
            Outcome.DONE,
            table_schema=source.schema,
            table_name=source.name,
            message=f"dropped {names}",
        )
    )
    return sorted(rollup.table for rollup in mine)
