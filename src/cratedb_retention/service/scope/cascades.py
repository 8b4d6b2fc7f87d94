"""
Reading tables together with their rollups.
"""

from __future__ import annotations

from collections.abc import Mapping

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
        self._require_readable(request.table_schema, request.table_name, request.where)
        return self.retention.fetch(request)

    def readable_tables(self) -> list[Explorable]:
        """The tables that this user may read, those with rollups first; without levels and the toolkit's own tables."""
        rollups = self.retention.store.rollups.all()
        sources = {known.rollup.source for known in rollups.values()}
        levels = {name for table in rollups for name in (table, sketch_table(table))}
        outline = self.retention.engine.read_outline(Selector(schema=self._default_schema, name=""))
        others = (table for table in outline.tables if table not in sources | levels and self._has_policy(table))
        return explorable([*sorted(sources), *sorted(others)], self.realm)

    def cascade(self, table: Explorable) -> Cascade:
        """
        A table with its rollups, if it has any.

        :raises Forbidden: if none of their policies covers it.
        :raises NotFound: if it has no rollups, and no policy is about it.
        """
        self._require_readable(table.table.schema, table.table.name, table.where)
        return self.retention.cascade(table.table.name, table.table.schema)

    def suggest_values(self, request: FetchRequest, limit: int = 50) -> list[Value]:
        """
        Some values of a dimension, which ``by`` names.

        :raises Forbidden: if none of their policies covers what is asked.
        """
        self._require_readable(request.table_schema, request.table_name, request.where)
        cascade = self.retention.cascade(request.table_name, request.table_schema)
        return suggest_values(self.retention.engine, cascade, request, self.retention.clock.now(), limit)

    def _require_readable(self, schema: str | None, name: str, where: Mapping[str, Value]) -> None:
        """Users read what is theirs, and a service only tables with a policy or rollups, not any table there is."""
        self.realm.require(make_area(schema, name, where, self._default_schema))
        store, table = self.retention.store, TableName(schema or self._default_schema, name)
        if not self._has_policy(table) and not of_source(store, store.rollups.all().values(), table):
            reason = "does not exist, or has no rollups and no policy"
            raise NotFound(f"table {table}", reason, "`cratedb-retention fetch` reads any table")

    def _has_policy(self, table: TableName) -> bool:
        capabilities = self.retention.engine.capabilities
        is_own = table.schema == self.retention.store.schema
        return not is_own and any(means(item.policy, capabilities)(table) for item in self._stored[0])
