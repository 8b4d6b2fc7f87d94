"""
Legal holds applied to a target: which of its pieces, or which of its rows, must stay. And filters by value, looked up
rather than tried one after the other: each of a thousand tenants may have a policy, each restored partition has a hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Generic, TypeVar

from cratedb_retention.model.catalog import Catalog, Column, TableName, Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.patterns import find_tables
from cratedb_retention.model.plan import Spared
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.planning.targets import try_bind_where

T = TypeVar("T")
Where = Sequence[tuple[Column, Value]]


@dataclass(frozen=True)
class TableHold:
    """A hold on one table."""

    hold: LegalHold
    where: tuple[tuple[Column, Value], ...] | None  # None if that can't be worked out, then it covers everything.
    other: bool = False  # Whether it was placed on another table, which had the name before.

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


def overlap(one: Where, other: Where) -> bool:
    """Whether some data can fit both filters: no column is asked for two different values."""
    values = dict(one)
    return all(values.get(column, value) == value for column, value in other)


class FilterIndex(Generic[T]):
    """What applies to partitions with some values. What a filter says of other columns fits them all."""

    def __init__(self, columns: Sequence[Column], items: Iterable[tuple[T, Where]]) -> None:
        positions = {column.name: position for position, column in enumerate(columns)}
        self._found: dict[tuple[int, ...], dict[tuple[Value, ...], list[tuple[int, T]]]] = {}
        for number, (item, where) in enumerate(items):
            wanted = {positions[column.name]: value for column, value in where if column.name in positions}
            by_values = self._found.setdefault(tuple(wanted), {})
            by_values.setdefault(tuple(wanted.values()), []).append((number, item))

    def fitting(self, values: Sequence[Value]) -> list[T]:
        """What applies to a partition, in the order in which it was given."""
        fits: list[tuple[int, T]] = []
        for positions, by_values in self._found.items():
            fits += by_values.get(tuple([values[position] for position in positions]), ())
        return [item for _, item in sorted(fits, key=itemgetter(0))]
