"""
The legal holds on their data.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from cratedb_retention.errors import Forbidden, NotFound
from cratedb_retention.model.access import Role
from cratedb_retention.model.areas import Area, make_area
from cratedb_retention.model.catalog import Selector, Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.patterns import is_pattern
from cratedb_retention.planning.targets import try_bind_where
from cratedb_retention.service.scope.who import Who


class Holds(Who):
    """Legal holds."""

    def holds(self) -> list[LegalHold]:
        """The holds in force on their data."""
        found = self.retention.store.holds.active()
        return [hold for hold in found if self.realm.covers_hold(hold)]

    def place(
        self,
        table_name: str,
        table_schema: str | None,
        where: Mapping[str, Value],
        start: dt.datetime | None,
        end: dt.datetime | None,
        reason: str,
    ) -> LegalHold:
        """
        Keep data.

        :raises Forbidden: if it is not theirs.
        """
        self.access.require(Role.OPERATOR)
        area = make_area(table_schema, table_name, where, self._default_schema)
        self.realm.require(area)
        if self.access.limited and self._is_shared(area):
            self._check_binds(area, where)
        return self.retention.hold(table_name, table_schema, where=where, start=start, end=end, reason=reason)

    def release(self, identifier: str) -> LegalHold:
        """
        End a hold, by its whole identifier.

        :raises NotFound: if they see none.
        :raises Forbidden: if it was placed by somebody without their limit.
        """
        self.access.require(Role.OPERATOR)
        found = next((hold for hold in self.holds() if hold.id == identifier), None)
        if found is None:
            raise NotFound(f"hold {identifier}", "is not in force", "GET /api/v1/holds lists them")
        if self.access.limited and found.placed_by not in self._actors:
            raise Forbidden(f"hold {identifier}", "was placed by somebody without the limit of this token", "ask them")
        return self.retention.release(found.id)

    def _ids_of_holds(self) -> frozenset[str]:
        return frozenset(hold.id for hold in self.holds())

    def _is_shared(self, area: Area) -> bool:
        found = self.realm.covering(area)
        return found is not None and bool(found.where)

    def _check_binds(self, area: Area, where: Mapping[str, Value]) -> None:
        """
        A hold whose values can't be worked out holds the whole table; here that would be the data of others.

        :raises Forbidden: if it is not plain that it does not.
        """
        named = not (is_pattern(area.schema) or is_pattern(area.name))
        tables = (
            self.retention.engine.read_catalog([Selector(schema=area.schema, name=area.name)]).tables if named else {}
        )
        if not tables or any(try_bind_where(table, where) is None for table in tables.values()):
            raise Forbidden(f"data of {area}", "the hold would cover data of others", "name a table and its columns")
