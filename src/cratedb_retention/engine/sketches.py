"""
Distributions: how many values of a metric lie in each bin of a logarithmic scale (DDSketch, VLDB 2019). They are rows,
so they merge by adding, and any percentile is found from them with a relative error of 1 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.expressions import (
    DOUBLE,
    TEXT,
    Condition,
    Expressions,
    as_type,
    between,
    is_finite,
    number,
    ref,
    table_ref,
)
from cratedb_retention.engine.states import Selection, of_level, of_source, own_time, places, source_value
from cratedb_retention.model.aggregates import GAMMA
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.rollup import SKETCH_BIN, SKETCH_COUNT, SKETCH_METRIC, SKETCH_SIGN, Metric, label


@dataclass(frozen=True, kw_only=True)
class Sketches(Selection):
    """The distributions of metrics, by bucket and dimensions."""

    table: TableName | None  # A level's table with distributions; None: they are computed from raw rows

    def select(self) -> sa.Subquery:
        """``t``, ``d0``, ``metric``, ``sign``, ``bin`` and ``n``, the number of values."""
        parts = [self._raw(metric) for metric in self.metrics] if self.table is None else [self._level(self.table)]
        rows = parts[0].subquery("s") if len(parts) == 1 else sa.union_all(*parts).subquery("s")
        keys = [rows.c[name] for name in ("t", *places(self.of, self.groups), "metric", "sign", "bin")]
        count = sa.func.count() if self.table is None else sa.func.sum(rows.c.n)
        return sa.select(*keys, count.label("n")).group_by(*keys).subquery("g")

    def _raw(self, metric: Metric) -> sa.Select[Any]:
        sql, of = self.sql, self.of
        value = as_type(sql.column(metric.column), DOUBLE)
        size = sa.func.abs(value)
        # By its size: to CrateDB, minus zero is less than zero.
        sign = sa.case((size == number(0), number(0)), (value > number(0), number(1)), else_=number(-1))
        # CrateDB computes all branches of a CASE, and refuses the logarithm of zero.
        index = sa.func.ceil(sa.func.ln(sa.func.nullif(size, number(0))).op("/")(number(math.log(GAMMA))))
        columns = [
            sql.bucket(self.interval, of.zone, sql.instant(of.time)).label("t"),
            *(source_value(sql, column).label(name) for name, column in places(of, self.groups).items()),
            as_type(sa.literal(metric.name), TEXT).label("metric"),
            as_type(sign, "SMALLINT").label("sign"),
            sa.func.coalesce(as_type(index, "INTEGER"), as_type(number(0), "INTEGER")).label("bin"),
        ]
        within = between(sql, of.time, self.since, self.until)
        query = sa.select(*columns).select_from(table_ref(of.source))
        return query.where(within, *of_source(sql, self.where), countable(sql, metric))

    def _level(self, table: TableName) -> sa.Select[Any]:
        sql, time = self.sql, own_time(self.of)
        columns = [
            sql.bucket(self.interval, self.of.zone, sql.column(time)).label("t"),
            *(ref(label(column.name)).label(name) for name, column in places(self.of, self.groups).items()),
            ref(SKETCH_METRIC).label("metric"),
            ref(SKETCH_SIGN).label("sign"),
            ref(SKETCH_BIN).label("bin"),
            ref(SKETCH_COUNT).label("n"),
        ]
        within = between(sql, time, self.since, self.until)
        query = sa.select(*columns).select_from(table_ref(table))
        return query.where(within, *of_level(sql, self.where), of_metrics(self.metrics))


def countable(sql: Expressions, metric: Metric) -> Condition:
    """Source rows whose value has a bin."""
    return is_finite(as_type(sql.column(metric.column), DOUBLE))


def of_metrics(metrics: Iterable[Metric]) -> Condition:
    """Rows of a table with distributions that belong to some metrics."""
    return ref(SKETCH_METRIC).in_([metric.name for metric in metrics])
