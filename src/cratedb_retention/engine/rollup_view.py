"""
The view over the raw rows and all levels. Raw rows look like a rollup of one row each, so that one query reads all.
"""

from __future__ import annotations

import math
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from cratedb_retention.engine.database import Statement
from cratedb_retention.engine.expressions import (
    BIGINT,
    DOUBLE,
    TEXT,
    Element,
    Expressions,
    as_type,
    number,
    ref,
    table_ref,
)
from cratedb_retention.engine.measuring import union
from cratedb_retention.engine.states import Formulas, kind_type, of_row, source_value
from cratedb_retention.model.aggregates import GAMMA, Aggregate
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.reading import RAW
from cratedb_retention.model.rollup import (
    ROW_COUNT,
    SKETCH_BIN,
    SKETCH_COUNT,
    SKETCH_METRIC,
    SKETCH_SIGN,
    Metric,
    ReplaceView,
    ViewPart,
    instant_column,
    label,
    level_column,
    sketch_table,
)


def view_statement(sql: Expressions, step: ReplaceView) -> Statement:
    """``CREATE VIEW``; ``CREATE OR REPLACE VIEW`` where there is one of the toolkit's."""
    query = union([_part(sql, step, part) for part in step.parts])
    assert isinstance(query, sa.SelectBase)  # noqa: S101
    create = "CREATE OR REPLACE VIEW " if step.marks else "CREATE VIEW "
    return Statement(create, table_ref(step.view), " AS ", query, literal=True)


def _part(sql: Expressions, step: ReplaceView, part: ViewPart) -> sa.Select[Any]:
    raw = part.table == step.source
    keys = {label(column.name): column for column in (step.time, *step.dimensions)}
    shown = {metric.named(one): (metric, one) for metric in step.metrics for one in metric.shown}
    columns: list[Element] = [
        (sql.instant(column) if column == step.time else source_value(sql, column)).label(_name(name))
        if raw
        else ref(name)
        for name, column in keys.items()
    ]
    rows: sa.FromClause = table_ref(part.table)
    if not raw and any(one.binned for _, one in shown.values()):
        rows = _with_quantiles(sql, step, part.table)
    for name, (metric, one) in shown.items():
        if raw:
            value = _raw_value(sql, metric, one)
        elif one.binned:
            value = ref(name)
        else:  # Rows from before a column of a derived aggregate was added lack it, and have what it follows from.
            value = _level_value(sql, metric, one)
        columns.append(value.label(_name(name)))
    columns.append(as_type(number(1), BIGINT).label(_name(ROW_COUNT)) if raw else ref(ROW_COUNT))
    level = level_column([*keys, *(name for metric in step.metrics for name in metric.columns), *shown])
    columns.append(as_type(sa.literal(part.interval or RAW), TEXT).label(_name(level)))
    time = step.time if raw else instant_column(step.time.name)
    query = sa.select(*columns).select_from(rows)
    if part.start is not None:
        query = query.where(sql.column(time) >= sql.value(time, part.start))
    if part.end is not None:
        query = query.where(sql.column(time) < sql.value(time, part.end))
    return query


def _name(name: str) -> quoted_name:
    return quoted_name(name, True)


def _raw_value(sql: Expressions, metric: Metric, one: Aggregate) -> Element:
    """Of one row: the average of a value is that value, and its standard deviation is 0."""
    found = Formulas(sql, metric.column).read(one, lambda part: of_row(sql, metric, part))
    return as_type(found, kind_type(sql, metric.column, one.kind)) if one.derived else found


def _level_value(sql: Expressions, metric: Metric, one: Aggregate) -> Element:
    return Formulas(sql, metric.column).read(one, lambda part: ref(metric.named(part)))


def _with_quantiles(sql: Expressions, step: ReplaceView, table: TableName) -> sa.Subquery:
    """
    The rows of a level, with what is read from distributions beside the rest. By ``UNION ALL`` and ``GROUP BY``,
    beneath which both databases move conditions on time and dimensions; beneath a join they do not.
    """
    keys = [label(column.name) for column in (step.time, *step.dimensions)]
    kept = {
        metric.named(part): kind_type(sql, metric.column, part.kind)
        for metric in step.metrics
        for part in metric.parts
        if metric.named(part) in metric.columns
    }
    kept[ROW_COUNT] = BIGINT
    quantiles = [(metric, one) for metric in step.metrics for one in metric.shown if one.binned]
    bins = _ranked(step, sketch_table(table))
    nothing = {metric.named(one): as_type(sa.null(), DOUBLE).label(metric.named(one)) for metric, one in quantiles}
    level = sa.select(*map(ref, keys), *map(ref, kept), *nothing.values()).select_from(table_ref(table))
    found = [
        _InBins(bins, metric).read(one, lambda part: bins.c.q_value).label(metric.named(one))
        for metric, one in quantiles
    ]
    empty = (as_type(sa.null(), kind).label(_name(name)) for name, kind in kept.items())
    sketch = sa.select(*(bins.c[key] for key in keys), *empty, *found).group_by(*(bins.c[key] for key in keys))
    both = sa.union_all(level, sketch).subquery("u")
    values = (sa.func.max(both.c[name]).label(_name(name)) for name in (*kept, *nothing))
    return sa.select(*(both.c[key] for key in keys), *values).group_by(*(both.c[key] for key in keys)).subquery("l")


def _ranked(step: ReplaceView, table: TableName) -> sa.Subquery:
    """The bins of a level's distributions, each with its value, how many values are in it or less, and in all."""
    keys = [ref(label(column.name)) for column in (step.time, *step.dimensions)]
    middle = math.log(2 / (GAMMA + 1))
    size = sa.func.exp(ref(SKETCH_BIN).op("*")(number(math.log(GAMMA))).op("+")(number(middle)))
    value = ref(SKETCH_SIGN).op("*")(size)
    within = [*keys, ref(SKETCH_METRIC)]
    passed = sa.func.sum(ref(SKETCH_COUNT)).over(partition_by=within, order_by=[value])
    total = sa.func.sum(ref(SKETCH_COUNT)).over(partition_by=within)
    columns = [*keys, ref(SKETCH_METRIC).label("q_metric"), value.label("q_value")]
    return (
        sa.select(*columns, passed.label("q_passed"), total.label("q_total"))
        .select_from(table_ref(table))
        .subquery("q")
    )


class _InBins(Formulas):
    """Formulas of distributions, as aggregates of ranked bins."""

    def __init__(self, bins: sa.Subquery, metric: Metric) -> None:
        self.bins, self.metric = bins, metric

    def quantile(self, bins: Element, quantile: float) -> Element:
        """The least value that is not before the rank."""
        c = self.bins.c
        rank = number(quantile).op("*")(c.q_total.op("-")(number(1)).self_group())
        return sa.func.min(bins).filter(c.q_metric == self.metric.name, c.q_passed > rank)
