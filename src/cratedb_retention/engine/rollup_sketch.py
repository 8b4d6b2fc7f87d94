"""
Distributions: how many values of a metric lie in each bin of a logarithmic scale (DDSketch, VLDB 2019). They are rows,
so they merge by adding, and any percentile is found from them with a relative error of 1 %.
"""

from __future__ import annotations

import math
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.expressions import between, table_ref
from cratedb_retention.engine.rollup_columns import (
    DOUBLE,
    TEXT,
    RollupSQL,
    as_type,
    is_finite,
    number,
    ref,
    source_value,
)
from cratedb_retention.engine.rollup_runs import Run
from cratedb_retention.model.rollup import (
    GAMMA,
    SKETCH_BIN,
    SKETCH_COUNT,
    SKETCH_METRIC,
    SKETCH_SIGN,
    Metric,
    Rollup,
    label,
)

Element = sa.ColumnElement[Any]


def sketch_select(sql: RollupSQL, rollup: Rollup, run: Run, version: int) -> sa.Select[Any]:
    """The rows of the distributions for the buckets of a run, in the order of their columns."""
    rows = _raw_bins(sql, rollup, run) if rollup.from_raw else _finer_bins(sql, rollup, run)
    dimensions = (f"d{i}" for i in range(len(rollup.dimensions)))
    keys = [rows.c[name] for name in ("t", *dimensions, "metric", "sign", "bin")]
    count = sa.func.count() if rollup.from_raw else sa.func.sum(rows.c.n)
    grouped = sa.select(*keys, count.label("n")).group_by(*keys).subquery("g")
    return sa.select(*grouped.c, sa.literal(version))


def countable(sql: RollupSQL, metric: Metric) -> sa.ColumnElement[bool]:
    """Source rows whose value has a bin."""
    return is_finite(as_type(sql.column(metric.column), DOUBLE))


def of_metrics(rollup: Rollup) -> sa.ColumnElement[bool]:
    """Rows of a table with distributions that belong to the metrics of a rollup."""
    return ref(SKETCH_METRIC).in_([metric.name for metric in rollup.sketched])


def _raw_bins(sql: RollupSQL, rollup: Rollup, run: Run) -> sa.Subquery:
    bucket = sql.bucket(rollup.interval, rollup.zone, sql.instant(rollup.time))
    dimensions = [source_value(sql, column).label(f"d{i}") for i, column in enumerate(rollup.dimensions)]
    range_ = between(sql, rollup.time, run.since, run.until)

    def values(metric: Metric) -> sa.Select[Any]:
        value = as_type(sql.column(metric.column), DOUBLE)
        size = sa.func.abs(value)
        # By its size: to CrateDB, minus zero is less than zero.
        sign = sa.case((size == number(0), number(0)), (value > number(0), number(1)), else_=number(-1))
        # CrateDB reckons all branches of a CASE, and refuses the logarithm of zero.
        index = sa.func.ceil(sa.func.ln(sa.func.nullif(size, number(0))).op("/")(number(math.log(GAMMA))))
        return (
            sa.select(
                bucket.label("t"),
                *dimensions,
                as_type(sa.literal(metric.name), TEXT).label("metric"),
                as_type(sign, "SMALLINT").label("sign"),
                sa.func.coalesce(as_type(index, "INTEGER"), as_type(number(0), "INTEGER")).label("bin"),
            )
            .select_from(table_ref(rollup.source))
            .where(range_, countable(sql, metric))
        )  # fmt: skip

    parts = [values(metric) for metric in rollup.sketched]
    return parts[0].subquery("s") if len(parts) == 1 else sa.union_all(*parts).subquery("s")


def _finer_bins(sql: RollupSQL, rollup: Rollup, run: Run) -> sa.Subquery:
    time = rollup.own_time
    return (
        sa.select(
            sql.bucket(rollup.interval, rollup.zone, sql.column(time)).label("t"),
            *(ref(label(column.name)).label(f"d{i}") for i, column in enumerate(rollup.dimensions)),
            ref(SKETCH_METRIC).label("metric"),
            ref(SKETCH_SIGN).label("sign"),
            ref(SKETCH_BIN).label("bin"),
            ref(SKETCH_COUNT).label("n"),
        )
        .select_from(table_ref(rollup.beneath_sketch))
        .where(between(sql, time, run.since, run.until), of_metrics(rollup))
        .subquery("s")
    )
