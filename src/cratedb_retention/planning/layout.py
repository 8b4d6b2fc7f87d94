"""
Which columns a level's table has.
"""

from __future__ import annotations

from cratedb_retention.model.rollup import ROW_COUNT, VERSION, Rollup, label


def expected_columns(rollup: Rollup) -> list[str]:
    """The names of a level's columns, but for the one that partitions it."""
    names = [rollup.time_name, *(label(column.name) for column in rollup.dimensions)]
    return [*names, *(name for metric in rollup.metrics for name in metric.columns), ROW_COUNT, VERSION]
