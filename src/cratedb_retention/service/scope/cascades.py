"""
Reading tables together with their rollups.
"""

from __future__ import annotations

from cratedb_retention.errors import NotFound
from cratedb_retention.execution.exploring import explorable, suggest_values
from cratedb_retention.execution.holdings import of_source
from cratedb_retention.execution.timeline import means
from cratedb_retention.model.areas import make_area
from cratedb_retention.model.catalog import Selector, TableName, Value
from cratedb_retention.model.exploring import Explorable
from cratedb_retention.model.fetched import Fetched
from cratedb_retention.model.reading import Cascade, FetchRequest
from cratedb_retention.model.rollup import sketch_table
from cratedb_retention.service.scope.who import Who


class Cascades(Who):
    """Cascades."""

    def fetch(self, request: FetchRequest) -> Fetched:
        """
        Read a table together with its rollups.

        :raises Forbidden: if none of their policies covers what is asked.
        :raises NotFound: if it has no rollups, and no policy is about it.
        """
        self.realm.require(make_area(request.table_schema, request.table_name, request.where, self._default_schema))
        self._require_kept(TableName(request.table_schema or self._default_schema, request.table_name))
        return self.retention.fetch(request)

    def cascades(self) -> list[Explorable]:
        """The tables with rollups of which they see something."""
        sources = {known.rollup.source for known in self.retention.store.rollups.all().values()}
        return explorable(sorted(sources), self.realm)

    def readable_tables(self) -> list[Explorable]:
        """The tables of which they see something, those with rollups first; without levels and the toolkit's own."""
        store, with_rollups = self.retention.store, self.cascades()
        known = {name for table in store.rollups.all() for name in (table, sketch_table(table))}
        known |= {found.table for found in with_rollups}
        outline = self.retention.engine.read_outline(Selector(self._default_schema, ""))
        others = (table for table in outline.tables if table not in known and self._has_policy(table))
        return [*with_rollups, *explorable(sorted(others), self.realm)]

    def cascade(self, table: Explorable) -> Cascade:
        """
        A table with its rollups, if it has any.

        :raises Forbidden: if none of their policies covers it.
        :raises NotFound: if it has no rollups, and no policy is about it.
        """
        self.realm.require(make_area(table.table.schema, table.table.name, table.where, self._default_schema))
        self._require_kept(table.table)
        return self.retention.cascade(table.table.name, table.table.schema)

    def suggest_values(self, request: FetchRequest, limit: int = 50) -> list[Value]:
        """
        Some values of a dimension, which ``by`` names.

        :raises Forbidden: if none of their policies covers what is asked.
        """
        self.realm.require(make_area(request.table_schema, request.table_name, request.where, self._default_schema))
        self._require_kept(TableName(request.table_schema or self._default_schema, request.table_name))
        cascade = self.retention.cascade(request.table_name, request.table_schema)
        return suggest_values(self.retention.engine, cascade, request, self.retention.clock.now(), limit)

    def _require_kept(self, table: TableName) -> None:
        """A service reads only the tables that it looks after, not every table of the database."""
        if not self._is_kept(table):
            reason = "does not exist, or has no rollups and no policy"
            raise NotFound(f"table {table}", reason, "`cratedb-retention fetch` reads any table")

    def _is_kept(self, table: TableName) -> bool:
        store = self.retention.store
        return self._has_policy(table) or bool(of_source(store, store.rollups.all().values(), table))

    def _has_policy(self, table: TableName) -> bool:
        capabilities = self.retention.engine.capabilities
        is_own = table.schema == self.retention.store.schema
        return not is_own and any(means(item.policy, capabilities)(table) for item in self._stored[0])
