"""Pieces: the interval of each partition, from expressions or from rows, and their order."""

from __future__ import annotations

import random

import pytest

from cratedb_retention.model.catalog import Kind, TableName, Value
from cratedb_retention.model.intervals import Grid
from cratedb_retention.model.plan.measurements import Bounds, Measurements, PartitionBounds
from cratedb_retention.model.rollups.cascade import DAY_SECONDS, Interval
from cratedb_retention.planning.pieces import PieceIndex, make_pieces
from cratedb_retention.planning.targets import find_targets
from support.catalogs import DAILY, MONTH, TENANT, TS, VALUE, catalog, column, ms, part, policy, table

MONTHLY = Grid(time_column="ts", interval=Interval(unit="month"))
BY_DAY = Grid(time_column="ts", interval=Interval(DAY_SECONDS))


@pytest.mark.parametrize(
    ("values", "interval"),
    [
        ((ms("2024-05-01"), ms("2024-05-07")), (ms("2024-05-07"), ms("2024-05-08"))),
        ((ms("2024-05-01"), None), (None, None)),
        ((None, ms("2024-05-07")), (None, None)),
        ((ms("2024-05-01"), "May"), (None, None)),
        ((10**17, ms("2024-05-07")), (None, None)),
    ],
)
def test_several_grids(values: tuple[Value, ...], interval: tuple[int | None, int | None]) -> None:
    """Several columns of one time intersect in any order; NULL and nonsense in any leave the interval unknown."""
    partitioned = table([TS, MONTH, DAILY], ["month", "day"], [part(*values)])
    for grids in (((0, MONTHLY), (1, BY_DAY)), ((1, BY_DAY), (0, MONTHLY))):
        [piece] = make_pieces(partitioned, grids, {})
        assert (piece.start, piece.end) == interval
        assert piece.exact


@pytest.mark.parametrize(
    ("bounds", "interval"), [((5, 9), (5, 10)), ((5, 5), (5, 6)), ((None, None), (None, None)), (None, (None, None))]
)
def test_from_rows(bounds: tuple[int | None, int | None] | None, interval: tuple[int | None, int | None]) -> None:
    """From rows, an interval ends just after the newest; without rows it is unknown; it is never exact."""
    partitioned = table([TS, TENANT], ["tenant"], [part("a")])
    [piece] = make_pieces(partitioned, (), {("a",): bounds} if bounds else {})
    assert (piece.start, piece.end) == interval
    assert not piece.exact


@pytest.mark.parametrize(("value", "end"), [(3, 10), (9, 10), (10, 11), (50, 51), (None, 10)])
def test_named_time(value: int | None, end: int) -> None:
    """A partition ends no earlier than the time that its policy names it by, where its rows tell its interval."""
    filled = table([TS, DAILY], ["day"], [part(value)])
    [piece] = make_pieces(filled, (), {(value,): (5, 9)}, named=0)
    assert (piece.start, piece.end) == (5, end)


@pytest.mark.parametrize("keys", [[2, 10, 100, None], [2, 10.5, 100], ["10", "2", "a"], ["10", "2", None]])
def test_order_does_not_depend_on_the_listing(keys: list[Value]) -> None:
    """Pieces are sorted by end, then numbers by value, then text, NULL last, however the database lists them."""
    number = column("n", Kind.NUMBER)
    partitions = [part(n, f"2024-0{month}-01") for month in (1, 2) for n in keys]
    shuffled = random.Random(7).sample(partitions, len(partitions))
    found = catalog(table([TS, VALUE, number, MONTH], ["n", "month"], shuffled))
    [target], _ = find_targets([policy()], found)
    assert [piece.partition for piece in PieceIndex(Measurements()).of(target).known] == partitions


CREATED, CREATED_MONTH = column("created_at"), column("created_month", expression="date_trunc('month', created_at)")


def test_each_policy_has_its_own_time() -> None:
    """Policies that go by different times share no pieces, be it partitions or rows that tell the time."""
    rules = [policy(id=name, partition_column=name) for name in ("month", "created_month")]
    by = [TS, CREATED, MONTH, CREATED_MONTH], ["month", "created_month"], [part("2024-01-01", "2024-03-01")]
    targets, _ = find_targets(rules, catalog(table(*by)))
    index = PieceIndex(Measurements())
    assert [tuple(piece.end for piece in index.of(target).known) for target in targets] == [
        (ms("2024-02-01"),),
        (ms("2024-04-01"),),
    ]
    rules = [policy(id=name, partition_column="tenant", time_column=name) for name in ("ts", "created_at")]
    targets, _ = find_targets(rules, catalog(table([TS, CREATED, TENANT], ["tenant"], [part("a")])))
    bounds: dict[PartitionBounds, Bounds]
    bounds = {t.bounds_probe: {("a",): (n, n)} for n, t in enumerate(targets, 1) if t.bounds_probe}
    index = PieceIndex(Measurements(bounds=bounds))
    assert [tuple(piece.end for piece in index.of(target).known) for target in targets] == [(2,), (3,)]


def test_tables_share_what_is_known_of_time() -> None:
    """Equal days of several tables end at the same instant, and days of one are not taken for months of another."""
    days = [part("2024-01-01"), part("2024-02-01")]
    tables = [
        table([TS, DAILY], ["day"], days, TableName("doc", "a")),
        table([TS, MONTH], ["month"], days, TableName("doc", "b")),
        table([TS, DAILY], ["day"], days, TableName("doc", "c")),
    ]
    targets, _ = find_targets([policy(table_name=name) for name in "abc"], catalog(*tables))
    index = PieceIndex(Measurements())
    ends = [[piece.end for piece in index.of(target).known] for target in targets]
    assert ends[0] == ends[2] == [ms("2024-01-02"), ms("2024-02-02")]
    assert ends[1] == [ms("2024-02-01"), ms("2024-03-01")]


def test_worked_out_once() -> None:
    """Policies that look at a table in the same way share its pieces."""
    found = catalog(table([TS, TENANT, MONTH], ["tenant", "month"], [part("a", "2024-01-01"), part("b", "2024-01-01")]))
    policies = [policy(id=str(i), where={"tenant": tenant}) for i, tenant in enumerate("aabx")]
    targets, _ = find_targets(policies, found)
    index = PieceIndex(Measurements())
    first, second, other, nothing = (index.of(target) for target in targets)
    assert first is second
    assert first.known[0] is not other.known[0]
    assert [len(pieces) for pieces in (first, other, nothing)] == [1, 1, 0]
    assert first.expired(ms("2024-01-31")) == ()
    assert first.expired(ms("2024-02-01")) == first.known
