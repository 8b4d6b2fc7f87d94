"""
Legal holds applied to a target: which of its pieces, or which of its rows, must stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cratedb_retention.model.catalog import Catalog, Column, TableName, Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.patterns import find_tables
from cratedb_retention.model.plan import Spared
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.planning.targets import try_bind_where


@dataclass(frozen=True)
class TableHold:
    """
    A hold on one table.

    :param where: Its filter with the table's columns; None if that can't be worked out, then it covers everything.
    :param other: Whether it was placed on another table, which had the name before.
    """

    hold: LegalHold
    where: tuple[tuple[Column, Value], ...] | None
    other: bool = False

    @property
    def why(self) -> Reason:
        """Why something stays."""
        return (Why.EARLIER_HOLD if self.other else Why.LEGAL_HOLD)(hold=self.hold)

    @property
    def spared(self) -> Spared | None:
        """The rows that it keeps; None if it keeps the whole table."""
        if not self.where and self.hold.start is None and self.hold.end is None:
            return None
        return Spared(hold_id=self.hold.id, where=self.where or (), start=self.hold.start, end=self.hold.end)


def holds_by_table(holds: Iterable[LegalHold], catalog: Catalog) -> dict[TableName, list[TableHold]]:
    """Find the tables that each hold covers."""
    found: dict[TableName, list[TableHold]] = {}
    for hold in sorted(holds, key=lambda h: h.id):
        schema = hold.table_schema or catalog.capabilities.default_schema
        for name in find_tables(schema, hold.table_name, catalog.tables, catalog.capabilities.folds_case):
            other = bool(hold.identity) and hold.identity != catalog.tables[name].identity
            for values in hold.filters:
                where = try_bind_where(catalog.tables[name], values)
                found.setdefault(name, []).append(TableHold(hold, where, other))
    return found
