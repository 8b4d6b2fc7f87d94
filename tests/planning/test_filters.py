"""Filters by value: looking them up finds what trying them one after the other would."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cratedb_retention.model.catalog import Column, Value
from cratedb_retention.planning.policies import meeting
from cratedb_retention.planning.targets import FilterIndex, overlap
from support.catalogs import MONTH, TENANT, VALUE

COLUMNS = (TENANT, MONTH)
ITEMS: list[tuple[str, list[tuple[Column, Value]]]] = [
    ("all", []),
    ("a", [(TENANT, "a")]),
    ("null", [(TENANT, None)]),
    ("a in 5", [(TENANT, "a"), (MONTH, 5)]),
    ("5 of a", [(MONTH, 5), (TENANT, "a")]),
    ("a with 7", [(TENANT, "a"), (VALUE, 7)]),
    ("with 7", [(VALUE, 7)]),
]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (("a", 5), ["all", "a", "a in 5", "5 of a", "a with 7", "with 7"]),
        (("a", None), ["all", "a", "a with 7", "with 7"]),
        (("b", 5), ["all", "with 7"]),
        ((None, 5), ["all", "null", "with 7"]),
    ],
)
def test_fitting(values: tuple[Value, ...], found: list[str]) -> None:
    """A filter of other columns fits every partition, NULL is a value, and the order is that of the filters."""
    assert FilterIndex(COLUMNS, ITEMS).fitting(values) == found


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ([], [], True),
        ([], [(TENANT, "a")], True),
        ([(TENANT, "a")], [], True),
        ([(TENANT, "a")], [(TENANT, "a")], True),
        ([(TENANT, "a")], [(TENANT, "b")], False),
        ([(TENANT, "a")], [(TENANT, None)], False),
        ([(TENANT, "a")], [(VALUE, 7)], True),
        ([(TENANT, "a"), (VALUE, 7)], [(TENANT, "b"), (VALUE, 7)], False),
        ([(VALUE, 7), (TENANT, "a")], [(TENANT, "a"), (VALUE, 8)], False),
        ([(TENANT, "a"), (VALUE, 7)], [(VALUE, 7), (TENANT, "a")], True),
    ],
)
def test_overlap(one: list[tuple[Column, Value]], other: list[tuple[Column, Value]], meet: bool) -> None:
    """Two filters meet unless they ask any column for two different values, whichever comes first."""
    assert overlap(one, other) is overlap(other, one) is meet


_values = st.sampled_from(["a", "b", None])
_wheres = st.dictionaries(st.sampled_from(["tenant", "month", "value"]), _values)


@given(st.lists(_wheres), st.tuples(_values, _values))
def test_same_as_one_after_the_other(wheres: list[dict[str, Value]], values: tuple[Value, Value]) -> None:
    """Whatever the filters, what is found is what fits when each is tried."""
    by_name = {column.name: column for column in (*COLUMNS, VALUE)}
    items = [(n, [(by_name[name], value) for name, value in where.items()]) for n, where in enumerate(wheres)]
    present = {"tenant": values[0], "month": values[1]}
    fitting = [n for n, where in enumerate(wheres) if all(present.get(k, v) == v for k, v in where.items())]
    assert FilterIndex(COLUMNS, items).fitting(values) == fitting


@given(st.lists(_wheres, max_size=8))
def test_meeting(wheres: list[dict[str, Value]]) -> None:
    """Looking up which filters meet finds what comparing each two would, in the same order."""
    columns = {"tenant": TENANT, "month": MONTH, "value": VALUE}
    items = [(n, [(columns[name], value) for name, value in where.items()]) for n, where in enumerate(wheres)]
    expected = [(one, other) for one, other in itertools.combinations(items, 2) if overlap(one[1], other[1])]
    assert list(meeting(items, lambda item: item[1])) == expected


def test_many_tenants_are_not_compared() -> None:
    """What belongs to different tenants costs a look-up each, and not a comparison of each two."""
    asked = []

    class Tenant(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            asked.append(other)
            return str.__eq__(self, other)

    wheres = [[(TENANT, Tenant(number))] for number in range(300)]
    assert list(meeting(wheres, lambda where: where)) == []
    assert len(asked) < 10 * len(wheres)
