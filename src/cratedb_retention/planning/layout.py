"""
Which columns a level's table has.
"""

from __future__ import annotations

from cratedb_retention.model.rollup import ROW_COUNT, VERSION, Aggregate, Rollup, label


def expected_columns(rollup: Rollup) -> list[str]:
    """The names of a level's columns, but for the one that partitions it."""
    names = [rollup.time_name, *(label(column.name) for column in rollup.dimensions)]
    for metric in rollup.metrics:
        names += [metric.named(a) for a in metric.aggregates if a is not Aggregate.PERCENTILES]
        names += [metric.m2] if metric.has(Aggregate.STDDEV) else []
    return [*names, ROW_COUNT, VERSION]
