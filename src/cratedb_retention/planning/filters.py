"""
Filters by value, looked up rather than tried one after the other: each of a thousand tenants may have a policy of its
own, and each restored partition has a hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Generic, TypeVar

from cratedb_retention.model.catalog import Column, Value

T = TypeVar("T")
Where = Sequence[tuple[Column, Value]]


def overlap(one: Where, other: Where) -> bool:
    """Whether some data can fit both filters: no column is asked for two different values."""
    values = dict(one)
    return all(values.get(column, value) == value for column, value in other)


class FilterIndex(Generic[T]):
    """
    What applies to partitions with some values.

    :param columns: The table's partition columns.
    :param items: Each with its filter. What that says of other columns can't tell partitions apart: it fits them all.
    """

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
