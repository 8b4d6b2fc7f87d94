"""Legal holds."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace

from cratedb_retention.api.connection import Part
from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.accepting import find_table
from cratedb_retention.model.catalog import Selector, TableName, Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.policies.patterns import find_tables, is_pattern
from cratedb_retention.model.time import to_ms
from cratedb_retention.planning.targets import try_bind_where

# Added before rounding down, so that the end of a hold is rounded up: in doubt, a row stays.
_ALMOST_A_MILLISECOND = dt.timedelta(microseconds=999)


class Holds(Part):
    """Legal holds; calling it lists those in force."""

    def __call__(self) -> list[LegalHold]:
        """The holds in force."""
        return self._store.holds.active()

    def place(
        self,
        table_name: str,
        table_schema: str | None = None,
        *,
        where: Mapping[str, Value] | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        reason: str = "",
    ) -> LegalHold:
        """
        Protect data from all policies until the hold is released. Raises ``InvalidInput`` if the time range is empty.

        :param table_name: Name or pattern.
        :param where: Only data with these values.
        :param start: Only data in the time range [start, end) of aware instants.
        """
        schema = table_schema or self._connection.default_schema
        if not table_name.strip():
            raise InvalidInput("hold", "the table is missing", "name one, or use a pattern such as *")
        if start and end and start >= end:
            raise InvalidInput("hold", "it ends before it begins", "swap the two times")
        hold = LegalHold(
            id=str(uuid.uuid4()),
            table_schema=schema,
            table_name=table_name,
            where=dict(where or {}),
            start=None if start is None else to_ms(start),
            end=None if end is None else to_ms(end + _ALMOST_A_MILLISECOND),
            reason=reason,
            placed_by=self._connection.actor.name,
            placed_at=to_ms(self._clock.now()),
        )
        if not any(map(is_pattern, (schema, table_name))):
            table = find_table(self._engine, TableName(schema, table_name))
            if table is not None:
                hold = replace(hold, identity=self._engine.identify(table))
        self._store.holds.place(hold)
        return hold

    def release(self, identifier: str) -> LegalHold:
        """Release a hold by its whole identifier; raises ``NotFound`` if no such hold is in force."""
        return self._store.holds.release(identifier)

    def released(self, identifier: str) -> LegalHold:
        """A released hold, as it was; raises ``NotFound`` if no such hold was released."""
        return self._store.holds.released(identifier)

    def renew(self, identifier: str) -> LegalHold:
        """Undo a release: put the hold in force again, as it was; raises ``NotFound`` if no such hold was released."""
        hold = self.released(identifier)
        self._store.holds.place(hold)
        return hold

    def tables(self, hold: LegalHold) -> list[TableName]:
        """The tables that a hold covers at present."""
        return self.tables_of([hold])[hold.id]

    def tables_of(self, holds: Iterable[LegalHold]) -> dict[str, list[TableName]]:
        """The tables that holds cover at present, by the hold's identifier; reads the catalog once."""
        holds, own = list(holds), self._engine.capabilities
        selectors = dict.fromkeys(Selector(schema=hold.table_schema, name=hold.table_name) for hold in holds)
        tables = self._engine.read_catalog(list(selectors)).tables if selectors else {}
        return {hold.id: find_tables(hold.table_schema, hold.table_name, tables, own) for hold in holds}

    def is_exact(self, table_schema: str, table_name: str, where: Mapping[str, Value]) -> bool:
        """Whether a hold would cover only rows with these values; if they cannot be evaluated, it covers all rows."""
        if is_pattern(table_schema) or is_pattern(table_name):
            return False
        tables = self._engine.read_catalog([Selector(schema=table_schema, name=table_name)]).tables
        return bool(tables) and all(try_bind_where(table, where) is not None for table in tables.values())
