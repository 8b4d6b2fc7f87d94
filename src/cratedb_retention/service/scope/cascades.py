"""
Reading tables together with their rollups.
"""

from __future__ import annotations

from cratedb_retention.execution.exploring import explorable, suggest_values
from cratedb_retention.model.areas import make_area
from cratedb_retention.model.catalog import Value
from cratedb_retention.model.exploring import Explorable
from cratedb_retention.model.fetched import Fetched
from cratedb_retention.model.reading import Cascade, FetchRequest
from cratedb_retention.service.scope.who import Who


class Cascades(Who):
    """Cascades."""

    def fetch(self, request: FetchRequest) -> Fetched:
        """
        Read a table together with its rollups.

        :raises Forbidden: if none of their policies covers what is asked.
        """
        self.realm.require(make_area(request.table_schema, request.table_name, request.where, self._default_schema))
        return self.retention.fetch(request)

    def cascades(self) -> list[Explorable]:
        """The tables with rollups of which they see something."""
        return explorable(self.retention.store.rollups.all().values(), self.realm)

    def cascade(self, table: Explorable) -> Cascade:
        """
        A table with its rollups.

        :raises Forbidden: if none of their policies covers it.
        :raises NotFound: if it has none.
        """
        self.realm.require(make_area(table.table.schema, table.table.name, table.where, self._default_schema))
        return self.retention.cascade(table.table.name, table.table.schema)

    def suggest_values(self, request: FetchRequest, limit: int = 50) -> list[Value]:
        """
        Some values of a dimension, which ``by`` names.

        :raises Forbidden: if none of their policies covers what is asked.
        """
        self.realm.require(make_area(request.table_schema, request.table_name, request.where, self._default_schema))
        cascade = self.retention.cascade(request.table_name, request.table_schema)
        return suggest_values(self.retention.engine, cascade, request, self.retention.clock.now(), limit)
