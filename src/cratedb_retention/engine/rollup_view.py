"""
The view over the raw rows and all levels. Raw rows look like a rollup of one row each, so that one query reads all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.expressions import table_ref
from cratedb_retention.engine.measuring import union
from cratedb_retention.engine.rollup_columns import (
    BIGINT,
    DOUBLE,
    TEXT,
    TIME,
    RollupSQL,
    as_type,
    derive,
    metric_value,
    nonfinite,
    number,
    ref,
    source_value,
)
from cratedb_retention.engine.rollup_ddl import CreateView
from cratedb_retention.model.catalog import Column, Kind
from cratedb_retention.model.rollup import ROW_COUNT, Aggregate, Metric, label, level_column
from cratedb_retention.model.rollup_steps import ReplaceView, ViewPart

Element = sa.ColumnElement[Any]
RAW = "raw"


def view_statement(sql: RollupSQL, step: ReplaceView) -> CreateView:
    """``CREATE VIEW``; ``CREATE OR REPLACE VIEW`` where there is one of the toolkit's."""
    query = union([_part(sql, step, part) for part in step.parts])
    assert isinstance(query, sa.SelectBase)  # noqa: S101
    return CreateView(step.view, query, replace=bool(step.marks))


def _part(sql: RollupSQL, step: ReplaceView, part: ViewPart) -> sa.Select[Any]:
    raw = part.table == step.source
    columns = _raw_columns(sql, step) if raw else _level_columns(step)
    names = [step.time, *step.dimensions]
    level = level_column([*(label(c.name) for c in names), *(name for m in step.metrics for name in m.columns)])
    name = as_type(sa.literal(part.interval or RAW), TEXT).label(_name(level))
    time = step.time if raw else Column(name=label(step.time.name), type=TIME, kind=Kind.TIME)
    query = sa.select(*columns, name).select_from(table_ref(part.table))
    if part.start is not None:
        query = query.where(sql.column(time) >= sql.value(time, part.start))
    if part.end is not None:
        query = query.where(sql.column(time) < sql.value(time, part.end))
    return query


def _name(name: str) -> Any:
    return sa.sql.quoted_name(name, True)


def _level_columns(step: ReplaceView) -> Iterator[Element]:
    yield ref(label(step.time.name))
    for column in step.dimensions:
        yield ref(label(column.name))
    for metric in step.metrics:
        for aggregate in _shown(metric):
            # Rows from before such a column was added lack it, and have what it follows from.
            if aggregate in (Aggregate.AVG, Aggregate.STDDEV):
                yield derive(metric, aggregate, ref).label(_name(metric.named(aggregate)))
            else:
                yield ref(metric.named(aggregate))
    yield ref(ROW_COUNT)


def _raw_columns(sql: RollupSQL, step: ReplaceView) -> Iterator[Element]:
    yield sql.instant(step.time).label(_name(label(step.time.name)))
    for column in step.dimensions:
        yield source_value(sql, column).label(_name(label(column.name)))
    for metric in step.metrics:
        for aggregate in _shown(metric):
            yield _raw_aggregate(sql, metric, aggregate).label(_name(metric.named(aggregate)))
    yield as_type(number(1), BIGINT).label(_name(ROW_COUNT))


def _raw_aggregate(sql: RollupSQL, metric: Metric, aggregate: Aggregate) -> Element:
    value = metric_value(sql, metric.column)
    if aggregate is Aggregate.COUNT:
        one, zero = as_type(number(1), BIGINT), as_type(number(0), BIGINT)
        return sa.case((value.is_not(None), one), else_=zero)
    if aggregate is Aggregate.NONFINITE:
        return nonfinite(metric.column, sql.column(metric.column))
    if aggregate is Aggregate.STDDEV:
        return sa.case((value.is_not(None), as_type(number(0), DOUBLE)))
    if aggregate is Aggregate.INCREASE:
        return as_type(sa.null(), DOUBLE)
    if aggregate is Aggregate.SUM:
        return as_type(value, sql.sum_type(metric.column))
    return as_type(value, DOUBLE) if aggregate is Aggregate.AVG else value


def _shown(metric: Metric) -> Iterator[Aggregate]:
    """Percentiles are in no column."""
    return (aggregate for aggregate in metric.aggregates if aggregate is not Aggregate.PERCENTILES)
