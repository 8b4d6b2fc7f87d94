"""
How DuckDB computes rollups.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.duckdb.sql import DuckExpressions
from cratedb_retention.engine.expressions import date_trunc
from cratedb_retention.engine.rollup_columns import (
    DOUBLE,
    LARGEST,
    PLAIN,
    TEXT,
    as_type,
    decimal_sum,
    number,
    quotient,
)
from cratedb_retention.model.catalog import Column
from cratedb_retention.model.rollup import Rollup

Element = sa.ColumnElement[Any]


class DuckRollupSQL(DuckExpressions):
    """What DuckDB adds for rollups."""

    def stored_type(self, column: Column) -> str:
        """Its own type; as text if that is an ``ENUM`` or another with values in it."""
        words = column.type.upper().strip()
        return words if PLAIN.fullmatch(words) else TEXT

    def sum_type(self, column: Column) -> str:
        """DuckDB refuses a sum that is too large for it, rather than round it."""
        return decimal_sum(column.type) or DOUBLE

    def partition(self, rollup: Rollup) -> Element | None:
        """In words that the reader of the catalog understands, and that mean the same in any session's time zone."""
        if rollup.partition is None:
            return None
        time = self.column(rollup.own_time)
        if rollup.partition.seconds:
            return sa.func.time_bucket(sa.literal_column(f"INTERVAL '{rollup.partition.seconds} seconds'"), time)
        zone = sa.literal(rollup.zone)
        return sa.func.timezone(zone, date_trunc(rollup.partition.unit, sa.func.timezone(zone, time)))

    def total(self, value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """A plain sum."""
        return sa.func.sum(value)

    def spread(self, value: Element) -> Element:
        """DuckDB's variance is computed in Welford's way, which keeps the digits of large values."""
        small = sa.case((sa.func.abs(value) <= number(LARGEST), value))
        count = sa.func.count(value)
        return sa.case((count == sa.func.count(small), sa.func.var_pop(small).op("*")(count)))

    def center(self, total: Element, count: Element, within: Sequence[Element]) -> Element:
        """The mean of a bucket beside each of its rows."""
        sums = (sa.func.sum(as_type(value, DOUBLE)).over(partition_by=list(within)) for value in (total, count))
        dividend, divisor = sums
        return quotient(dividend, sa.func.nullif(divisor, number(0)))

    def merged_spread(self, spread: Element, count: Element, total: Element, center: Element | None) -> Element:
        """That within the rows, and that of their means around the mean of all."""
        divisor = sa.func.nullif(as_type(count, DOUBLE), number(0))
        mean = quotient(total, divisor)
        distance = mean.op("-")(center).self_group()
        whole = sa.func.sum(spread.op("+")(divisor.op("*")(distance.op("*")(distance).self_group())))
        some = sa.func.count().filter(count > number(0))
        return sa.case((some == sa.func.count(spread), whole))


SQL = DuckRollupSQL()
