"""Legal holds on one table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cratedb_retention.model.catalog import Catalog, Column, TableName, Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.plan import Spared
from cratedb_retention.model.plan.reasons import Reason, Why
from cratedb_retention.model.policies.patterns import find_tables
from cratedb_retention.planning.targets import try_bind_where


@dataclass(frozen=True)
class TableHold:
    """A legal hold on one table."""

    hold: LegalHold
    where: tuple[tuple[Column, Value], ...] | None  # None if it cannot be determined: all rows are covered.
    other: bool = False  # Whether it was placed on an earlier table of this name.

    @property
    def why(self) -> Reason:
        return (Why.EARLIER_HOLD if self.other else Why.LEGAL_HOLD)(hold=self.hold)

    @property
    def spared(self) -> Spared | None:
        """The rows that it protects; None if it protects the whole table."""
        if not self.where and self.hold.start is None and self.hold.end is None:
            return None
        return Spared(hold_id=self.hold.id, where=self.where or (), start=self.hold.start, end=self.hold.end)


def holds_by_table(holds: Iterable[LegalHold], catalog: Catalog) -> dict[TableName, list[TableHold]]:
    found: dict[TableName, list[TableHold]] = {}
    for hold in sorted(holds, key=lambda h: h.id):
        for name in find_tables(hold.table_schema, hold.table_name, catalog.tables, catalog.capabilities):
            other = bool(hold.identity) and hold.identity != catalog.tables[name].identity
            for values in hold.filters:
                where = try_bind_where(catalog.tables[name], values)
                found.setdefault(name, []).append(TableHold(hold, where, other))
    return found
