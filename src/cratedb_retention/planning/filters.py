"""
Filters by value, looked up rather than tried one after the other: each of a thousand tenants may have a policy of its
own, and each restored partition has a hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Generic, TypeVar

from cratedb_retention.model.catalog import Column, Value

T = TypeVar("T")
Where = Sequence[tuple[Column, Value]]


def meeting(items: Sequence[T], where: Callable[[T], Where]) -> Iterator[tuple[T, T]]:
    """Each two whose filters some data can fit, in the order of :func:`itertools.combinations`."""
    filters = [dict(where(item)) for item in items]
    groups: dict[frozenset[Column], list[int]] = {}
    for number, wanted in enumerate(filters):
        groups.setdefault(frozenset(wanted), []).append(number)
    # Of each group, by the columns that it has in common with another: what has which values of these.
    known: dict[tuple[frozenset[Column], tuple[Column, ...]], dict[tuple[Value, ...], list[int]]] = {}
    for number, wanted in enumerate(filters):
        found: list[int] = []
        for columns, members in groups.items():
            common = tuple(column for column in wanted if column in columns)
            if (columns, common) not in known:
                by_values = known[columns, common] = {}
                for member in members:
                    by_values.setdefault(tuple(filters[member][column] for column in common), []).append(member)
            found += known[columns, common].get(tuple(wanted[column] for column in common), ())
        yield from ((items[number], items[other]) for other in sorted(found) if other > number)


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
