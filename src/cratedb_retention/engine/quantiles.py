"""
Percentiles from the distributions that a level keeps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.expressions import Condition, table_ref
from cratedb_retention.engine.rollup_columns import DOUBLE, as_type, number, ref
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.rollup import GAMMA, SKETCH_BIN, SKETCH_COUNT, SKETCH_METRIC, SKETCH_SIGN

MEDIAN, P95, P99 = ("p50", 0.5), ("p95", 0.95), ("p99", 0.99)


def quantile_select(
    sketch: TableName,
    groups: Mapping[str, sa.ColumnElement[Any]],
    metric: str,
    quantiles: Mapping[str, float],
    conditions: Sequence[Condition] = (),
) -> sa.Select[Any]:
    """
    Quantiles of a metric, at most 1 % from a value that has this rank: the value of rank ``q * (n - 1)`` of n.

    :param sketch: The table with the distributions.
    :param groups: What one row of the result is for: expressions over the table's columns, by the names that they
        shall have; empty: one row for all.
    :param metric: The metric's name in the rollup, :attr:`Metric.name`.
    :param quantiles: Numbers from 0 to 1, by the names of their columns: ``{"p95": 0.95}``.
    :param conditions: Which rows of the table are looked at, usually a stretch of time.
    """
    rows = (
        sa.select(*(value.label(f"g{i}") for i, value in enumerate(groups.values())), _value().label("v"), _count())
        .select_from(table_ref(sketch))
        .where(ref(SKETCH_METRIC) == metric, *conditions)
        .subquery("b")
    )
    keys = [rows.c[f"g{i}"] for i in range(len(groups))]
    bins = sa.select(*keys, rows.c.v, sa.func.sum(rows.c.n).label("n")).group_by(*keys, rows.c.v).subquery("s")
    inner = [bins.c[f"g{i}"] for i in range(len(groups))]
    upto = sa.func.sum(bins.c.n).over(partition_by=inner, order_by=bins.c.v, rows=(None, 0))
    total = sa.func.sum(bins.c.n).over(partition_by=inner)
    ranked = sa.select(*inner, bins.c.v, upto.label("upto"), total.label("total")).subquery("r")
    outer = [ranked.c[f"g{i}"] for i in range(len(groups))]
    found = [_quantile(ranked, q).label(name) for name, q in quantiles.items()]
    return sa.select(*(key.label(name) for key, name in zip(outer, groups, strict=True)), *found).group_by(*outer)


def _count() -> sa.Label[Any]:
    return ref(SKETCH_COUNT).label("n")


def _value() -> sa.ColumnElement[Any]:
    """The value that a bin stands for, :func:`bin_value`; by ``exp``, which does not overflow on the way."""
    step, offset = number(math.log(GAMMA)), number(math.log(2 / (GAMMA + 1)))
    power = sa.func.exp(as_type(ref(SKETCH_BIN), DOUBLE).op("*")(step).op("+")(offset))
    return as_type(ref(SKETCH_SIGN), DOUBLE).op("*")(power)


def _quantile(ranked: sa.Subquery, q: float) -> sa.ColumnElement[Any]:
    """The least value with more than ``q * (n - 1)`` values up to it."""
    rank = number(float(q)).op("*")(ranked.c.total - number(1))
    return sa.func.min(ranked.c.v).filter(as_type(ranked.c.upto, DOUBLE) > rank)
